/**
 * A crowded picture that moves.
 *
 * To draw thousands of pies, slice by slice, takes longer than a frame. So each is
 * drawn once on a sheet, by the same lines as always, and copied from there until the
 * picture comes to rest.
 */

import {
  paintChosen,
  paintEdges,
  paintNode,
  RING_REACH,
  STEPPED_BACK,
} from "./paint.js";

// Nodes that have grown or shrunk by more than this are drawn anew.
const STRETCH = 1.5;
const SHEET_WIDTH = 2048;
// More pixels are not spent on a sheet: it is drawn smaller.
const MOST_PIXELS = 4e6;
// Fewer rings are drawn one by one.
const MANY_RINGS = 200;

export class CoarsePicture {
  #nodes = new Stamps({
    paint: paintNode,
    margin: 2,
    shows: ({ colouring }) => [colouring],
  });
  #rings = new Stamps({
    paint: (ctx, scene, item) => paintChosen(ctx, scene, [item]),
    margin: RING_REACH,
    shows: ({ selection, marks }) => [selection, marks],
  });

  /** @param {Array<{i: number, x: number, y: number, r: number}>} items nodes in sight */
  paint(ctx, scene, items) {
    const { marks, selection } = scene;
    paintEdges(ctx, scene);
    const [front, back] = [[], []];
    for (const item of items) (scene.inFront(item.i) ? front : back).push(item);
    ctx.globalAlpha = STEPPED_BACK;
    this.#nodes.paint(ctx, scene, back);
    ctx.globalAlpha = 1;
    this.#nodes.paint(ctx, scene, front);
    const chosen = items.filter(({ i }) => marks.has(i) || selection.has(i));
    if (chosen.length > MANY_RINGS) this.#rings.paint(ctx, scene, chosen);
    else paintChosen(ctx, scene, chosen);
  }
}

/** What `paint` draws for each node, drawn once on a sheet and copied from there. */
class Stamps {
  #sheet = new OffscreenCanvas(1, 1);
  /** What the sheet was drawn for. */
  #of = [];
  #radius = 0;
  /** By node: its radius there, and left, top, side and half the width of its place. */
  #cells = [];

  constructor({ paint, margin, shows }) {
    Object.assign(this, { paintOne: paint, margin, shows });
  }

  paint(ctx, scene, items) {
    if (items.length === 0) return;
    this.#prepare(scene);
    for (const { i, x, y, r } of items) {
      const { left, top, side, half, radius } = this.#cells[i];
      const reach = (half * r) / radius;
      const to = [x - reach, y - reach, 2 * reach, 2 * reach];
      ctx.drawImage(this.#sheet, left, top, side, side, ...to);
    }
  }

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
    for (const i of scene.order) {
      const { left, top, side, half, radius } = this.#cells[i];
      const scale = side / (2 * half);
      ctx.setTransform(scale, 0, 0, scale, left, top);
      this.paintOne(ctx, scene, { i, x: half, y: half, r: radius });
    }
  }

  /** Nodes come by size, so that every row of the sheet is as high as its first one. */
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
