/**
 * What belongs to the whole page: the panes, which of them has the focus, whether
 * one or both are shown. Tells of "focus" and "layout".
 */

import { Emitter } from "./emitter.js";
import { Pane } from "./pane.js";

export class Session extends Emitter {
  constructor({ run, transport, theme }) {
    super();
    Object.assign(this, { run, transport, theme });
    const make = (side) => new Pane({ side, run, transport, ink: theme.ink });
    this.panes = { left: make("left"), right: make("right") };
    this.two = false;
    /** Whether a parameter changed in one pane changes in the other. */
    this.linked = true;
    this.side = "left";
    this.panes.right.view = opposite(run, this.panes.left);
    for (const pane of Object.values(this.panes)) {
      pane.on("setting", () => this.#link(pane));
    }
    theme.on("change", () => {
      for (const pane of Object.values(this.panes)) pane.paint(theme.ink);
    });
  }

  get pane() {
    return this.panes[this.side];
  }

  get shown() {
    return this.two ? [this.panes.left, this.panes.right] : [this.panes.left];
  }

  other(pane) {
    return pane.side === "left" ? this.panes.right : this.panes.left;
  }

  focus(side) {
    if (side === this.side) return;
    this.side = side;
    this.emit("focus");
  }

  showTwo(two) {
    if (two === this.two) return;
    this.two = two;
    if (!two) this.side = "left";
    else {
      if (this.linked) this.#link(this.panes.left);
      const { right } = this.panes;
      if (right.graph === null) right.recompute(0);
    }
    this.emit("layout");
    this.emit("focus");
  }

  #link(pane) {
    if (!this.two || !this.linked) return;
    const other = this.other(pane);
    if (other.graph === null && !other.computing)
      Object.assign(other.parameters, pane.parameters);
    else other.set({ ...pane.parameters });
  }

  linkPanes(linked) {
    this.linked = linked;
    if (linked) this.#link(this.pane);
    this.emit("layout");
  }
}

/** What is worth seeing beside a view: the other model at its level, or the last level. */
function opposite(run, pane) {
  const { model, level } = pane.viewInfo;
  const other = run.views.find((view) => view.model !== model && view.level === level);
  return (other ?? run.views[run.views.length - 1]).id;
}
