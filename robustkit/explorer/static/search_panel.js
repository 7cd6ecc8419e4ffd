/** Find one sample by its number, or all of one class that are taken for another. */

import { button, el, select } from "./dom.js";
import { count, whole } from "./format.js";

export class SearchPanel {
  #asked = 0;

  /** @param {{found: (samples: number[], label: string) => void}} actions */
  constructor(session, actions) {
    Object.assign(this, { session, actions });
    this.result = el("div", { role: "status", "data-testid": "search-result" });
    this.nodes = el("ul", {
      class: "found",
      "aria-label": "Nodes that hold what was found",
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
      // What is selected by hand takes the search's place as what is followed.
      pane.on("selection", () => (this.#again = null));
    }
  }

  #again = null;

  #clear() {
    this.#again = null;
    this.result.replaceChildren();
    this.nodes.replaceChildren();
  }

  #sampleForm() {
    const number = el("input", {
      type: "number",
      min: 0,
      max: this.session.run.n_samples - 1,
      step: 1,
      required: true,
      inputmode: "numeric",
      "data-testid": "search-sample",
    });
    const find = () =>
      this.#find(`sample ${number.value}`, (key) =>
        this.session.transport.searchSample(key, number.valueAsNumber),
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
      return this.#find(`${names[a]} predicted as ${names[b]}`, (key) =>
        this.session.transport.searchConfusion(key, a, b),
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

  #show(pane, label, { total, samples, nodes, held, noise }) {
    const cut =
      samples.length < total ? ` (the first ${whole(samples.length)} are shown)` : "";
    const text =
      total === 0
        ? `No sample: ${label}.`
        : `${count(total, "sample")} (${label}), in ${count(nodes.length, "node")}; ${whole(noise)} in none${cut}.`;
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
            el("span", {}, `Node ${pane.graph.nodes.id[nodes[k]]}`),
            el(
              "span",
              { class: "quiet" },
              `${whole(held[k])} of ${count(pane.graph.nodes.size[nodes[k]], "sample")}`,
            ),
          ),
        ),
      ),
    );
    this.actions.found(samples, `(${label})`);
  }
}

function form(testid, onSubmit, ...children) {
  return el(
    "form",
    {
      class: "search-form",
      "data-testid": testid,
      on: {
        submit: (event) => {
          event.preventDefault();
          onSubmit();
        },
      },
    },
    ...children,
  );
}

const submit = (text, testid) =>
  el("button", { type: "submit", class: "primary", "data-testid": testid }, text);
