/**
 * One pane: which view of which model it shows, with which parameters, the graph
 * that came of it, and what is selected. It knows nothing of the page's elements;
 * it tells of "setting", "computing", "graph", "failure", "selection", "active",
 * "marks" and "look".
 */

import { Emitter } from "./emitter.js";
import { Motion } from "./motion.js";
import { Scene } from "./scene.js";

// A slider on its way sends many values; only where it rests for this long counts.
const PATIENCE = 120;

export const PARAMETERS = [
  "filter",
  "cover",
  "n_intervals",
  "overlap",
  "eps",
  "min_samples",
];

export class Pane extends Emitter {
  #transport;
  #motion = new Motion();
  #timer = 0;
  #newest = 0;

  /** @param {{side: string, run: Object, transport: Object, ink: Object}} options */
  constructor({ side, run, transport, ink }) {
    super();
    this.side = side;
    this.run = run;
    this.#transport = transport;
    this.scene = new Scene(ink);
    this.scene.classNames = run.class_names;
    this.view = run.views[0].id;
    this.parameters = Object.fromEntries(
      PARAMETERS.map((name) => [name, run.defaults[name]]),
    );
    this.computing = false;
    this.failure = null;
    /** Until the reader pans or zooms, every new graph is shown whole. */
    this.fitted = true;
    /** Whether the graph's places come from those of a graph before it. */
    this.inherited = false;
  }

  get graph() {
    return this.scene.graph;
  }

  get viewInfo() {
    return this.run.views.find((view) => view.id === this.view);
  }

  /** The views of this pane's model, by level. */
  get levels() {
    const views = this.run.views.filter((view) => view.model === this.viewInfo.model);
    return views.sort((a, b) => a.level - b.level);
  }

  showView(id) {
    if (id === this.view) return;
    this.view = id;
    this.emit("setting");
    this.recompute();
  }

  /** The other model at the level nearest to the present one. */
  showModel(model) {
    const level = this.viewInfo.level;
    const views = this.run.views.filter((view) => view.model === model);
    views.sort((a, b) => Math.abs(a.level - level) - Math.abs(b.level - level));
    if (views.length > 0) this.showView(views[0].id);
  }

  set(values) {
    const changed = Object.entries(values).some(
      ([name, v]) => this.parameters[name] !== v,
    );
    if (!changed) return;
    Object.assign(this.parameters, values);
    this.emit("setting");
    this.recompute();
  }

  /** Ask for the graph of the present settings, once they have come to rest. */
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

  async #compute(mine) {
    const places = this.graph === null ? this.wanted?.places : null;
    const asked = { view: this.view, ...this.parameters, ...places };
    try {
      const graph = await this.#transport.graph(this.side, asked);
      if (mine !== this.#newest) return;
      this.computing = false;
      this.failure = null;
      this.#accept(graph);
    } catch (error) {
      if (mine !== this.#newest || error.superseded) return;
      this.computing = false;
      this.failure = error.message;
      this.emit("failure");
    }
  }

  #accept(graph) {
    const { scene } = this;
    const before = new Map();
    scene.graph?.nodes.id.forEach((id, i) =>
      before.set(id, [scene.xs[i], scene.ys[i]]),
    );
    const first = scene.graph === null;
    this.inherited = !first || Boolean(this.wanted?.places);
    scene.accept(graph);
    if (first) this.#restore();
    if (this.fitted) scene.fit();
    this.#motion.glide(scene, before, (how) => this.emit("look", how));
    this.emit("graph");
    if (first && scene.selection.size > 0) this.emit("selection");
  }

  /** What a link asks for can be given only when the first graph is there. */
  #restore() {
    const { scene, wanted } = this;
    if (wanted === undefined) return;
    delete this.wanted;
    const { id } = scene.graph.nodes;
    scene.moved = wanted.moved
      .filter(([i]) => i in id)
      .map(([i, place]) => [id[i], place]);
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

  /**
   * Ask something of the present graph; one that the server has let go of is
   * computed again first.
   *
   * @param {(key: string) => Promise} question
   */
  async ask(question) {
    if (this.graph === null) await this.finished;
    try {
      return await question(this.graph.graph);
    } catch (error) {
      if (error.status !== 404) throw error;
      await this.recompute(0);
      return question(this.graph.graph);
    }
  }

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

  activate(i) {
    this.scene.active = i;
    this.emit("active");
    this.emit("look");
  }

  /** Show which nodes hold the followed samples; `told` says it in words. */
  mark(nodes, held, told) {
    this.scene.marks = new Map(nodes.map((node, k) => [node, held[k]]));
    this.told = told;
    this.emit("marks");
    this.emit("look");
  }

  colourBy(colouring) {
    this.scene.colouring = colouring;
    // Only the legend of classes can take the pointing-out back.
    this.scene.emphasis = null;
    this.emit("setting");
    this.emit("look");
  }

  emphasise(index) {
    this.scene.emphasis = this.scene.emphasis === index ? null : index;
    this.emit("setting");
    this.emit("look");
  }

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

  pan(dx, dy) {
    this.fitted = false;
    this.scene.camera.pan(dx, dy);
    this.emit("look", "moving");
  }

  zoom(factor, x = null, y = null) {
    const { camera } = this.scene;
    this.fitted = false;
    camera.zoomAt(factor, x ?? camera.width / 2, y ?? camera.height / 2);
    this.emit("look", "moving");
  }

  dragNode(i, x, y) {
    const [wx, wy] = this.scene.camera.toWorld(x, y);
    this.#motion.settle(this.scene);
    this.scene.drag(i, wx, wy);
    this.emit("look", "moving");
  }

  /** Undo what was dragged. */
  putBack() {
    const { scene } = this;
    if (this.graph === null) return;
    const before = new Map(
      scene.graph.nodes.id.map((id, i) => [id, [scene.xs[i], scene.ys[i]]]),
    );
    scene.moved = [];
    this.#motion.glide(scene, before, (how) => this.emit("look", how));
  }

  /** Bring a node into sight, without a change of scale. */
  reveal(i) {
    const { camera, xs, ys } = this.scene;
    const [x, y] = camera.toScreen(xs[i], ys[i]);
    const margin = 20;
    const seen =
      x > margin &&
      y > margin &&
      x < camera.width - margin &&
      y < camera.height - margin;
    if (!seen) {
      this.fitted = false;
      Object.assign(camera, { x: xs[i], y: ys[i] });
    }
    this.emit("look");
  }

  /** One node in words, for lists, hints and screen readers. */
  describe(i) {
    const { nodes } = this.graph;
    const name = this.run.class_names[this.scene.majority(i)];
    return {
      id: nodes.id[i],
      size: nodes.size[i],
      accuracy: nodes.accuracy[i],
      purity: nodes.purity[i],
      name,
    };
  }
}
