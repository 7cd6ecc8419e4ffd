/**
 * The state of the whole page: the panes, which of them has the focus, whether one or both
 * are shown, and where the samples of one are in the other.
 */

import { count, whole } from "./elements.js";
import { Emitter, Pane } from "./pane.js";

/** Emits "focus", "layout" and "help". */
export class Session extends Emitter {
  /**
   * @param {Object} parts
   * @param {import("./questions.js").Run} parts.run
   * @param {import("./questions.js").Source} parts.source
   * @param {import("./questions.js").Questions} parts.questions
   * @param {import("./preferences.js").Theme} parts.theme
   */
  constructor({ run, source, questions, theme }) {
    super();
    this.run = run;
    this.source = source;
    this.questions = questions;
    this.theme = theme;
    /** @param {"left" | "right"} side */
    const make = (side) => new Pane({ side, run, source, questions, ink: theme.ink });
    this.panes = { left: make("left"), right: make("right") };
    const [first, second] = run.opening;
    this.panes.left.view = first;
    this.two = second !== undefined;
    /** Whether a parameter changed in one pane changes in the other. */
    this.linked = true;
    /** Whether nodes of the right pane are matched with those of the left one. */
    this.matched = false;
    /** @type {"left" | "right"} */
    this.side = "left";
    this.panes.right.view = second ?? opposite(run, this.panes.left);
    for (const pane of Object.values(this.panes)) {
      pane.on("setting", () => this.#link(pane));
      pane.on("pointed", (i) => this.#pointOut(pane, i));
    }
    const { left, right } = this.panes;
    right.beside = () => (this.two && this.matched ? left.graph?.graph : undefined);
    for (const pane of [left, right]) pane.on("graph", () => this.#match());
    theme.addEventListener("change", () => {
      for (const pane of Object.values(this.panes)) pane.paint(theme.ink);
    });
  }

  get pane() {
    return this.panes[this.side];
  }

  get shown() {
    return this.two ? [this.panes.left, this.panes.right] : [this.panes.left];
  }

  /** @param {Pane} pane */
  other(pane) {
    return pane.side === "left" ? this.panes.right : this.panes.left;
  }

  /** @param {"left" | "right"} side */
  focus(side) {
    if (side === this.side) return;
    this.side = side;
    this.emit("focus");
  }

  /** @param {boolean} two */
  showTwo(two) {
    if (two === this.two) return;
    this.two = two;
    if (!two) this.side = "left";
    else {
      if (this.linked) this.#link(this.panes.left);
      const { right } = this.panes;
      if (right.graph === null) right.recompute(0);
      else this.#match();
    }
    this.emit("layout");
    this.emit("focus");
  }

  /** @param {Pane} pane */
  #link(pane) {
    if (!this.two || !this.linked) return;
    const other = this.other(pane);
    if (other.graph === null && !other.computing) {
      Object.assign(other.parameters, pane.parameters);
    } else other.set({ ...pane.parameters });
  }

  /** @param {boolean} matched */
  matchPanes(matched) {
    this.matched = matched;
    this.#match();
    this.emit("layout");
  }

  /** Ask for the right graph again if it is not matched with the left one as it is now. */
  #match() {
    const { right } = this.panes;
    for (const pane of Object.values(this.panes)) pane.scene.partner = -1;
    if (right.graph === null || right.computing) return;
    if (right.beside() !== right.besideAsked) right.recompute(0);
  }

  /**
   * Point out the match of a node in the other pane.
   * @param {Pane} pane @param {number} i
   */
  #pointOut(pane, i) {
    const { left, right } = this.panes;
    const beside = right.beside() === undefined ? undefined : right.graph?.beside;
    if (beside === undefined || beside.graph !== left.graph?.graph) return;
    const [own, others] =
      pane === right
        ? [beside.nodes, beside.other_nodes]
        : [beside.other_nodes, beside.nodes];
    const other = this.other(pane);
    other.scene.partner = others[own.indexOf(i)] ?? -1;
    other.emit("look", "points");
  }

  /** @param {boolean} linked */
  linkPanes(linked) {
    this.linked = linked;
    if (linked) this.#link(this.pane);
    this.emit("layout");
  }
}

/**
 * The initial view of the right pane: the other model at the same level, or the last view.
 * @param {import("./questions.js").Run} run @param {Pane} pane
 */
function opposite(run, pane) {
  const { model, layer, level } = pane.viewInfo;
  const others = run.views.filter(
    (view) => view.model !== model && view.level === level,
  );
  const other = others.find((view) => view.layer === layer) ?? others[0];
  return (other ?? run.views[run.views.length - 1]).id;
}

/**
 * Follows samples: the selection of one pane is marked in the other, the samples of a
 * search or of one image in all visible panes.
 */
export class Follow {
  /** What is followed now; null for a pane's selection. @type {number[] | null} */
  #samples = null;
  #label = "";
  #asked = 0;
  /** The pane whose selection is followed. @type {Pane | null} */
  #from = null;

  /** @param {Session} session @param {(text: string) => void} report */
  constructor(session, report) {
    this.session = session;
    this.report = report;
    for (const pane of Object.values(session.panes)) {
      pane.on("selection", () => this.#selected(pane));
      pane.on("graph", () => this.#refresh());
    }
    session.on("layout", () => this.#refresh());
  }

  /** @param {number[]} samples @param {string} label */
  samples(samples, label) {
    this.#samples = samples;
    this.#label = label;
    return this.#refresh();
  }

  /** @param {Pane} pane */
  #selected(pane) {
    this.#samples = null;
    this.#from = pane;
    pane.mark([], [], "");
    return this.#refresh();
  }

  async #refresh() {
    this.#asked += 1;
    const mine = this.#asked;
    try {
      if (this.#samples === null) await this.#followSelection(mine);
      else {
        for (const pane of this.session.shown) {
          await this.#markIn(pane, mine, this.#samples, this.#label);
        }
      }
    } catch (error) {
      if (!error.superseded) this.report(error.message);
    }
  }

  /** @param {number} mine */
  async #followSelection(mine) {
    const { session } = this;
    const from = this.#from;
    if (!session.two || from === null) return;
    const to = session.other(from);
    const nodes = from.selected;
    if (nodes.length === 0) {
      to.mark([], [], "");
      return;
    }
    const samples = await from.ask((graph) =>
      session.questions.samplesOf(graph, nodes),
    );
    if (mine !== this.#asked) return;
    await this.#markIn(to, mine, samples, `selected ${from.side}`);
  }

  /**
   * @param {Pane} pane @param {number} mine @param {number[]} samples
   * @param {string} label
   */
  async #markIn(pane, mine, samples, label) {
    if (pane.graph === null) return;
    const found = await pane.ask((graph) =>
      this.session.questions.where(graph, samples),
    );
    if (mine !== this.#asked) return;
    pane.mark(found.nodes, found.held, told(found, label));
  }
}

/** @param {import("./questions.js").Found} found @param {string} label */
function told({ samples, nodes, noise }, label) {
  const total = samples.length;
  if (total === 0) return "";
  const within = `${whole(total - noise)} of ${count(total, "sample")} ${label}`;
  const lie = total === 1 ? "lies" : "lie";
  return `${within} ${lie} in ${count(nodes.length, "node")} here; ${whole(noise)} in none.`;
}
