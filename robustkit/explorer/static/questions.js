/**
 * All questions about samples, nodes and graphs are answered here, in the page, from
 * arrays. A source provides the arrays: the server, which computes the graphs
 * (`data_from_server.js`), or the exported page itself (`data_in_page.js`).
 */

import { graphAsGraphml, graphAsJson, samplesAsCsv } from "./graph_files.js";

/**
 * @typedef {{id: number, model: string, level: number, layer: string, accuracy: number,
 *     has_confidence: boolean, has_regions: boolean}} View what a layer of a model makes
 *     of the samples at an attack level
 *
 * @typedef {{filter: string, cover: string, n_intervals: number, overlap: number,
 *     eps: number | "auto", min_samples: number, second_filter: string,
 *     second_intervals: number}} Parameters of a mapper graph
 *
 * @typedef {Object} Run what there is to see
 * @property {string} title
 * @property {number} n_samples
 * @property {string[]} class_names
 * @property {number[] | null} image_shape channels, height, width
 * @property {boolean} has_images
 * @property {string[]} models
 * @property {View[]} views
 * @property {{name: string, categories: string[] | null}[]} columns what else is known
 *     of each sample
 * @property {number[]} opening the views that the page begins with, one or two
 * @property {Record<"light" | "dark", string[]>} class_colors
 * @property {Parameters} defaults
 * @property {Record<"n_intervals" | "overlap" | "min_samples" | "second_intervals",
 *     [number, number]>} limits
 * @property {string[]} filters
 * @property {string[]} covers
 * @property {boolean} has_stability whether graphs are resampled
 * @property {boolean} can_match whether the nodes of two panes can be matched
 * @property {boolean} embedded whether the graphs are those of an exported page
 * @property {string} [fragment] in a cell of a notebook, the view seen there before, as
 *     in an address
 *
 * @typedef {Object} Nodes one entry in each column for each node
 * @property {number[]} id a number that stays while a node persists
 * @property {number[]} x
 * @property {number[]} y
 * @property {number[]} size
 * @property {number[]} interval
 * @property {number[]} filter_mean
 * @property {number[]} [second_interval] with two filters
 * @property {number[]} [second_filter_mean]
 * @property {number[]} purity
 * @property {number[]} accuracy
 * @property {number[]} [stability] share of resamples that have the node
 * @property {number[][]} counts samples of each class
 *
 * @typedef {Object} Graph
 * @property {string} graph the key by which the server knows it
 * @property {Parameters & {view: number}} parameters
 * @property {number | null} eps the radius used
 * @property {number} n_noise
 * @property {number} n_in_nodes
 * @property {number} seconds
 * @property {number} purity
 * @property {number} accuracy
 * @property {string} note
 * @property {Nodes} nodes
 * @property {{source: number[], target: number[], shared: number[],
 *     stability?: number[]}} edges
 * @property {Beside} [beside] where it was asked for
 *
 * @typedef {{graph: string, other_nodes: number[], nodes: number[]}} Beside the graph of
 *     the other pane, and which of its nodes are which of this graph
 *
 * @typedef {{i: number, y: number, p: number, c: number | null, r: number | null}} Sample
 *     index, true and predicted class, confidence and region
 *
 * @typedef {{counts?: number[][], names?: string[], means?: number[]}} OfNodes of each
 *     node, how many samples are of each category, or the mean of a number
 *
 * @typedef {"index" | "wrong" | "confidence"} Order of samples
 *
 * @typedef {Object} Found where some samples lie
 * @property {number[]} samples
 * @property {number[]} nodes those that hold some of them
 * @property {number[]} held how many each of these holds
 * @property {number} noise how many lie in no node
 *
 * @typedef {Parameters & {view: number, beside?: string}} Asked the graph of a view; its
 *     nodes are matched with those of the graph that the other pane shows, if it is named
 *
 * @typedef {string} Column a key of COLUMNS, or "column 0" and so on
 *
 * @typedef {Object} Source
 * @property {() => Promise<Run>} run
 * @property {(name: Column, view?: number) => Promise<ArrayBuffer>} column
 * @property {(side: string, asked: Asked) => Promise<Graph>} graph
 * @property {(graph: Graph) => Promise<ArrayBuffer>} members the samples of each node,
 *     ascending, node after node
 * @property {(views: number[], parameters: Parameters) => Promise<number[]>} purities of
 *     the graphs of some views
 * @property {(view: number | "clean", ids: number[]) => Promise<(Uint8Array | null)[]>
 *     } images the bytes of each; null where there are none
 * @property {(parameters: Parameters) => Promise<Blob>} page all of it as one file
 * @property {Cell} [cell] the cell of a notebook in which the page is shown
 *
 * @typedef {Object} Cell
 * @property {(fragment: string) => void} keep the view for the next time it is opened
 * @property {(session: import("./session.js").Session) => void} watch what is selected
 *     and seen
 */

/**
 * Columns of the samples; all but the first have a view. Those of `run.columns` are
 * numbers of 64 bits.
 * @type {Record<string, any>}
 */
const COLUMNS = {
  y: Int32Array,
  prediction: Int32Array,
  confidence: Float32Array,
  regions: Float64Array,
};

/** An error of a source; `message` is one line that is shown to the reader. */
export class SourceError extends Error {
  /** @param {string} message */
  constructor(message, { status = 0, superseded = false } = {}) {
    super(message);
    /** 404 where the server has let go of the graph. */
    this.status = status;
    /** Whether something newer took its place, so that nothing need be said. */
    this.superseded = superseded;
  }
}

/**
 * Sends what is asked for, and waits for the response.
 *
 * @typedef {(route: string, values: Record<string, any>,
 *     how?: {posted?: boolean, signal?: AbortSignal}) => Promise<Response>} Send
 */

/**
 * A source that asks elsewhere, by whatever way.
 * @param {Send} send
 * @returns {Source}
 */
export function sourceOf(send) {
  // Two tabs on one server must not cancel each other's computations.
  const words = crypto.getRandomValues(new Uint32Array(3));
  const tab = Array.from(words, (word) => word.toString(36)).join("");
  /** @type {Map<string, AbortController>} */
  const running = new Map();
  let last = 0;
  /**
   * Request a computation, and abort the previous request of the same name.
   * @param {string} name @param {string} route @param {Object} values
   */
  const newest = async (name, route, values) => {
    running.get(name)?.abort();
    const controller = new AbortController();
    running.set(name, controller);
    last += 1;
    const response = await send(
      route,
      { tab, seq: last, ...values },
      { posted: true, signal: controller.signal },
    );
    return response.json();
  };
  return {
    run: async () => (await send("run", {})).json(),

    async column(name, view) {
      const query = view === undefined ? { name } : { name, view };
      return (await send("column", query)).arrayBuffer();
    },

    /** The newest wins: a request for a pane ends the pane's older one. */
    graph: (pane, asked) => newest(pane, "graph", { pane, ...asked }),

    members: async ({ graph }) => (await send("members", { graph })).arrayBuffer(),

    /** The page shows one curve: a newer one ends the older one, of whatever pane. */
    purities: async (views, parameters) =>
      (await newest("curve", "purities", { views, ...parameters })).purities,

    async images(view, ids) {
      const response = await send("images", { view, ids: ids.join(",") });
      const bytes = new Uint8Array(await response.arrayBuffer());
      const size = bytes.length / ids.length;
      return ids.map((_, k) => bytes.subarray(k * size, (k + 1) * size));
    },

    page: async (parameters) => (await send("page.html", parameters)).blob(),
  };
}

/** Of a request that a newer one made useless. */
export const replaced = () =>
  new SourceError("replaced by a newer request", { superseded: true });

/** The response itself, unless it says why there is none. @param {Response} response */
export async function accepted(response) {
  if (response.ok) return response;
  /** @type {{error?: string, superseded?: boolean}} */
  let body = {};
  try {
    body = await response.json();
  } catch {
    // Without a readable body, only the status is reported.
  }
  throw new SourceError(body.error ?? `The server answered ${response.status}.`, {
    status: response.status,
    superseded: body.superseded === true,
  });
}

export class Questions {
  #source;
  #run;
  /** @type {Map<string, Promise<Int32Array | Float32Array | Float64Array>>} */
  #columns = new Map();
  /** Forgotten with the graph. @type {WeakMap<Graph, Promise<Membership>>} */
  #memberships = new WeakMap();

  /** @param {Source} source @param {Run} run */
  constructor(source, run) {
    this.#source = source;
    this.#run = run;
  }

  /**
   * The samples of some nodes, a page at a time.
   * @param {Graph} graph @param {number[]} nodes
   * @param {{offset?: number, limit?: number, sort?: Order}} page
   */
  async members(graph, nodes, page = {}) {
    return this.page(graph, await this.samplesOf(graph, nodes), page);
  }

  /**
   * Some samples, a page at a time, and what all of them are and are taken for.
   * @param {Graph} graph @param {number[]} samples
   * @param {{offset?: number, limit?: number, sort?: Order}} page
   */
  async page(graph, samples, { offset = 0, limit = 60, sort = "index" } = {}) {
    const columns = await this.#columnsOf(graph);
    const { y, prediction } = columns;
    const classes = this.#run.class_names.length;
    const wrong = samples.reduce((sum, i) => sum + Number(prediction[i] !== y[i]), 0);
    const counts = tally(samples, y, classes);
    const total = samples.length;
    const sorted = [...samples];
    sortSamples(sorted, sort, columns);
    return {
      total,
      wrong,
      accuracy: total === 0 ? null : 1 - wrong / total,
      purity: purity(counts, new Set(y).size),
      counts,
      predicted_counts: tally(samples, prediction, classes),
      samples: sorted.slice(offset, offset + limit).map((i) => describe(columns, i)),
    };
  }

  /**
   * What a colouring needs that the graph itself does not tell; null if nothing.
   * @param {Graph} graph @param {string} colouring
   * @returns {Promise<OfNodes | null>}
   */
  async ofNodes(graph, colouring) {
    const own = this.#run.columns.find((_, k) => colouring === `column ${k}`);
    const ofView = colouring === "prediction" || colouring === "confidence";
    if (own === undefined && !ofView) return null;
    const [membership, values] = await Promise.all([
      this.#membership(graph),
      this.#column(colouring, ofView ? graph.parameters.view : undefined),
    ]);
    const names = colouring === "prediction" ? this.#run.class_names : own?.categories;
    const nodes = graph.nodes.size.map((_, node) => membership.of(node));
    return names
      ? { names, counts: nodes.map((held) => tally(held, values, names.length)) }
      : { means: nodes.map((held) => mean(held, values)) };
  }

  /** The samples that lie in no node, ascending. @param {Graph} graph */
  async noise(graph) {
    const { members } = await this.#membership(graph);
    const held = new Uint8Array(this.#run.n_samples);
    for (const i of members) held[i] = 1;
    /** @type {number[]} */
    const samples = [];
    held.forEach((is, i) => is === 0 && samples.push(i));
    return samples;
  }

  /**
   * The samples of some nodes by number, each once, ascending.
   * @param {Graph} graph @param {number[]} nodes
   */
  async samplesOf(graph, nodes) {
    const membership = await this.#membership(graph);
    const chosen = new Uint8Array(this.#run.n_samples);
    for (const node of nodes) {
      for (const i of membership.of(node)) chosen[i] = 1;
    }
    /** @type {number[]} */
    const samples = [];
    chosen.forEach((is, i) => is === 1 && samples.push(i));
    return samples;
  }

  /**
   * @param {Graph} graph @param {number[]} samples
   * @returns {Promise<Sample[]>}
   */
  async describe(graph, samples) {
    const columns = await this.#columnsOf(graph);
    return samples.map((i) => describe(columns, i));
  }

  /**
   * Which nodes hold some samples, and how many of them.
   * @param {Graph} graph
   * @param {number[]} samples each once
   * @returns {Promise<Found>}
   */
  async where(graph, samples) {
    const membership = await this.#membership(graph);
    const wanted = new Uint8Array(this.#run.n_samples);
    for (const i of samples) wanted[i] = 1;
    /** @type {Found} */
    const found = { samples, nodes: [], held: [], noise: 0 };
    let placed = 0;
    for (let node = 0; node < graph.nodes.size.length; node += 1) {
      let held = 0;
      for (const i of membership.of(node)) {
        if (wanted[i] === 0) continue;
        held += 1;
        if (wanted[i] === 1) placed += 1;
        wanted[i] = 2;
      }
      if (held === 0) continue;
      found.nodes.push(node);
      found.held.push(held);
    }
    found.noise = samples.length - placed;
    return found;
  }

  /** @param {Graph} graph @param {number} sample */
  findSample(graph, sample) {
    const last = this.#run.n_samples - 1;
    if (!Number.isInteger(sample) || sample < 0 || sample > last) {
      throw new SourceError(`There is no sample ${sample}: they go from 0 to ${last}.`);
    }
    return this.where(graph, [sample]);
  }

  /**
   * The samples of one class that the graph's model takes for another.
   * @param {Graph} graph @param {number} truth @param {number} predicted
   */
  async findConfused(graph, truth, predicted) {
    const { y, prediction } = await this.#columnsOf(graph);
    const samples = [];
    for (let i = 0; i < y.length; i += 1) {
      if (y[i] === truth && prediction[i] === predicted) samples.push(i);
    }
    return this.where(graph, samples);
  }

  /**
   * Purity and accuracy of one layer of a model over its attack levels.
   * @param {string} model @param {Parameters} parameters
   * @param {string} [layer] by default the model's first
   */
  async curve(model, parameters, layer = layersOf(this.#run, model)[0]) {
    const views = levelsOf(this.#run, model, layer);
    const ids = views.map(({ id }) => id);
    return {
      levels: views.map(({ level }) => level),
      views: ids,
      accuracy: views.map(({ accuracy }) => accuracy),
      purity: await this.#source.purities(ids, parameters),
    };
  }

  /**
   * A graph, with the samples of its nodes, as a file.
   * @param {Graph} graph @param {"json" | "graphml"} format
   */
  async graphFile(graph, format) {
    if (format === "graphml") {
      return new Blob([graphAsGraphml(this.#run, graph)], { type: "application/xml" });
    }
    const membership = await this.#membership(graph);
    const text = graphAsJson(this.#run, graph, (node) => [...membership.of(node)]);
    return new Blob([text], { type: "application/json" });
  }

  /**
   * The samples of some nodes as a table.
   * @param {Graph} graph @param {number[]} nodes
   */
  async samplesFile(graph, nodes) {
    const samples = await this.describe(graph, await this.samplesOf(graph, nodes));
    return new Blob([samplesAsCsv(this.#run, samples)], { type: "text/csv" });
  }

  /** @param {Graph} graph */
  async #columnsOf({ parameters: { view } }) {
    const { has_regions: hasRegions } = viewOf(this.#run, view);
    const [y, prediction, confidence, regions] = await Promise.all([
      this.#column("y"),
      this.#column("prediction", view),
      this.#column("confidence", view),
      hasRegions ? this.#column("regions", view) : null,
    ]);
    return { y, prediction, confidence, regions };
  }

  /**
   * @param {Column} name
   * @param {number} [view]
   */
  #column(name, view) {
    return remembered(this.#columns, `${name} ${view}`, async () => {
      const Values = COLUMNS[name] ?? Float64Array;
      return new Values(await this.#source.column(name, view));
    });
  }

  /** @param {Graph} graph */
  #membership(graph) {
    return remembered(this.#memberships, graph, async () => {
      return new Membership(graph.nodes.size, await this.#source.members(graph));
    });
  }
}

/** Which samples lie in which nodes. */
class Membership {
  /** @param {number[]} sizes @param {ArrayBuffer} members */
  constructor(sizes, members) {
    this.members = new Int32Array(members);
    this.offsets = new Int32Array(sizes.length + 1);
    sizes.forEach((size, i) => (this.offsets[i + 1] = this.offsets[i] + size));
  }

  /** @param {number} node */
  of(node) {
    return this.members.subarray(this.offsets[node], this.offsets[node + 1]);
  }
}

/**
 * A value from a cache, computed the first time. Failures are not cached.
 *
 * @template K, V
 * @param {{get: (key: K) => Promise<V> | undefined, set: (key: K, value: Promise<V>) => any,
 *     delete: (key: K) => any}} kept
 * @param {K} key @param {() => Promise<V>} compute
 * @returns {Promise<V>}
 */
function remembered(kept, key, compute) {
  let promise = kept.get(key);
  if (promise === undefined) {
    promise = compute();
    kept.set(key, promise);
    promise.catch(() => kept.delete(key));
  }
  return promise;
}

/** @param {Run} run @param {number} id */
export function viewOf(run, id) {
  const view = run.views.find((each) => each.id === id);
  if (view === undefined) throw new SourceError(`There is no view ${id}.`);
  return view;
}

/**
 * The views of a layer of a model, by attack level.
 * @param {Run} run @param {string} model @param {string} layer
 */
export function levelsOf(run, model, layer) {
  const views = run.views.filter(
    (view) => view.model === model && view.layer === layer,
  );
  return views.sort((a, b) => a.level - b.level);
}

/** The layers of a model, each once. @param {Run} run @param {string} model */
export const layersOf = (run, model) => [
  ...new Set(
    run.views.filter((view) => view.model === model).map(({ layer }) => layer),
  ),
];

/**
 * The upper end of Wilson's interval of 95 % for an accuracy: a node of few samples is
 * weak by chance, and this says how weak it is at least.
 * @param {number} accuracy @param {number} size
 */
export function accuracyAtMost(accuracy, size) {
  const z2 = 1.96 ** 2;
  const half = Math.sqrt(accuracy * (1 - accuracy) * size * z2 + z2 ** 2 / 4);
  return (accuracy * size + z2 / 2 + half) / (size + z2);
}

/**
 * @typedef {{y: ArrayLike<number>, prediction: ArrayLike<number>,
 *     confidence: ArrayLike<number>, regions: ArrayLike<number> | null}} Columns
 * @param {Columns} columns @param {number} i
 * @returns {Sample}
 */
function describe({ y, prediction, confidence, regions }, i) {
  const c = confidence[i];
  return {
    i,
    y: y[i],
    p: prediction[i],
    c: Number.isFinite(c) ? Number(c.toFixed(4)) : null,
    r: regions === null ? null : regions[i],
  };
}

/**
 * Sorting is stable: within equals, samples stay in the order of their number.
 * @param {number[]} samples @param {Order} order @param {Columns} columns
 */
function sortSamples(samples, order, { y, prediction, confidence }) {
  /** @param {number} i */
  const right = (i) => Number(prediction[i] === y[i]);
  // Samples without a confidence come last.
  /** @param {number} i */
  const sure = (i) => (Number.isNaN(confidence[i]) ? 2 : confidence[i]);
  if (order === "wrong") samples.sort((a, b) => right(a) - right(b));
  if (order === "confidence") samples.sort((a, b) => sure(a) - sure(b));
}

/**
 * How many of some samples are of each class; those of none (NaN) do not count.
 * @param {Iterable<number>} samples @param {ArrayLike<number>} classOf
 * @param {number} classes
 * @returns {number[]}
 */
function tally(samples, classOf, classes) {
  const counts = new Array(classes).fill(0);
  for (const i of samples) if (classOf[i] >= 0) counts[classOf[i]] += 1;
  return counts;
}

/**
 * The mean over some samples, without those that are NaN; NaN without any.
 * @param {Iterable<number>} samples @param {ArrayLike<number>} values
 */
function mean(samples, values) {
  let [sum, n] = [0, 0];
  for (const i of samples) {
    if (Number.isNaN(values[i])) continue;
    sum += values[i];
    n += 1;
  }
  return sum / n;
}

/**
 * 1 - H / H(uniform over the labels that samples of the run have); null without samples.
 * @param {number[]} counts @param {number} labels
 */
function purity(counts, labels) {
  const total = counts.reduce((a, b) => a + b, 0);
  if (total === 0) return null;
  if (labels < 2) return 1;
  const entropy = counts
    .filter((n) => n > 0)
    .reduce((sum, n) => sum - (n / total) * Math.log(n / total), 0);
  return 1 - entropy / Math.log(labels);
}
