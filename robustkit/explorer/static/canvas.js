/**
 * The canvas of one pane: two layers, so that a moving pointer redraws a ring
 * and not the graph, and at most one drawing per frame. A crowded picture that
 * moves is drawn more coarsely, and sharply as soon as it rests.
 */

import { contextOf, el } from "./elements.js";
import {
  paintChosen,
  paintEdges,
  paintGesture,
  faded,
  paintNode,
  paintPointedOut,
  paintScene,
  RING_REACH,
  STEPPED_BACK,
  visibleNodes,
} from "./paint.js";

// With fewer visible nodes, the picture is also drawn sharply while it moves.
const CROWD = 300;
// Milliseconds without a move until the picture is drawn sharply again.
const REST = 120;

/**
 * @import { Canvas, Item } from "./paint.js"
 * @import { Scene } from "./scene.js"
 */

export class CanvasView {
  #graph = el("canvas", { class: "layer", "aria-hidden": "true" });
  #points;
  /** @type {Set<string>} */
  #wanted = new Set();
  #frame = 0;
  #rest = 0;
  #coarse = new CoarsePicture();
  /**
   * The outline of a box or lasso being drawn, in screen coordinates.
   *
   * @type {number[][]}
   */
  gesture = [];

  /** @param {Scene} scene @param {string} side @param {() => void} onResize */
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

  /** @param {() => void} onResize */
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

  /**
   * @param {boolean} sharp
   * @returns {number} how many pixels of the canvas were spent on one of the page's
   */
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

  /**
   * Resize and clear a canvas; `ratio` is its number of pixels per CSS pixel.
   * @param {HTMLCanvasElement} canvas @param {number} ratio
   */
  #cleared(canvas, ratio) {
    const width = Math.round(this.scene.camera.width * ratio);
    const height = Math.round(this.scene.camera.height * ratio);
    const ctx = contextOf(canvas);
    if (canvas.width !== width || canvas.height !== height)
      Object.assign(canvas, { width, height });
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    return ctx;
  }
}

// Nodes are drawn again if their size changed by more than this factor.
const STRETCH = 1.5;
const SHEET_WIDTH = 2048;
// Maximum number of pixels of a sheet; if it needs more, it is drawn smaller.
const MOST_PIXELS = 4e6;
// With fewer rings, each is drawn directly.
const MANY_RINGS = 200;

/**
 * Fast drawing of thousands of nodes while the picture moves.
 *
 * Drawing thousands of pies takes longer than a frame. So each is drawn once on a sheet
 * (a sprite sheet), with the same functions as always, and copied from there until the
 * picture stops moving.
 */
class CoarsePicture {
  #nodes = new Stamps({
    paint: paintNode,
    margin: 2,
    shows: ({ pies, scale }) => [pies, scale],
  });
  #rings = new Stamps({
    paint: (ctx, scene, item) => paintChosen(ctx, scene, [item]),
    margin: RING_REACH,
    shows: ({ selection, marks }) => [selection, marks],
  });

  /**
   * @param {CanvasRenderingContext2D} ctx @param {Scene} scene
   * @param {Item[]} items nodes in sight
   */
  paint(ctx, scene, items) {
    const { marks, selection } = scene;
    paintEdges(ctx, scene);
    const front = items.filter(({ i }) => scene.inFront(i));
    const back = items.filter(({ i }) => !scene.inFront(i));
    /** @type {(ctx: any, scene: Scene, items: Item[]) => void} */
    const paint = (...what) => this.#nodes.paint(...what);
    faded(ctx, scene, STEPPED_BACK, back, paint);
    faded(ctx, scene, 1, front, paint);
    const chosen = items.filter(({ i }) => marks.has(i) || selection.has(i));
    if (chosen.length > MANY_RINGS) this.#rings.paint(ctx, scene, chosen);
    else paintChosen(ctx, scene, chosen);
  }
}

/** A sprite sheet: what `paint` draws for each node, drawn once and then copied. */
class Stamps {
  #sheet = new OffscreenCanvas(1, 1);
  /** What the sheet was drawn for. @type {any[]} */
  #of = [];
  #radius = 0;
  /**
   * By node: its radius on the sheet, and the position and size of its cell.
   *
   * @type {{left: number, top: number, side: number, half: number, radius: number}[]}
   */
  #cells = [];

  /**
   * @param {Object} kind
   * @param {(ctx: Canvas, scene: Scene, item: Item) => void} kind.paint
   * @param {number} kind.margin
   * @param {(scene: Scene) => any[]} kind.shows what of the scene is to be seen there
   */
  constructor({ paint, margin, shows }) {
    this.paintOne = paint;
    this.margin = margin;
    this.shows = shows;
  }

  /**
   * @param {CanvasRenderingContext2D} ctx @param {Scene} scene @param {Item[]} items
   */
  paint(ctx, scene, items) {
    if (items.length === 0) return;
    this.#prepare(scene);
    for (const { i, x, y, r } of items) {
      const { left, top, side, half, radius } = this.#cells[i];
      const reach = (half * r) / radius;
      const width = 2 * reach;
      const [atX, atY] = [x - reach, y - reach];
      ctx.drawImage(this.#sheet, left, top, side, side, atX, atY, width, width);
    }
  }

  /** @param {Scene} scene */
  #prepare(scene) {
    const of = [scene.graph, scene.ink, ...this.shows(scene)];
    const grown = scene.radius(scene.order[0]) / this.#radius;
    const near = grown < STRETCH && grown > 1 / STRETCH;
    if (near && of.every((part, k) => part === this.#of[k])) return;
    this.#of = of;
    this.#radius = scene.radius(scene.order[0]);
    const height = this.#arrange(scene);
    Object.assign(this.#sheet, { width: SHEET_WIDTH, height });
    const ctx = this.#sheet.getContext("2d");
    if (ctx === null) return;
    for (const i of scene.order) {
      const { left, top, side, half, radius } = this.#cells[i];
      const scale = side / (2 * half);
      ctx.setTransform(scale, 0, 0, scale, left, top);
      this.paintOne(ctx, scene, { i, x: half, y: half, r: radius });
    }
  }

  /**
   * Assign a cell to each node. They are sorted by size, so the first of a row is the highest.
   * @param {Scene} scene
   */
  #arrange(scene) {
    const radii = scene.order.map((i) => scene.radius(i));
    const area = radii.reduce((sum, r) => sum + (2 * (r + this.margin)) ** 2, 0);
    const detail = Math.min(1, Math.sqrt(MOST_PIXELS / area));
    let [left, top, height] = [0, 0, 0];
    this.#cells = [];
    scene.order.forEach((i, k) => {
      const half = radii[k] + this.margin;
      const side = Math.ceil(2 * half * detail);
      if (left + side > SHEET_WIDTH) [left, top, height] = [0, top + height, 0];
      this.#cells[i] = { left, top, side, half, radius: radii[k] };
      height = Math.max(height, side);
      left += side;
    });
    return top + height;
  }
}
