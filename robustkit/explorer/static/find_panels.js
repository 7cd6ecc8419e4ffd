/**
 * Two ways to find nodes: by one sample, or all of one class that are taken for another;
 * and by their accuracy, weak regions first.
 */

import { button, count, el, fraction, percent, select, whole } from "./elements.js";
import { scaleColour } from "./paint.js";
import { accuracyAtMost } from "./questions.js";

/**
 * @import { Pane } from "./pane.js"
 * @import { Found, Graph, Nodes } from "./questions.js"
 * @import { Session } from "./session.js"
 */

/** Find one sample by its number, or all of one class that are taken for another. */
export class SearchPanel {
  #asked = 0;
  /** Ask the last question again, of another graph. @type {(() => void) | null} */
  #again = null;

  /**
   * @param {Session} session
   * @param {Record<"found" | "images", (samples: number[], label: string) => void>} actions
   */
  constructor(session, actions) {
    this.session = session;
    this.actions = actions;
    this.result = el("div", { role: "status", "data-testid": "search-result" });
    this.nodes = el("ul", {
      class: "found",
      "aria-label": "Nodes that contain what was found",
      "data-testid": "search-nodes",
    });
    this.element = el(
      "div",
      { "data-testid": "panel-search" },
      el("h2", {}, "Search"),
      this.#sampleForm(),
      this.#confusionForm(),
      this.result,
      this.nodes,
    );
    session.on("focus", () => this.#clear());
    for (const pane of Object.values(session.panes)) {
      pane.on("graph", () => pane === session.pane && this.#again?.());
      // A manual selection replaces the search as what is followed.
      pane.on("selection", () => (this.#again = null));
    }
  }

  #clear() {
    this.#again = null;
    this.result.replaceChildren();
    this.nodes.replaceChildren();
  }

  #sampleForm() {
    const number = el("input", {
      id: "search-sample",
      type: "number",
      min: 0,
      max: this.session.run.n_samples - 1,
      step: 1,
      required: true,
      inputmode: "numeric",
      "data-testid": "search-sample",
    });
    const find = () =>
      this.#find(`sample ${number.value}`, (graph) =>
        this.session.questions.findSample(graph, number.valueAsNumber),
      );
    return form(
      "search-sample-form",
      find,
      el(
        "label",
        { class: "field" },
        el("span", {}, `Sample (0 to ${whole(this.session.run.n_samples - 1)})`),
        number,
      ),
      submit("Find sample", "search-sample-find"),
    );
  }

  #confusionForm() {
    const names = this.session.run.class_names;
    const pairs = names.map((name, k) => [k, name]);
    const truth = select("True class", "search-true", pairs, () => {});
    const predicted = select("Predicted as", "search-predicted", pairs, () => {});
    if (names.length > 1) predicted.choice.value = "1";
    const find = () => {
      const [a, b] = [Number(truth.choice.value), Number(predicted.choice.value)];
      return this.#find(`${names[a]} predicted as ${names[b]}`, (graph) =>
        this.session.questions.findConfused(graph, a, b),
      );
    };
    return form(
      "search-confusion-form",
      find,
      truth.element,
      predicted.element,
      submit("Find samples", "search-confusion-find"),
    );
  }

  /** @param {string} label @param {(graph: Graph) => Promise<Found>} question */
  async #find(label, question) {
    this.#asked += 1;
    const mine = this.#asked;
    const { pane } = this.session;
    this.#again = () => this.#find(label, question);
    try {
      const answer = await pane.ask(question);
      if (mine === this.#asked) this.#show(pane, label, answer);
    } catch (error) {
      if (mine !== this.#asked || error.superseded) return;
      this.#clear();
      this.result.append(el("p", { class: "failure" }, error.message));
    }
  }

  /** @param {Pane} pane @param {string} label @param {Found} found */
  #show(pane, label, { samples, nodes, held, noise }) {
    const total = samples.length;
    const text =
      total === 0
        ? `No sample: ${label}.`
        : `${count(total, "sample")} (${label}), in ${count(nodes.length, "node")}; ${whole(noise)} in none.`;
    this.result.replaceChildren(el("p", {}, text));
    if (total > 0) {
      const selectAll = button("Select these nodes", "search-select", () =>
        pane.select(nodes),
      );
      selectAll.disabled = nodes.length === 0;
      this.result.append(
        el(
          "div",
          { class: "actions" },
          button(
            "Show the images",
            "search-images",
            () => this.actions.images(samples, label),
            { kind: "primary" },
          ),
          selectAll,
        ),
      );
    }
    const order = nodes
      .map((_, k) => k)
      .sort((a, b) => held[b] - held[a])
      .slice(0, 200);
    this.nodes.replaceChildren(
      ...order.map((k) =>
        el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              "data-testid": "search-node",
              on: {
                click: () => {
                  pane.select([nodes[k]]);
                  pane.reveal(nodes[k]);
                },
              },
            },
            el("span", {}, `Node ${pane.scene.nodes.id[nodes[k]]}`),
            el(
              "span",
              { class: "quiet" },
              `${whole(held[k])} of ${count(pane.scene.nodes.size[nodes[k]], "sample")}`,
            ),
          ),
        ),
      ),
    );
    this.actions.found(samples, `(${label})`);
  }
}

/**
 * @param {string} testid @param {() => void} onSubmit @param {...HTMLElement} children
 */
function form(testid, onSubmit, ...children) {
  return el(
    "form",
    {
      class: "search-form",
      "data-testid": testid,
      on: {
        submit: (/** @type {Event} */ event) => {
          event.preventDefault();
          onSubmit();
        },
      },
    },
    ...children,
  );
}

/** @param {string} text @param {string} testid */
const submit = (text, testid) =>
  el("button", { type: "submit", class: "primary", "data-testid": testid }, text);

/**
 * How nodes are ordered: the smallest key comes first.
 * @type {Record<string, {text: string, key: (nodes: Nodes, i: number) => number}>}
 */
const ORDERS = {
  weakest: {
    text: "Weakest first (upper bound of accuracy)",
    key: (nodes, i) => accuracyAtMost(nodes.accuracy[i], nodes.size[i]),
  },
  accuracy: { text: "Accuracy, lowest first", key: (nodes, i) => nodes.accuracy[i] },
  wrong: {
    text: "Misclassified, most first",
    key: (nodes, i) => -nodes.size[i] * (1 - nodes.accuracy[i]),
  },
  purity: { text: "Purity, lowest first", key: (nodes, i) => nodes.purity[i] },
  stability: {
    text: "Stability, lowest first",
    key: (nodes, i) => nodes.stability?.[i] ?? 1,
  },
  size: { text: "Size, largest first", key: (nodes, i) => -nodes.size[i] },
};
const STEP = 100;

/** The nodes in order: weak regions first, each one click away. */
export class WeakPanel {
  #order = "weakest";
  #shown = STEP;

  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    const pairs = Object.entries(ORDERS)
      .filter(([name]) => name !== "stability" || session.run.has_stability)
      .map(([name, { text }]) => [name, text]);
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
    const { nodes, accuracy } = pane.graph;
    const { key } = ORDERS[this.#order];
    const order = nodes.size.map((_, i) => i);
    order.sort(
      (a, b) => key(nodes, a) - key(nodes, b) || nodes.size[b] - nodes.size[a],
    );
    this.list.replaceChildren(
      ...order.slice(0, this.#shown).map((i) => this.#row(pane, i)),
    );
    this.more.hidden = order.length <= this.#shown;
    const weak = order.filter((i) => ORDERS.weakest.key(nodes, i) < accuracy).length;
    this.note.textContent = `${whole(weak)} of ${count(order.length, "node")} are significantly less accurate than the view (accuracy ${percent(accuracy)}): their 95 % interval ends below it.`;
    this.#syncSelection();
  }

  /** @param {Pane} pane @param {number} i */
  #row(pane, i) {
    const { id, size, accuracy, purity, name } = pane.describe(i);
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${(100 * accuracy).toFixed(1)}%`;
    bar.style.backgroundColor = scaleColour("accuracy", accuracy);
    /** @param {MouseEvent} event */
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
          `${count(size, "sample")}, mostly ${name}, purity ${fraction(purity)}, accuracy at most ${percent(accuracyAtMost(accuracy, size))} (95 % interval)`,
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
