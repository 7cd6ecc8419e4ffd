/** The nodes in order of accuracy: weak regions first, each one click away. */

import { button, el, select } from "./dom.js";
import { count, fraction, percent, whole } from "./format.js";
import { scaleColour } from "./palette.js";

const ORDERS = {
  accuracy: { text: "Accuracy, lowest first", key: (nodes, i) => nodes.accuracy[i] },
  wrong: {
    text: "Misclassified, most first",
    key: (nodes, i) => -nodes.size[i] * (1 - nodes.accuracy[i]),
  },
  purity: { text: "Purity, lowest first", key: (nodes, i) => nodes.purity[i] },
  size: { text: "Size, largest first", key: (nodes, i) => -nodes.size[i] },
};
const STEP = 100;

export class WeakPanel {
  #order = "accuracy";
  #shown = STEP;

  constructor(session) {
    this.session = session;
    const pairs = Object.entries(ORDERS).map(([name, { text }]) => [name, text]);
    const order = select("Order", "weak-order", pairs, (value) => {
      this.#order = value;
      this.#shown = STEP;
      this.refresh();
    });
    this.list = el("ol", {
      class: "weak-list",
      "aria-label": "Nodes in order",
      "data-testid": "weak",
    });
    this.more = button("Show more", "weak-more", () => {
      this.#shown += STEP;
      this.refresh();
    });
    this.note = el("p", { class: "quiet" });
    this.element = el(
      "div",
      { "data-testid": "panel-weak" },
      el("h2", {}, "Weak regions"),
      this.note,
      order.element,
      this.list,
      this.more,
    );
    for (const pane of Object.values(session.panes)) {
      pane.on("graph", () => pane === session.pane && this.refresh());
      pane.on("selection", () => pane === session.pane && this.#syncSelection());
    }
    session.on("focus", () => this.refresh());
    this.refresh();
  }

  refresh() {
    const { pane } = this.session;
    if (pane.graph === null) return;
    const { nodes } = pane.graph;
    const { key } = ORDERS[this.#order];
    const order = nodes.size.map((_, i) => i);
    order.sort(
      (a, b) => key(nodes, a) - key(nodes, b) || nodes.size[b] - nodes.size[a],
    );
    this.list.replaceChildren(
      ...order.slice(0, this.#shown).map((i) => this.#row(pane, i)),
    );
    this.more.hidden = order.length <= this.#shown;
    const weak = order.filter((i) => nodes.accuracy[i] < pane.graph.accuracy).length;
    this.note.textContent = `${whole(weak)} of ${count(order.length, "node")} lie below the view's accuracy, ${percent(pane.graph.accuracy)}.`;
    this.#syncSelection();
  }

  #row(pane, i) {
    const { id, size, accuracy, purity, name } = pane.describe(i);
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${(100 * accuracy).toFixed(1)}%`;
    bar.style.backgroundColor = scaleColour("accuracy", accuracy);
    const choose = (event) => {
      pane.activate(i);
      pane.select([i], { add: event.shiftKey });
      pane.reveal(i);
    };
    return el(
      "li",
      {},
      el(
        "button",
        {
          type: "button",
          class: "weak-item",
          "data-testid": "weak-item",
          "data-node": i,
          on: { click: choose },
        },
        el("span", { class: "weak-name" }, `Node ${id}`),
        el("span", { class: "visually-hidden" }, "accuracy "),
        el("b", {}, percent(accuracy)),
        el("span", { class: "track" }, bar),
        el(
          "span",
          { class: "quiet" },
          `${count(size, "sample")}, mostly ${name}, purity ${fraction(purity)}`,
        ),
      ),
    );
  }

  #syncSelection() {
    const { selection } = this.session.pane.scene;
    for (const face of this.list.querySelectorAll("button")) {
      face.setAttribute(
        "aria-pressed",
        String(selection.has(Number(face.dataset.node))),
      );
    }
  }
}
