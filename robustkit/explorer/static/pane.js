/**
 * One pane: which view of which model it shows, with which parameters, the graph
 * that came of it, and what is selected. It knows nothing of the page's elements.
 */

import { layersOf, levelsOf, viewOf } from "./questions.js";
import { level } from "./elements.js";
import { Motion, Scene } from "./scene.js";

/**
 * @import { Graph, Parameters } from "./questions.js"
 */

/** Notifies listeners of events. */
export class Emitter {
  /** @type {Map<string, ((detail?: any) => void)[]>} */
  #listeners = new Map();

  /**
   * Call `listener` at every `event` from now on.
   * @param {string} event @param {(detail?: any) => void} listener
   */
  on(event, listener) {
    const before = this.#listeners.get(event) ?? [];
    this.#listeners.set(event, [...before, listener]);
  }

  /**
   * @param {string} event
   * @param {any} [detail]
   */
  emit(event, detail) {
    for (const listener of this.#listeners.get(event) ?? []) listener(detail);
  }
}

// Milliseconds that a slider must rest before its value is used.
const PATIENCE = 120;

/** @type {(keyof Parameters)[]} */
export const PARAMETERS = [
  "filter",
  "cover",
  "n_intervals",
  "overlap",
  "eps",
  "min_samples",
  "second_filter",
  "second_intervals",
];

/** In the place of a second filter where there is one alone. */
export const NO_FILTER = "none";

/**
 * The state in a link, until the first graph has arrived.
 *
 * @typedef {Object} Wanted
 * @property {number[]} selection
 * @property {number[] | null} camera
 * @property {[number, number[]][]} moved
 * @property {{x: number[], y: number[]} | null} places
 */

/**
 * Emits "setting", "computing", "graph", "failure", "selection", "active", "marks",
 * "noise" (what lies in no node is asked for), "pointed" (at a node) and "look".
 */
export class Pane extends Emitter {
  #source;
  #motion = new Motion();
  #timer = 0;
  #newest = 0;
  #colouring = "labels";

  /**
   * @param {Object} options
   * @param {"left" | "right"} options.side
   * @param {import("./questions.js").Run} options.run
   * @param {import("./questions.js").Source} options.source
   * @param {import("./questions.js").Questions} options.questions
   * @param {import("./preferences.js").Ink} options.ink
   */
  constructor({ side, run, source, questions, ink }) {
    super();
    this.side = side;
    this.run = run;
    this.#source = source;
    this.questions = questions;
    this.scene = new Scene(ink, run);
    this.view = run.views[0].id;
    this.parameters = { ...run.defaults };
    this.computing = false;
    /** @type {string | null} */
    this.failure = null;
    /** @type {Wanted | undefined} */
    this.wanted = undefined;
    /** Resolves when the graph of the present settings is there. */
    this.finished = Promise.resolve();
    /** Where the samples lie that are followed, in words. */
    this.told = "";
    /** Until the reader pans or zooms, every new graph is shown whole. */
    this.fitted = true;
    /**
     * The graph of the other pane with whose nodes those of this one are matched.
     * @type {() => string | undefined}
     */
    this.beside = () => undefined;
    /** What this was when the graph was asked for. @type {string | undefined} */
    this.besideAsked = undefined;
    /** Whether the graph's places come from those of a graph before it. */
    this.inherited = false;
  }

  get graph() {
    return this.scene.graph;
  }

  get viewInfo() {
    return viewOf(this.run, this.view);
  }

  /** What it shows, in words. */
  get title() {
    const { model, layer, level: eps } = this.viewInfo;
    const parts = this.layers.length > 1 ? [model, layer] : [model];
    return [...parts, `eps ${level(eps)}`].join(" · ");
  }

  /** The views of this pane's layer, by level. */
  get levels() {
    const { model, layer } = this.viewInfo;
    return levelsOf(this.run, model, layer);
  }

  /** The layers of this pane's model. */
  get layers() {
    return layersOf(this.run, this.viewInfo.model);
  }

  /** @param {number} id */
  showView(id) {
    if (id === this.view) return;
    this.view = id;
    this.emit("setting");
    this.recompute();
  }

  /** The other model, of this layer if it has it. @param {string} model */
  showModel(model) {
    const { layer } = this.viewInfo;
    const layers = layersOf(this.run, model);
    this.showLayer(layers.includes(layer) ? layer : layers[0], model);
  }

  /**
   * Another layer, at the level nearest to the present one.
   * @param {string} layer
   */
  showLayer(layer, model = this.viewInfo.model) {
    const eps = this.viewInfo.level;
    const views = levelsOf(this.run, model, layer);
    views.sort((a, b) => Math.abs(a.level - eps) - Math.abs(b.level - eps));
    if (views.length > 0) this.showView(views[0].id);
  }

  /** @param {Partial<Parameters>} values */
  set(values) {
    const next = { ...this.parameters, ...values };
    if (PARAMETERS.every((name) => next[name] === this.parameters[name])) return;
    Object.assign(this.parameters, values);
    this.emit("setting");
    this.recompute();
  }

  /** Request the graph of the current settings, once they no longer change. */
  recompute(patience = PATIENCE) {
    clearTimeout(this.#timer);
    this.#newest += 1;
    const mine = this.#newest;
    this.computing = true;
    this.emit("computing");
    this.finished = new Promise((resolve) => {
      this.#timer = setTimeout(() => this.#compute(mine).then(resolve), patience);
    });
    return this.finished;
  }

  /** @param {number} mine */
  async #compute(mine) {
    const places = this.graph === null ? this.wanted?.places : null;
    const beside = this.beside();
    this.besideAsked = beside;
    const asked = {
      view: this.view,
      ...this.parameters,
      ...places,
      ...(beside === undefined ? {} : { beside }),
    };
    try {
      const graph = await this.#source.graph(this.side, asked);
      if (mine !== this.#newest) return;
      let colouring, own;
      do {
        colouring = this.#colouring;
        own = await this.questions.ofNodes(graph, colouring);
        if (mine !== this.#newest) return;
        // Meanwhile the reader may have chosen other colours.
      } while (colouring !== this.#colouring);
      this.computing = false;
      this.failure = null;
      this.#accept(graph, own);
    } catch (error) {
      if (mine !== this.#newest || error.superseded) return;
      this.computing = false;
      this.failure = error.message;
      this.emit("failure");
    }
  }

  /** @param {Graph} graph @param {import("./questions.js").OfNodes | null} own */
  #accept(graph, own) {
    const { scene } = this;
    const before = new Map();
    scene.graph?.nodes.id.forEach((id, i) =>
      before.set(id, [scene.xs[i], scene.ys[i]]),
    );
    const first = scene.graph === null;
    this.inherited = !first || Boolean(this.wanted?.places);
    scene.colouring = this.#colouring;
    scene.accept(graph, own);
    if (first) this.#restore();
    if (this.fitted) scene.fit();
    this.#motion.glide(scene, before, (how) => this.emit("look", how));
    this.emit("graph");
    if (first && scene.selection.size > 0) this.emit("selection");
  }

  /** Restore the state of a link, once the first graph has arrived. */
  #restore() {
    const { scene, wanted } = this;
    if (wanted === undefined) return;
    this.wanted = undefined;
    const { id } = scene.nodes;
    const moved = wanted.moved.filter(([i]) => i in id);
    scene.moved = new Map(moved.map(([i, place]) => [id[i], place]));
    scene.selection = new Set(
      wanted.selection.filter((i) => i >= 0 && i < scene.length),
    );
    if (wanted.camera !== null) {
      scene.fit();
      const [x, y, scale, stretch, fitScale] = wanted.camera;
      const { width } = scene.camera;
      const lengths = { scale: scale * width, fitScale: fitScale * width };
      Object.assign(scene.camera, { x, y, stretch, ...lengths });
      this.fitted = false;
    }
  }

  get #present() {
    if (this.graph === null) throw new Error("There is no graph yet.");
    return this.graph;
  }

  /**
   * Ask a question about the current graph; if the server no longer has it, it is
   * computed again first.
   *
   * @template T
   * @param {(graph: Graph) => Promise<T>} question
   */
  async ask(question) {
    if (this.graph === null) await this.finished;
    try {
      return await question(this.#present);
    } catch (error) {
      if (error.status !== 404) throw error;
      await this.recompute(0);
      return question(this.#present);
    }
  }

  /** @param {number[]} nodes @param {{add?: boolean}} how */
  select(nodes, { add = false } = {}) {
    const { scene } = this;
    const before = add ? [...scene.selection] : [];
    const taken = add && nodes.length === 1 && scene.selection.has(nodes[0]);
    scene.selection = new Set(
      taken ? before.filter((i) => i !== nodes[0]) : [...before, ...nodes],
    );
    this.emit("selection");
    this.emit("look");
  }

  /** The selected nodes' indices, in order. */
  get selected() {
    return [...this.scene.selection].sort((a, b) => a - b);
  }

  /** A node is pointed at; -1 for none. @param {number} i */
  point(i) {
    this.emit("pointed", i);
  }

  /** @param {number} i */
  activate(i) {
    this.scene.active = i;
    this.emit("active");
    this.point(i);
    this.emit("look");
  }

  /**
   * Show which nodes hold the followed samples; `told` says it in words.
   * @param {number[]} nodes @param {number[]} held @param {string} told
   */
  mark(nodes, held, told) {
    this.scene.marks = new Map(nodes.map((node, k) => [node, held[k]]));
    this.told = told;
    this.emit("marks");
    this.emit("look");
  }

  /** What the nodes are coloured by. */
  get colouring() {
    return this.#colouring;
  }

  set colouring(name) {
    this.#colouring = name;
    this.scene.colouring = name;
  }

  /** @param {string} colouring */
  async colourBy(colouring) {
    this.#colouring = colouring;
    const { graph, scene } = this;
    if (graph !== null) {
      const own = await this.ask((now) => this.questions.ofNodes(now, colouring));
      if (this.#colouring !== colouring) return;
      // Meanwhile there may be another graph, which came with its colours.
      if (this.graph === graph) scene.colourBy(colouring, own);
    }
    // Only the legend of the categories can undo the highlighting.
    scene.emphasis = null;
    this.emit("setting");
    this.emit("look");
  }

  /** @param {number} index */
  emphasise(index) {
    this.scene.emphasis = this.scene.emphasis === index ? null : index;
    this.emit("setting");
    this.emit("look");
  }

  /** @param {import("./preferences.js").Ink} ink */
  paint(ink) {
    this.scene.ink = ink;
    this.emit("setting");
    this.emit("look");
  }

  fit() {
    this.fitted = true;
    this.scene.fit();
    this.emit("look");
  }

  /** @param {number} dx @param {number} dy */
  pan(dx, dy) {
    this.fitted = false;
    this.scene.camera.pan(dx, dy);
    this.emit("look", "moving");
  }

  /** @param {number} factor @param {number | null} x @param {number | null} y */
  zoom(factor, x = null, y = null) {
    const { camera } = this.scene;
    this.fitted = false;
    camera.zoomAt(factor, x ?? camera.width / 2, y ?? camera.height / 2);
    this.emit("look", "moving");
  }

  /** @param {number} i @param {number} x @param {number} y */
  dragNode(i, x, y) {
    const [wx, wy] = this.scene.camera.toWorld(x, y);
    this.#motion.settle(this.scene);
    this.scene.drag(i, wx, wy);
    this.emit("look", "moving");
  }

  /** Undo all dragging. */
  putBack() {
    const { scene } = this;
    if (this.graph === null) return;
    const before = new Map(
      scene.nodes.id.map((id, i) => [id, [scene.xs[i], scene.ys[i]]]),
    );
    scene.moved = new Map();
    this.#motion.glide(scene, before, (how) => this.emit("look", how));
  }

  /** Bring a node into sight, without a change of scale. @param {number} i */
  reveal(i) {
    const { camera, xs, ys } = this.scene;
    const [x, y] = camera.toScreen(xs[i], ys[i]);
    const margin = 20;
    // Not below the tools or the legend, either.
    const seen =
      x > margin &&
      y > margin &&
      x < camera.width - camera.covered.right - margin &&
      y < camera.height - camera.covered.bottom - margin;
    if (!seen) {
      this.fitted = false;
      Object.assign(camera, { x: xs[i], y: ys[i] });
    }
    this.emit("look");
  }

  /** One node in words, for lists, hints and screen readers. @param {number} i */
  describe(i) {
    const { nodes } = this.scene;
    const name = this.run.class_names[this.scene.majority(i)];
    return {
      id: nodes.id[i],
      size: nodes.size[i],
      accuracy: nodes.accuracy[i],
      purity: nodes.purity[i],
      stability: nodes.stability?.[i],
      name,
    };
  }
}
