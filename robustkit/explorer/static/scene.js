/**
 * What one pane shows: the graph, where its nodes stand and move to, how large and of
 * which colour they are, and which are selected or marked. Painting, hit testing and
 * exporting all read this, so that they cannot disagree.
 */

import { count, short } from "./elements.js";
import { classColour, scaleColour } from "./paint.js";

/** The visible part of the plane: its centre and scale. */
export class Camera {
  x = 0.5;
  y = 0.5;
  /** Screen pixels per unit of the world, horizontally. */
  scale = 500;
  /** Ratio of the vertical to the horizontal scale, so that a graph fills its pane. */
  stretch = 1;
  /** The scale at which the whole graph is visible; zoom is relative to it. */
  fitScale = 500;
  width = 1;
  height = 1;
  /** Pixels at the edges where tools and legend lie on the canvas. */
  covered = { right: 0, bottom: 0 };

  /** @param {number} x @param {number} y */
  toScreen(x, y) {
    return [
      (x - this.x) * this.scale + this.width / 2,
      (y - this.y) * this.scale * this.stretch + this.height / 2,
    ];
  }

  /** @param {number} sx @param {number} sy */
  toWorld(sx, sy) {
    return [
      (sx - this.width / 2) / this.scale + this.x,
      (sy - this.height / 2) / (this.scale * this.stretch) + this.y,
    ];
  }

  get zoom() {
    return this.scale / this.fitScale;
  }

  /** @param {number} dx @param {number} dy */
  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / (this.scale * this.stretch);
  }

  /**
   * Zoom, with the world point under the pointer kept in place.
   * @param {number} factor @param {number} sx @param {number} sy
   */
  zoomAt(factor, sx, sy) {
    const [wx, wy] = this.toWorld(sx, sy);
    const lowest = this.fitScale / 8;
    this.scale = Math.min(this.fitScale * 60, Math.max(lowest, this.scale * factor));
    const [nx, ny] = this.toWorld(sx, sy);
    this.x += wx - nx;
    this.y += wy - ny;
  }

  /**
   * The scale and middle that show all of the box beside what covers the canvas.
   * @param {{left: number, top: number, right: number, bottom: number}} box
   */
  fit({ left, top, right, bottom }) {
    const margin = Math.min(34, this.width / 10, this.height / 10);
    const across = Math.max(1, this.width - 2 * margin - this.covered.right);
    const down = Math.max(1, this.height - 2 * margin - this.covered.bottom);
    const [wide, high] = [right - left, bottom - top];
    // Distances in a layout mean little; beyond these bounds it would look squashed.
    this.stretch = Math.min(2.2, Math.max(0.6, down / high / (across / wide)));
    this.scale = Math.min(across / wide, down / (high * this.stretch));
    this.fitScale = this.scale;
    this.x = (left + right) / 2 + this.covered.right / 2 / this.scale;
    this.y = (top + bottom) / 2 + this.covered.bottom / 2 / (this.scale * this.stretch);
  }
}

/**
 * A spatial index of the nodes: a grid of cells, each with the nodes whose centres it
 * contains.
 */
export class Grid {
  /** @type {Map<string, number[]>} */
  #cells = new Map();
  #step;

  /**
   * @param {Float64Array} xs @param {Float64Array} ys
   * @param {number} step the side of a cell, in world units
   */
  constructor(xs, ys, step) {
    this.#step = step;
    this.xs = xs;
    this.ys = ys;
    for (let i = 0; i < xs.length; i += 1) {
      const key = this.#key(this.#cell(xs[i]), this.#cell(ys[i]));
      const cell = this.#cells.get(key);
      if (cell === undefined) this.#cells.set(key, [i]);
      else cell.push(i);
    }
  }

  /** @param {number} value */
  #cell(value) {
    return Math.floor(value / this.#step);
  }

  /** @param {number} column @param {number} row */
  #key(column, row) {
    return `${column},${row}`;
  }

  /**
   * The nodes whose middle may lie within `reach` of the point.
   * @param {number} x @param {number} y @param {number} reach
   */
  *near(x, y, reach) {
    for (let row = this.#cell(y - reach); row <= this.#cell(y + reach); row += 1) {
      for (let col = this.#cell(x - reach); col <= this.#cell(x + reach); col += 1) {
        yield* this.#cells.get(this.#key(col, row)) ?? [];
      }
    }
  }

  /**
   * The median distance from a node to its nearest neighbour.
   * @param {Float64Array} xs @param {Float64Array} ys
   * @param {number} stretch how much longer a unit is downwards
   */
  static typicalRoom(xs, ys, stretch) {
    if (xs.length < 2) return Infinity;
    const [low, high] = [Math.min(...xs), Math.max(...xs)];
    const step = Math.max(1e-9, (high - low) / Math.sqrt(xs.length));
    const grid = new Grid(
      xs,
      ys.map((y) => y * stretch),
      step,
    );
    const rooms = Array.from(xs, (x, i) => {
      let nearest = 2 * step;
      for (const j of grid.near(x, grid.ys[i], step)) {
        const distance = Math.hypot(xs[j] - x, grid.ys[j] - grid.ys[i]);
        if (j !== i && distance < nearest) nearest = distance;
      }
      return nearest;
    });
    return rooms.sort((a, b) => a - b)[rooms.length >> 1];
  }
}

/**
 * What nodes can be coloured by: a name and a text for each.
 * @param {import("./questions.js").Run} run
 */
export function colouringsOf(run) {
  const knowsConfidence = run.views.some((view) => view.has_confidence);
  return [
    ["labels", "True labels"],
    ["prediction", "Predictions"],
    ["accuracy", "Accuracy"],
    ...(knowsConfidence ? [["confidence", "Confidence"]] : []),
    ["purity", "Purity"],
    ...(run.has_stability ? [["stability", "Stability"]] : []),
    ["size", "Size"],
    ["filter", "Filter value"],
    ...run.columns.map(({ name }, k) => [`column ${k}`, name]),
  ];
}

/**
 * A number of each node, and the ends of the scale that shows it.
 *
 * @typedef {{title: string, ramp: string, values: number[], low: number, high: number,
 *     ends: [string, string]}} Scale
 *
 * Shares of categories in each node.
 *
 * @typedef {{names: string[], counts: number[][]}} Pies
 */

/** @type {import("./questions.js").Nodes} */
const NO_NODES = {
  id: [],
  x: [],
  y: [],
  size: [],
  interval: [],
  filter_mean: [],
  purity: [],
  accuracy: [],
  counts: [],
};

/** A part of a pie: class, begin and end of the angle. @typedef {[number, number, number]} Slice */

export class Scene {
  camera = new Camera();
  /** @type {import("./questions.js").Graph | null} */
  graph = null;
  /** Node id -> index. @type {Map<number, number>} */
  indexOf = new Map();
  /** The nodes' indices, the largest node first. @type {number[]} */
  order = [];
  /** Sizes of nodes, and samples that two nodes share. */
  largest = 1;
  smallest = 1;
  mostShared = 1;
  /** The radius of the node in the middle, as a share of the largest. */
  typical = 1;
  /** What the nodes show, if it is shares. @type {Pies | null} */
  pies = null;
  /** What the nodes show, if it is a number. @type {Scale | null} */
  scale = null;
  /** @type {Slice[][]} */
  slices = [];
  /** Where the nodes are drawn now; while they move, not where they will rest. */
  xs = new Float64Array(0);
  ys = new Float64Array(0);
  colouring = "labels";
  /** @type {Set<number>} */
  selection = new Set();
  /** Node index -> how many of the marked samples it holds. @type {Map<number, number>} */
  marks = new Map();
  active = -1;
  hover = -1;
  /** The match of the node that is pointed at in the other pane. */
  partner = -1;
  /**
   * The class highlighted in the legend: nodes without it are faded.
   *
   * @type {number | null}
   */
  emphasis = null;
  /** @type {Grid | null} */
  #grid = null;
  #screen = { x: new Float64Array(0), y: new Float64Array(0) };
  #room = Infinity;
  /** @type {Map<number, number[]>} */
  #moved = new Map();

  /**
   * @param {import("./preferences.js").Ink} ink
   * @param {import("./questions.js").Run} run
   */
  constructor(ink, run) {
    this.ink = ink;
    this.run = run;
  }

  /** The graph's nodes; before the first graph there are none. */
  get nodes() {
    return this.graph?.nodes ?? NO_NODES;
  }

  get length() {
    return this.nodes.size.length;
  }

  /**
   * Take a new graph; what was selected and dragged stays by the nodes' ids.
   * @param {import("./questions.js").Graph} graph
   * @param {import("./questions.js").OfNodes | null} own what the colouring needs
   */
  accept(graph, own) {
    const nodes = graph.nodes;
    const index = new Map(nodes.id.map((id, i) => [id, i]));
    const before = this.nodes.id;
    const kept = [...this.selection].map((i) => index.get(before[i]) ?? -1);
    this.selection = new Set(kept.filter((i) => i >= 0));
    this.marks = new Map();
    this.active = index.get(before[this.active]) ?? -1;
    this.hover = -1;
    this.partner = -1;
    this.graph = graph;
    this.indexOf = index;
    this.largest = nodes.size.reduce((a, b) => Math.max(a, b), 1);
    this.smallest = nodes.size.reduce((a, b) => Math.min(a, b), this.largest);
    this.mostShared = graph.edges.shared.reduce((a, b) => Math.max(a, b), 1);
    this.order = nodes.size
      .map((_, i) => i)
      .sort((a, b) => nodes.size[b] - nodes.size[a]);
    const middle = this.order[this.order.length >> 1];
    this.typical = Math.sqrt((nodes.size[middle] ?? this.largest) / this.largest);
    this.#grid = null;
    this.colourBy(this.colouring, own);
  }

  /**
   * @param {string} colouring
   * @param {import("./questions.js").OfNodes | null} own of each node, what the graph
   *     itself does not tell
   */
  colourBy(colouring, own) {
    this.colouring = colouring;
    const counts = colouring === "labels" ? this.nodes.counts : (own?.counts ?? null);
    const names = own?.names ?? this.run.class_names;
    this.pies = counts === null ? null : { names, counts };
    this.slices = (counts ?? []).map(slices);
    this.scale = counts === null ? this.#scaleOf(colouring, own?.means ?? []) : null;
  }

  /** @param {string} colouring @param {number[]} means @returns {Scale} */
  #scaleOf(colouring, means) {
    const { accuracy, purity, size, filter_mean: filter } = this.nodes;
    /** @type {[string, string]} */
    const percents = ["0 %", "100 %"];
    const unit = { low: 0, high: 1 };
    switch (colouring) {
      case "accuracy":
        return {
          title: "Accuracy",
          ramp: "accuracy",
          values: accuracy,
          ...unit,
          ends: percents,
        };
      case "purity":
        return {
          title: "Purity",
          ramp: "purity",
          values: purity,
          ...unit,
          ends: ["0", "1"],
        };
      case "stability":
        return {
          title: "Stability (share of resamples)",
          ramp: "purity",
          values: this.nodes.stability ?? [],
          ...unit,
          ends: percents,
        };
      case "confidence":
        return {
          title: "Confidence (mean)",
          ramp: "purity",
          values: means,
          ...unit,
          ends: percents,
        };
      case "size":
        // Sizes span decades.
        return {
          title: "Size (logarithmic)",
          ramp: "value",
          values: size.map(Math.log),
          low: Math.log(this.smallest),
          high: Math.log(this.largest),
          ends: [count(this.smallest, "sample"), count(this.largest, "sample")],
        };
      default:
        return scaleOver(
          colouring === "filter" ? filter : means,
          `${textOf(this.run, colouring)} (mean)`,
        );
    }
  }

  /**
   * The share of resamples that have a node, where it shows as opacity: not beside a
   * colour that says the same.
   * @param {number} i
   */
  stability(i) {
    return this.colouring === "stability" ? undefined : this.nodes.stability?.[i];
  }

  /** The places where the nodes come to rest: the layout's, or where they were dragged. */
  restingPlaces() {
    const { id, x, y } = this.nodes;
    const xs = Float64Array.from(x);
    const ys = Float64Array.from(y);
    for (const [node, [px, py]] of this.#moved) {
      const i = this.indexOf.get(node);
      if (i !== undefined) [xs[i], ys[i]] = [px, py];
    }
    return { id, xs, ys };
  }

  /** @param {Float64Array<ArrayBuffer>} xs @param {Float64Array<ArrayBuffer>} ys */
  place(xs, ys) {
    this.xs = xs;
    this.ys = ys;
    this.#grid = null;
  }

  /** @param {number} i @param {number} x @param {number} y */
  drag(i, x, y) {
    this.xs[i] = x;
    this.ys[i] = y;
    this.#moved.set(this.nodes.id[i], [x, y]);
    this.#grid = null;
  }

  /** Places of what was dragged, by the nodes' ids, for the link. */
  get moved() {
    return this.#moved;
  }

  set moved(places) {
    this.#moved = places;
  }

  /** Where all nodes lie on the screen; the same arrays are filled at every call. */
  onScreen() {
    const { camera, xs, ys } = this;
    if (this.#screen.x.length !== xs.length) {
      this.#screen = { x: new Float64Array(xs.length), y: new Float64Array(xs.length) };
    }
    const { x, y } = this.#screen;
    const down = camera.scale * camera.stretch;
    for (let i = 0; i < xs.length; i += 1) {
      x[i] = (xs[i] - camera.x) * camera.scale + camera.width / 2;
      y[i] = (ys[i] - camera.y) * down + camera.height / 2;
    }
    return this.#screen;
  }

  fit() {
    const { xs, ys } = this.restingPlaces();
    if (xs.length === 0) return;
    const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
    for (let i = 0; i < xs.length; i += 1) {
      box.left = Math.min(box.left, xs[i]);
      box.right = Math.max(box.right, xs[i]);
      box.top = Math.min(box.top, ys[i]);
      box.bottom = Math.max(box.bottom, ys[i]);
    }
    // A single node, or a row of them, has no extent of its own to fill the pane.
    const least = 0.2;
    /** @type {(low: number, high: number) => number} */
    const grow = (low, high) => Math.max(0, (least - (high - low)) / 2);
    const dx = grow(box.left, box.right);
    const dy = grow(box.top, box.bottom);
    this.camera.fit({
      left: box.left - dx,
      right: box.right + dx,
      top: box.top - dy,
      bottom: box.bottom + dy,
    });
    this.#room = Grid.typicalRoom(xs, ys, this.camera.stretch);
  }

  /**
   * A node's radius on the screen. Area follows size; the largest radius is somewhat
   * less than the distance between neighbours, or less still where most nodes are
   * large; zooming in enlarges nodes less than distances, so that what is crowded
   * comes apart.
   * @param {number} i
   */
  radius(i) {
    const { camera } = this;
    const room = this.#room * Math.min(1, 0.55 / this.typical);
    const largest = Math.min(26, Math.max(4, 0.65 * room * camera.fitScale));
    const share = Math.sqrt(this.nodes.size[i] / this.largest);
    return Math.max(2, largest * Math.max(0.3, share)) * camera.zoom ** 0.6;
  }

  /**
   * The node at a place on the screen; -1 for none.
   * @param {number} sx @param {number} sy
   */
  hitTest(sx, sy) {
    if (this.length === 0) return -1;
    const { camera } = this;
    const [x, y] = camera.toWorld(sx, sy);
    this.#grid ??= new Grid(this.xs, this.ys, 40 / camera.fitScale);
    // Small nodes have a larger target, for fingers.
    /** @type {(i: number) => number} */
    const reach = (i) => Math.max(this.radius(i), 7);
    const farthest =
      reach(this.order[0]) / (camera.scale * Math.min(1, camera.stretch));
    let best = -1;
    let nearest = 1;
    for (const i of this.#grid.near(x, y, farthest)) {
      const [nx, ny] = camera.toScreen(this.xs[i], this.ys[i]);
      const distance = Math.hypot(nx - sx, ny - sy) / reach(i);
      if (distance <= nearest) [best, nearest] = [i, distance];
    }
    return best;
  }

  /**
   * Whether the node is shown at full opacity, or faded by the highlighted category.
   * @param {number} i
   */
  inFront(i) {
    if (this.emphasis === null || this.pies === null) return true;
    return this.pies.counts[i][this.emphasis] > 0;
  }

  /** The class that most samples of a node bear. @param {number} i */
  majority(i) {
    return largestOf(this.nodes.counts[i]);
  }

  /** What is written into a node. @param {number} i */
  labelOf(i) {
    const { names, counts } = this.pies ?? {
      names: this.run.class_names,
      counts: this.nodes.counts,
    };
    return names[largestOf(counts[i])] ?? "";
  }

  /** @param {number} i */
  colour(i) {
    if (this.pies !== null)
      return classColour(largestOf(this.pies.counts[i]), this.ink.dark);
    if (this.scale === null) return classColour(-1, this.ink.dark);
    const { ramp, values, low, high } = this.scale;
    return scaleColour(ramp, high > low ? (values[i] - low) / (high - low) : 1);
  }
}

/** Where the largest of some counts is; -1 if all are 0. @param {number[]} counts */
function largestOf(counts) {
  const most = Math.max(...counts);
  return most > 0 ? counts.indexOf(most) : -1;
}

/** @param {import("./questions.js").Run} run @param {string} colouring */
const textOf = (run, colouring) =>
  colouringsOf(run).find(([name]) => name === colouring)?.[1] ?? colouring;

/** @param {number[]} values @param {string} title @returns {Scale} */
function scaleOver(values, title) {
  const known = values.filter(Number.isFinite);
  const low = known.reduce((a, b) => Math.min(a, b), Infinity);
  const high = known.reduce((a, b) => Math.max(a, b), -Infinity);
  const ends = known.length > 0 ? [short(low), short(high)] : ["none", "none"];
  return { title, ramp: "value", values, low, high, ends: [ends[0], ends[1]] };
}

/**
 * The slices of a pie, from the top clockwise.
 * @param {number[]} counts
 * @returns {Slice[]}
 */
function slices(counts) {
  const total = counts.reduce((a, b) => a + b, 0);
  /** @type {Slice[]} */
  const out = [];
  let angle = -Math.PI / 2;
  for (let k = 0; k < counts.length; k += 1) {
    if (counts[k] === 0) continue;
    const end = angle + (counts[k] / total) * 2 * Math.PI;
    out.push([k, angle, end]);
    angle = end;
  }
  return out;
}

const still = matchMedia("(prefers-reduced-motion: reduce)");
const DURATION = 380;

/**
 * Animates nodes that persist to their new positions; new nodes appear there
 * immediately. With reduced motion, all do.
 */
export class Motion {
  #frame = 0;

  /**
   * Move the scene's nodes from where they were drawn to where they rest.
   * @param {Scene} scene
   * @param {Map<number, number[]>} before node id -> place before the change
   * @param {(how?: string) => void} redraw told "moving" on the way
   */
  glide(scene, before, redraw) {
    cancelAnimationFrame(this.#frame);
    const { id, xs, ys } = scene.restingPlaces();
    const from = id.map((node, i) => before.get(node) ?? [xs[i], ys[i]]);
    if (still.matches || before.size === 0) {
      scene.place(xs, ys);
      redraw();
      return;
    }
    const began = performance.now();
    /** @param {number} now */
    const step = (now) => {
      const share = ease(Math.min(1, Math.max(0, (now - began) / DURATION)));
      scene.place(
        xs.map((x, i) => from[i][0] + (x - from[i][0]) * share),
        ys.map((y, i) => from[i][1] + (y - from[i][1]) * share),
      );
      redraw(share < 1 ? "moving" : undefined);
      if (share < 1) this.#frame = requestAnimationFrame(step);
    };
    step(began);
  }

  /**
   * Let the nodes rest where they are headed, as when the reader takes one.
   * @param {Scene} scene
   */
  settle(scene) {
    cancelAnimationFrame(this.#frame);
    const { xs, ys } = scene.restingPlaces();
    scene.place(xs, ys);
  }
}

/** @param {number} t */
const ease = (t) => (t < 0.5 ? 4 * t ** 3 : 1 - (2 - 2 * t) ** 3 / 2);
