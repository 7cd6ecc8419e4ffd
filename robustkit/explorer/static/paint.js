/**
 * Colours, and drawing a scene: edges, then nodes, then what is pointed out.
 *
 * All functions draw through the few calls that a canvas and `SvgContext` share,
 * and in screen coordinates, so that the picture on the screen, the PNG and the
 * SVG come from the same lines.
 */

/** @import { Camera } from "./scene.js" */

/**
 * The calls by which everything is drawn.
 *
 * @typedef {Pick<CanvasRenderingContext2D, "arc" | "beginPath" | "closePath" | "fill"
 *     | "fillRect" | "fillStyle" | "fillText" | "font" | "globalAlpha" | "lineJoin"
 *     | "lineTo" | "lineWidth" | "moveTo" | "setLineDash" | "stroke" | "strokeStyle"
 *     | "strokeText" | "textAlign" | "textBaseline">} Canvas
 *
 * @import { Scene } from "./scene.js"
 *
 * @typedef {{i: number, x: number, y: number, r: number}} Item a node, where it lies on
 *     the screen, and its radius there
 */

// Classes are told by their names too (legend, lists, pies when large), never by colour
// alone.
/** @type {Record<"light" | "dark", string[]>} */
let classColours = { light: [], dark: [] };

/**
 * The colours come with the run: those of the displays in Python.
 * @param {Record<"light" | "dark", string[]>} colours
 */
export function useClassColours(colours) {
  classColours = colours;
}

// Of a node for which nothing is known.
const UNKNOWN = "#9a9a9a";

/** Stops of the scales, low to high. @type {Record<string, string[]>} */
const SCALES = {
  accuracy: [
    "#9A2F04",
    "#DD6A16",
    "#F6B24A",
    "#F2E5A6",
    "#A6CFE2",
    "#3F8FC0",
    "#08519C",
  ],
  purity: ["#3B1C59", "#443983", "#31688E", "#21918C", "#35B779", "#90D743", "#FDE725"],
  value: ["#123A5E", "#3D5578", "#66707A", "#8C8B73", "#B8A861", "#E3CB4B", "#FCE83A"],
};

/**
 * The colour of class `index`; -1 is none.
 * @param {number} index @param {boolean} dark
 */
export const classColour = (index, dark) =>
  classColours[dark ? "dark" : "light"][index] ?? UNKNOWN;

/**
 * The colour at `share` (0 to 1) of a scale, one of 64 so that drawing can be batched.
 * @param {string} name @param {number} share
 */
export function scaleColour(name, share) {
  const ramp = rampOf(name);
  const index = Math.round(Math.min(1, Math.max(0, share)) * (ramp.length - 1));
  return Number.isFinite(index) ? ramp[index] : UNKNOWN;
}

/** @type {Map<string, string[]>} */
const ramps = new Map();

/** @param {string} name */
function rampOf(name) {
  let ramp = ramps.get(name);
  if (ramp === undefined) {
    const stops = SCALES[name];
    ramp = Array.from({ length: 64 }, (_, i) => {
      const at = (i / 63) * (stops.length - 1);
      const low = Math.min(stops.length - 2, Math.floor(at));
      return mix(stops[low], stops[low + 1], at - low);
    });
    ramps.set(name, ramp);
  }
  return ramp;
}

/** @param {string} colour */
const channels = (colour) =>
  [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

/** @param {string} a @param {string} b @param {number} share */
function mix(a, b, share) {
  const [from, to] = [channels(a), channels(b)];
  const parts = from.map((value, k) => Math.round(value + (to[k] - value) * share));
  return `#${parts.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** Black or white, whichever is easier to read on `colour`. @param {string} colour */
export function inkOn(colour) {
  const [r, g, b] = channels(colour).map((value) => {
    const v = value / 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000000" : "#ffffff";
}

// Below this radius slices are not distinguishable: a disc shows the majority class.
const SMALLEST_PIE = 3.2;
// From this radius on, the name of the majority class is written into the pie.
const SMALLEST_LABEL = 12;
// One path for everything of a colour saves calls, but a very long path costs
// more to fill than several short ones.
const PATH_LENGTH = 32;
// Rings extend this far beyond the nodes.
export const RING_REACH = 6;
// Opacity of nodes without the highlighted class.
export const STEPPED_BACK = 0.14;
// Opacity of what no resample has: it is still to be seen.
const FAINTEST = 0.12;
// So many opacities are told apart; all of one are drawn together.
const OPACITIES = 16;

/**
 * Nodes or edges in groups of one opacity: the fainter, the fewer resamples have them.
 *
 * @template T
 * @param {T[]} items
 * @param {(item: T) => number | undefined} stability share of resamples, if known
 * @returns {[number, T[]][]}
 */
export function byOpacity(items, stability) {
  /** @type {Map<number, T[]>} */
  const groups = new Map();
  for (const item of items) {
    const step = Math.round((stability(item) ?? 1) * OPACITIES);
    const opacity = FAINTEST + ((1 - FAINTEST) * step) / OPACITIES;
    const group = groups.get(opacity);
    if (group === undefined) groups.set(opacity, [item]);
    else group.push(item);
  }
  return [...groups];
}

/** @param {Canvas} ctx @param {Scene} scene */
export function paintScene(ctx, scene) {
  if (scene.length === 0) return;
  paintEdges(ctx, scene);
  const items = visibleNodes(scene);
  paintNodes(ctx, scene, items);
  paintChosen(ctx, scene, items);
}

/** @param {Canvas} ctx @param {Scene} scene */
export function paintEdges(ctx, scene) {
  if (scene.graph === null) return;
  const { source, target, shared, stability } = scene.graph.edges;
  const { camera } = scene;
  const { x, y } = scene.onScreen();
  // Among a thousand edges, thick ones would hide the nodes.
  const thin = source.length > 900 ? 0.6 : 1;
  const widths = [0.8 * thin, 1.4 * thin, 2.4 * thin];
  /** @type {number[][]} */
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
  const whole = scene.emphasis === null ? 1 : 0.4;
  groups.forEach((edges, k) => {
    ctx.lineWidth = widths[k];
    for (const [opacity, group] of byOpacity(edges, (e) => stability?.[e])) {
      ctx.globalAlpha = whole * opacity;
      inChunks(group, (chunk) => {
        ctx.beginPath();
        for (const e of chunk) {
          ctx.moveTo(x[source[e]], y[source[e]]);
          ctx.lineTo(x[target[e]], y[target[e]]);
        }
        ctx.stroke();
      });
    }
  });
  ctx.globalAlpha = 1;
}

/**
 * The nodes that lie on the canvas, the largest first, and where.
 * @param {Scene} scene
 */
export function visibleNodes(scene) {
  const { x, y } = scene.onScreen();
  /** @type {Item[]} */
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

/** @param {Canvas} ctx @param {Scene} scene @param {Item[]} items */
export function paintNodes(ctx, scene, items) {
  /** @type {Record<"front" | "back", Item[]>} */
  const small = { front: [], back: [] };
  /** @type {Record<"front" | "back", Item[]>} */
  const large = { front: [], back: [] };
  for (const item of items) {
    const group = item.r < SMALLEST_PIE ? small : large;
    group[scene.inFront(item.i) ? "front" : "back"].push(item);
  }
  faded(ctx, scene, STEPPED_BACK, small.back, paintDiscs);
  faded(ctx, scene, STEPPED_BACK, large.back, paintPies);
  faded(ctx, scene, 1, large.front, paintPies);
  faded(ctx, scene, 1, small.front, paintDiscs);
}

/**
 * Paint nodes, each as faint as its stability says, and all by one factor more.
 * @param {Canvas} ctx @param {Scene} scene @param {number} whole @param {Item[]} items
 * @param {(ctx: any, scene: Scene, items: Item[]) => void} paint
 */
export function faded(ctx, scene, whole, items, paint) {
  for (const [opacity, group] of byOpacity(items, ({ i }) => scene.stability(i))) {
    ctx.globalAlpha = whole * opacity;
    paint(ctx, scene, group);
  }
  ctx.globalAlpha = 1;
}

/**
 * One node at full opacity.
 * @param {Canvas} ctx @param {Scene} scene @param {Item} item
 */
export function paintNode(ctx, scene, item) {
  if (item.r < SMALLEST_PIE) paintDiscs(ctx, scene, [item]);
  else paintPies(ctx, scene, [item]);
}

/**
 * Small nodes, by colour: one fill for many.
 * @param {Canvas} ctx @param {Scene} scene @param {Item[]} items
 */
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

/** @param {Canvas} ctx @param {Scene} scene @param {Item[]} items */
function paintPies(ctx, scene, items) {
  for (const { i, x, y, r } of items) {
    if (scene.pies !== null) paintPie(ctx, scene, i, x, y, r);
    else fillDisc(ctx, scene.colour(i), x, y, r);
    paintOutline(ctx, scene, x, y, r);
    if (r >= SMALLEST_LABEL) paintLabel(ctx, scene, i, x, y, r);
  }
}

/**
 * @param {Canvas} ctx @param {Scene} scene @param {number} i @param {number} x
 * @param {number} y @param {number} r
 */
function paintPie(ctx, scene, i, x, y, r) {
  const parts = scene.slices[i];
  if (parts.length < 2) {
    fillDisc(ctx, scene.colour(i), x, y, r);
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

/**
 * @param {Canvas} ctx @param {string} colour @param {number} x @param {number} y
 * @param {number} r
 */
function fillDisc(ctx, colour, x, y, r) {
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.fill();
}

/**
 * The outline keeps pale colours visible on a pale ground.
 * @param {Canvas} ctx @param {Scene} scene @param {number} x @param {number} y
 * @param {number} r
 */
function paintOutline(ctx, scene, x, y, r) {
  ctx.strokeStyle = scene.ink.outline;
  ctx.lineWidth = r < 6 ? 0.6 : 1;
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.stroke();
}

/**
 * @param {Canvas} ctx @param {Scene} scene @param {number} i @param {number} x
 * @param {number} y @param {number} r
 */
function paintLabel(ctx, scene, i, x, y, r) {
  const name = scene.labelOf(i);
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

/**
 * Rings around the nodes that are marked or selected.
 * @param {Canvas} ctx @param {Scene} scene @param {Item[]} items
 */
export function paintChosen(ctx, scene, items) {
  const { ink, marks, selection } = scene;
  const marked = items.filter(({ i }) => marks.has(i));
  const selected = items.filter(({ i }) => selection.has(i));
  /** @param {number} i */
  const share = (i) => (marks.get(i) ?? 0) / scene.nodes.size[i];
  rings(ctx, marked, { gap: 3, width: 1.2, colour: ink.mark });
  rings(ctx, marked, { gap: 3, width: 4, colour: ink.mark, share });
  rings(ctx, selected, { gap: 1, width: 4.5, colour: ink.paper });
  rings(ctx, selected, { gap: 1.2, width: 2.6, colour: ink.selection });
}

/**
 * The node under the pointer and the one under the keyboard.
 * @param {Canvas} ctx @param {Scene} scene @param {{keyboard: boolean}} where
 */
export function paintPointedOut(ctx, scene, { keyboard }) {
  const { active, hover, ink, partner } = scene;
  const { x, y } = scene.onScreen();
  /** @param {number} i */
  const item = (i) => ({ i, x: x[i], y: y[i], r: scene.radius(i) });
  if (hover >= 0) rings(ctx, [item(hover)], { gap: 1, width: 1.5, colour: ink.text });
  if (partner >= 0)
    rings(ctx, [item(partner)], { gap: 4, width: 2, colour: ink.focus });
  if (keyboard && active >= 0) {
    ctx.setLineDash([4, 3]);
    rings(ctx, [item(active)], { gap: 5, width: 2, colour: ink.focus });
    ctx.setLineDash([]);
  }
}

/** @type {(i: number) => number} */
const allAround = () => 1;

/**
 * @param {Canvas} ctx @param {Item[]} items @param {Object} look
 * @param {number} look.gap
 * @param {number} look.width
 * @param {string} look.colour
 * @param {(i: number) => number} [look.share] a ring goes so far around, from the top
 */
function rings(ctx, items, { gap, width, colour, share = allAround }) {
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

/**
 * The outline of a box or lasso while it is drawn.
 * @param {Canvas} ctx @param {Scene} scene @param {number[][]} points
 */
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

/**
 * @param {Camera} camera @param {number} left @param {number} top @param {number} right
 * @param {number} bottom
 */
function outside(camera, left, top, right, bottom) {
  return right < 0 || bottom < 0 || left > camera.width || top > camera.height;
}

/**
 * @template T
 * @param {T[]} items @param {(chunk: T[]) => void} draw
 */
function inChunks(items, draw) {
  for (let from = 0; from < items.length; from += PATH_LENGTH) {
    draw(items.slice(from, from + PATH_LENGTH));
  }
}
