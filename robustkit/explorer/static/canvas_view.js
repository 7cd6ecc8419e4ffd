/**
 * The canvas of one pane: two layers, so that a moving pointer redraws a few
 * rings and not the graph, and at most one drawing per frame.
 */

import { el } from "./dom.js";
import { paintGesture, paintPointedOut, paintScene } from "./paint.js";

export class CanvasView {
  #graph = el("canvas", { class: "layer", "aria-hidden": "true" });
  #points;
  #wanted = new Set();
  #frame = 0;
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

  /** Draw in the next frame: all, or only what is pointed out. */
  redraw(what = "all") {
    this.#wanted.add(what);
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #resize(onResize) {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (width === 0 || height === 0) return;
    const ratio = devicePixelRatio;
    for (const canvas of [this.#graph, this.#points]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    Object.assign(this.scene.camera, { width, height });
    onResize();
    // A resized canvas is empty: drawn now, not a frame later, it does not flicker.
    this.#wanted.add("all");
    cancelAnimationFrame(this.#frame);
    this.#draw();
  }

  #draw() {
    this.#frame = 0;
    if (this.#wanted.has("all")) paintScene(this.#cleared(this.#graph), this.scene);
    const ctx = this.#cleared(this.#points);
    paintPointedOut(ctx, this.scene, { keyboard: this.hasKeyboard });
    paintGesture(ctx, this.scene, this.gesture);
    this.#wanted.clear();
    this.#points.dataset.frames = String(Number(this.#points.dataset.frames) + 1);
  }

  #cleared(canvas) {
    const ctx = canvas.getContext("2d");
    const ratio = devicePixelRatio;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, canvas.width, canvas.height);
    return ctx;
  }
}
