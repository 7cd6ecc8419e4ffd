/** What is selected: how many, of which classes, taken for which, and their images. */

import { button, el, select } from "./dom.js";
import { count, fraction, level, percent, whole } from "./format.js";
import { Gallery } from "./gallery.js";
import { classColour } from "./palette.js";

const SORTS = [
  ["index", "Index"],
  ["wrong", "Misclassified first"],
  ["confidence", "Least confident first"],
];

export class SelectionPanel {
  #asked = 0;
  #sort = "index";
  /** Samples shown by a search instead of the selected nodes. */
  #samples = null;

  constructor(session, { onSample, report }) {
    Object.assign(this, { session, report });
    this.title = el("h2", { "data-testid": "selection-title", "aria-live": "polite" });
    this.summary = el("div", { class: "summary", "data-testid": "selection-summary" });
    this.gallery = new Gallery(session, onSample, report);
    const sort = select("Sort by", "images-sort", SORTS, (value) => {
      this.#sort = value;
      this.#showNodes();
    });
    this.sort = sort.element;
    this.weakest = button(
      "Select the weakest node",
      "select-weakest",
      () => this.#selectWeakest(),
      { kind: "primary" },
    );
    this.empty = el(
      "div",
      { class: "empty-panel" },
      el("p", {}, "Nothing is selected."),
      el(
        "p",
        { class: "quiet" },
        "Click a node to see its samples. Shift-click adds one; draw a box or a lasso for many. With the keyboard: Tab to the graph, arrows, Enter.",
      ),
      this.weakest,
    );
    this.actions = el(
      "div",
      { class: "actions" },
      button("Clear", "selection-clear", () => session.pane.select([])),
      this.sort,
    );
    this.element = el(
      "div",
      { "data-testid": "panel-selection" },
      this.title,
      this.empty,
      this.actions,
      this.summary,
      this.gallery.element,
    );
    for (const pane of Object.values(session.panes)) {
      pane.on("selection", () => {
        if (pane === session.pane) this.refresh();
      });
      pane.on("graph", () => {
        if (pane !== session.pane) return;
        if (this.#samples === null) this.#showNodes();
        else this.showSamples(this.#samples.samples, this.#samples.label);
      });
    }
    session.on("focus", () => this.refresh());
    session.theme.on("change", () => this.refresh());
    this.refresh();
  }

  /** Show samples that were searched for, whatever nodes they lie in. */
  showSamples(samples, label) {
    this.#samples = { samples, label };
    this.#render();
    const { pane, transport } = this.session;
    return this.gallery.show({
      pane,
      page: async (offset, limit) => ({
        total: samples.length,
        samples: await pane.ask((key) =>
          transport.samples(key, samples.slice(offset, offset + limit)),
        ),
      }),
    });
  }

  refresh() {
    this.#samples = null;
    return this.#showNodes();
  }

  #showNodes() {
    this.#render();
    const { pane, transport } = this.session;
    const nodes = pane.selected;
    this.#asked += 1;
    if (nodes.length === 0) {
      this.summary.replaceChildren();
      this.gallery.clear();
      return null;
    }
    const mine = this.#asked;
    const sort = this.#sort;
    return this.gallery.show({
      pane,
      page: async (offset, limit) => {
        const answer = await pane.ask((key) =>
          transport.members(key, nodes, { offset, limit, sort }),
        );
        if (mine === this.#asked) this.#summarise(answer, nodes);
        return answer;
      },
    });
  }

  #render() {
    const { pane, two } = this.session;
    const nodes = pane.selected;
    const searched = this.#samples !== null;
    const place = two ? `${pane.side === "left" ? "Left" : "Right"} · ` : "";
    const of = `${place}${pane.viewInfo.model} · eps ${level(pane.viewInfo.level)}`;
    const what = searched ? this.#samples.label : count(nodes.length, "node");
    this.title.textContent = nodes.length === 0 && !searched ? of : `${what} · ${of}`;
    this.weakest.disabled = pane.scene.length === 0;
    this.empty.hidden = nodes.length > 0 || searched;
    this.actions.hidden = !this.empty.hidden;
    this.sort.hidden = searched;
    if (searched) this.summary.replaceChildren();
  }

  #summarise(
    { total, wrong, purity, accuracy, counts, predicted_counts: predicted },
    nodes,
  ) {
    const facts = [
      ["Samples", whole(total)],
      ["Misclassified", whole(wrong)],
      ["Accuracy", percent(accuracy)],
      ["Purity", fraction(purity)],
    ];
    const ids = nodes.map((i) => this.session.pane.graph.nodes.id[i]);
    const shown = ids.slice(0, 12).join(", ") + (ids.length > 12 ? " …" : "");
    this.summary.replaceChildren(
      el(
        "dl",
        { class: "facts-row" },
        ...facts.map(([name, value]) =>
          el("div", {}, el("dt", {}, name), el("dd", {}, value)),
        ),
      ),
      el("p", { class: "quiet" }, `${ids.length === 1 ? "Node" : "Nodes"} ${shown}`),
      this.#classTable(counts, predicted),
    );
  }

  /** Per class, how many are of it and how many are taken for it. */
  #classTable(counts, predicted) {
    const most = Math.max(1, ...counts, ...predicted);
    const names = this.session.run.class_names;
    const rows = names
      .map((name, k) => [name, k])
      .filter(([, k]) => counts[k] + predicted[k] > 0);
    return el(
      "table",
      {
        class: "classes",
        "aria-label": "Samples of each class",
        "data-testid": "class-table",
      },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          ...["Class", "True", "Predicted"].map((text) =>
            el("th", { scope: "col" }, text),
          ),
        ),
      ),
      el(
        "tbody",
        {},
        ...rows.map(([name, k]) =>
          el(
            "tr",
            {},
            el(
              "th",
              { scope: "row" },
              this.#swatch(k),
              el("span", { class: "name" }, name),
            ),
            this.#bar(counts[k] / most, counts[k], k),
            this.#bar(predicted[k] / most, predicted[k], k),
          ),
        ),
      ),
    );
  }

  #swatch(k) {
    const swatch = el("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.backgroundColor = classColour(k, this.session.theme.dark);
    return swatch;
  }

  #bar(share, value, k) {
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${(100 * share).toFixed(1)}%`;
    bar.style.backgroundColor = classColour(k, this.session.theme.dark);
    return el(
      "td",
      {},
      el(
        "span",
        { class: "bar-cell" },
        el("span", { class: "track" }, bar),
        el("span", {}, whole(value)),
      ),
    );
  }

  #selectWeakest() {
    const { pane } = this.session;
    const { accuracy } = pane.graph.nodes;
    const weakest = accuracy.indexOf(Math.min(...accuracy));
    pane.select([weakest]);
    pane.reveal(weakest);
  }
}
