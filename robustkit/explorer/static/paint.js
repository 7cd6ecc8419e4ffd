/**
 * Drawing a scene: edges, then nodes, then what is pointed out.
 *
 * All functions draw through the few calls that a canvas and `SvgContext` share,
 * and in screen coordinates, so that the picture on the screen, the PNG and the
 * SVG come from the same lines.
 */

import { classColour, inkOn } from "./palette.js";

// Below this radius a pie's slices cannot be told apart: its largest class stands for it.
const SMALLEST_PIE = 3.2;
// From this radius the name of the largest class is written into the pie.
const SMALLEST_LABEL = 12;
// One path for everything of a colour saves calls, but a very long path costs
// more to fill than several short ones.
const PATH_LENGTH = 32;
// Rings lie around nodes, and reach so far beyond them.
export const RING_REACH = 6;
// How much is seen of nodes without the class that is pointed out.
export const STEPPED_BACK = 0.14;

export function paintScene(ctx, scene) {
  if (scene.length === 0) return;
  paintEdges(ctx, scene);
  const items = visibleNodes(scene);
  paintNodes(ctx, scene, items);
  paintChosen(ctx, scene, items);
}

export function paintEdges(ctx, scene) {
  const { source, target, shared } = scene.graph.edges;
  const { camera } = scene;
  const { x, y } = scene.onScreen();
  // Among a thousand edges, thick ones would hide the nodes.
  const thin = source.length > 900 ? 0.6 : 1;
  const widths = [0.8 * thin, 1.4 * thin, 2.4 * thin];
  const groups = widths.map(() => []);
  for (let e = 0; e < source.length; e += 1) {
    const [a, b] = [source[e], target[e]];
    const [left, right] = x[a] < x[b] ? [x[a], x[b]] : [x[b], x[a]];
    const [top, bottom] = y[a] < y[b] ? [y[a], y[b]] : [y[b], y[a]];
    if (outside(camera, left, top, right, bottom)) continue;
    const strength = Math.sqrt(shared[e] / scene.mostShared);
    groups[Math.min(2, Math.floor(3 * strength))].push(e);
  }
  ctx.strokeStyle = scene.ink.edge;
  ctx.globalAlpha = scene.emphasis === null ? 1 : 0.4;
  groups.forEach((edges, k) => {
    ctx.lineWidth = widths[k];
    inChunks(edges, (chunk) => {
      ctx.beginPath();
      for (const e of chunk) {
        ctx.moveTo(x[source[e]], y[source[e]]);
        ctx.lineTo(x[target[e]], y[target[e]]);
      }
      ctx.stroke();
    });
  });
  ctx.globalAlpha = 1;
}

/** The nodes that lie on the canvas, the largest first, and where. */
export function visibleNodes(scene) {
  const { x, y } = scene.onScreen();
  const items = [];
  for (const i of scene.order) {
    const r = scene.radius(i);
    const reach = r + RING_REACH;
    const [left, top] = [x[i] - reach, y[i] - reach];
    if (outside(scene.camera, left, top, x[i] + reach, y[i] + reach)) continue;
    items.push({ i, x: x[i], y: y[i], r });
  }
  return items;
}

/** @param {Array<{i: number, x: number, y: number, r: number}>} items */
export function paintNodes(ctx, scene, items) {
  const small = { front: [], back: [] };
  const large = { front: [], back: [] };
  for (const item of items) {
    const group = item.r < SMALLEST_PIE ? small : large;
    group[scene.inFront(item.i) ? "front" : "back"].push(item);
  }
  ctx.globalAlpha = STEPPED_BACK;
  paintDiscs(ctx, scene, small.back);
  paintPies(ctx, scene, large.back);
  ctx.globalAlpha = 1;
  paintPies(ctx, scene, large.front);
  paintDiscs(ctx, scene, small.front);
}

/** One node in full, whatever is pointed out. */
export function paintNode(ctx, scene, item) {
  if (item.r < SMALLEST_PIE) paintDiscs(ctx, scene, [item]);
  else paintPies(ctx, scene, [item]);
}

/** Small nodes, by colour: one fill for many. */
function paintDiscs(ctx, scene, items) {
  const byColour = new Map();
  for (const item of items) {
    const colour = scene.colour(item.i);
    if (!byColour.has(colour)) byColour.set(colour, []);
    byColour.get(colour).push(item);
  }
  ctx.strokeStyle = scene.ink.outline;
  ctx.lineWidth = 0.5;
  for (const [colour, group] of byColour) {
    ctx.fillStyle = colour;
    inChunks(group, (chunk) => {
      ctx.beginPath();
      for (const { x, y, r } of chunk) {
        ctx.moveTo(x + r, y);
        ctx.arc(x, y, r, 0, 2 * Math.PI);
      }
      ctx.fill();
      ctx.stroke();
    });
  }
}

function paintPies(ctx, scene, items) {
  for (const { i, x, y, r } of items) {
    if (scene.colouring === "labels") paintPie(ctx, scene, i, x, y, r);
    else fillDisc(ctx, scene.colour(i), x, y, r);
    paintOutline(ctx, scene, x, y, r);
    if (r >= SMALLEST_LABEL) paintLabel(ctx, scene, i, x, y, r);
  }
}

function paintPie(ctx, scene, i, x, y, r) {
  const parts = scene.slices[i];
  if (parts.length === 1) {
    fillDisc(ctx, classColour(parts[0][0], scene.ink.dark), x, y, r);
    return;
  }
  for (const [k, begin, end] of parts) {
    ctx.fillStyle = classColour(k, scene.ink.dark);
    ctx.beginPath();
    ctx.moveTo(x, y);
    ctx.arc(x, y, r, begin, end);
    ctx.closePath();
    ctx.fill();
  }
}

function fillDisc(ctx, colour, x, y, r) {
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.fill();
}

/** The outline keeps pale colours visible on a pale ground. */
function paintOutline(ctx, scene, x, y, r) {
  ctx.strokeStyle = scene.ink.outline;
  ctx.lineWidth = r < 6 ? 0.6 : 1;
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.stroke();
}

function paintLabel(ctx, scene, i, x, y, r) {
  const name = scene.classNames[scene.majority(i)];
  const text = name.length > 4 ? `${name.slice(0, 3)}…` : name;
  // Bold letters are about 0.68 of their height wide; the name is to stay within the pie.
  const size = Math.min(15, r * 0.95, (1.75 * r) / (0.68 * text.length));
  if (size < 6) return;
  ctx.font = `600 ${size.toFixed(1)}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  // A halo keeps the name readable where it runs across slices of other colours.
  const ink = inkOn(scene.colour(i));
  ctx.strokeStyle =
    ink === "#000000" ? "rgba(255, 255, 255, 0.75)" : "rgba(0, 0, 0, 0.7)";
  ctx.lineWidth = size / 4;
  ctx.lineJoin = "round";
  ctx.strokeText(text, x, y + size * 0.04);
  ctx.fillStyle = ink;
  ctx.fillText(text, x, y + size * 0.04);
}

/** Rings around the nodes that are marked or selected. */
export function paintChosen(ctx, scene, items) {
  const { ink, marks, selection } = scene;
  const marked = items.filter(({ i }) => marks.has(i));
  const selected = items.filter(({ i }) => selection.has(i));
  const share = (i) => marks.get(i) / scene.graph.nodes.size[i];
  rings(ctx, marked, { gap: 3, width: 1.2, colour: ink.mark });
  rings(ctx, marked, { gap: 3, width: 4, colour: ink.mark, share });
  rings(ctx, selected, { gap: 1, width: 4.5, colour: ink.paper });
  rings(ctx, selected, { gap: 1.2, width: 2.6, colour: ink.selection });
}

/** The node under the pointer and the one under the keyboard. */
export function paintPointedOut(ctx, scene, { keyboard }) {
  const { active, hover, ink } = scene;
  const { x, y } = scene.onScreen();
  const item = (i) => ({ i, x: x[i], y: y[i], r: scene.radius(i) });
  if (hover >= 0) rings(ctx, [item(hover)], { gap: 1, width: 1.5, colour: ink.text });
  if (keyboard && active >= 0) {
    ctx.setLineDash([4, 3]);
    rings(ctx, [item(active)], { gap: 5, width: 2, colour: ink.focus });
    ctx.setLineDash([]);
  }
}

/** @param {{share?: (i: number) => number}} look a ring goes so far around, from the top */
function rings(ctx, items, { gap, width, colour, share = () => 1 }) {
  const begin = -Math.PI / 2;
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  inChunks(items, (chunk) => {
    ctx.beginPath();
    for (const { i, x, y, r } of chunk) {
      const end = begin + 2 * Math.PI * Math.min(1, share(i));
      ctx.moveTo(x, y - r - gap);
      ctx.arc(x, y, r + gap, begin, end);
    }
    ctx.stroke();
  });
}

/** The outline of a box or lasso while it is drawn. */
export function paintGesture(ctx, scene, points) {
  if (points.length < 2) return;
  ctx.strokeStyle = scene.ink.selection;
  ctx.fillStyle = scene.ink.selection;
  ctx.lineWidth = 1.5;
  ctx.setLineDash([5, 4]);
  ctx.beginPath();
  points.forEach(([x, y], k) => (k === 0 ? ctx.moveTo(x, y) : ctx.lineTo(x, y)));
  ctx.closePath();
  ctx.stroke();
  ctx.globalAlpha = 0.1;
  ctx.fill();
  ctx.globalAlpha = 1;
  ctx.setLineDash([]);
}

function outside(camera, left, top, right, bottom) {
  return right < 0 || bottom < 0 || left > camera.width || top > camera.height;
}

function inChunks(items, draw) {
  for (let from = 0; from < items.length; from += PATH_LENGTH) {
    draw(items.slice(from, from + PATH_LENGTH));
  }
}
