/**
 * The canvas of one pane: two layers, so that a moving pointer redraws a ring
 * and not the graph, and at most one drawing per frame. A crowded picture that
 * moves is drawn more coarsely, and sharply as soon as it rests.
 */

import { el } from "./dom.js";
import { paintGesture, paintPointedOut, paintScene, visibleNodes } from "./paint.js";
import { CoarsePicture } from "./stamps.js";

// With fewer nodes in sight, a picture is drawn sharply also while it moves.
const CROWD = 300;
// After so many milliseconds without a move the picture rests.
const REST = 120;

export class CanvasView {
  #graph = el("canvas", { class: "layer", "aria-hidden": "true" });
  #points;
  #wanted = new Set();
  #frame = 0;
  #rest = 0;
  #coarse = new CoarsePicture();
  /** The outline of a box or lasso being drawn, in screen coordinates. */
  gesture = [];

  constructor(scene, side, onResize) {
    this.scene = scene;
    this.#points = el("canvas", {
      class: "layer",
      "data-testid": `canvas-${side}`,
      "aria-hidden": "true",
    });
    this.element = el("div", { class: "canvas" }, this.#graph, this.#points);
    this.#points.dataset.frames = "0";
    new ResizeObserver(() => this.#resize(onResize)).observe(this.element);
  }

  /** Pointer events arrive at the upper layer. */
  get surface() {
    return this.#points;
  }

  get hasKeyboard() {
    return this.element.contains(document.activeElement);
  }

  /** Draw in the next frame: all, all while it moves, or only what is pointed out. */
  redraw(what = "all") {
    this.#wanted.add(what);
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #resize(onResize) {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (width === 0 || height === 0) return;
    Object.assign(this.scene.camera, { width, height });
    onResize();
    // A resized canvas is empty: drawn now, not a frame later, it does not flicker.
    this.#wanted.add("all");
    cancelAnimationFrame(this.#frame);
    this.#draw();
  }

  #draw() {
    this.#frame = 0;
    const all = this.#wanted.has("all");
    let ratio = devicePixelRatio;
    if (all || this.#wanted.has("moving")) ratio = this.#drawGraph(all);
    const ctx = this.#cleared(this.#points, ratio);
    paintPointedOut(ctx, this.scene, { keyboard: this.hasKeyboard });
    paintGesture(ctx, this.scene, this.gesture);
    this.#wanted.clear();
    this.#points.dataset.frames = String(Number(this.#points.dataset.frames) + 1);
  }

  /** @returns {number} how many pixels of the canvas were spent on one of the page's */
  #drawGraph(sharp) {
    const { scene } = this;
    const nodes = visibleNodes(scene);
    clearTimeout(this.#rest);
    if (sharp || nodes.length <= CROWD) {
      paintScene(this.#cleared(this.#graph, devicePixelRatio), scene);
      return devicePixelRatio;
    }
    const ratio = Math.min(1, devicePixelRatio);
    this.#coarse.paint(this.#cleared(this.#graph, ratio), scene, nodes);
    this.#rest = setTimeout(() => this.redraw(), REST);
    return ratio;
  }

  /** An empty canvas with so many pixels of its own to one of the page's. */
  #cleared(canvas, ratio) {
    const width = Math.round(this.scene.camera.width * ratio);
    const height = Math.round(this.scene.camera.height * ratio);
    const ctx = canvas.getContext("2d");
    if (canvas.width !== width || canvas.height !== height)
      Object.assign(canvas, { width, height });
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    return ctx;
  }
}
