/**
 * Where samples went: what is selected in one pane is marked in the other, and
 * the samples of a search or of one image in every pane that is shown.
 */

import { count, whole } from "./format.js";

export class Follow {
  /** What is followed now: samples by number, or null for a pane's selection. */
  #samples = null;
  #label = "";
  #asked = 0;

  constructor(session, report) {
    this.session = session;
    this.report = report;
    for (const pane of Object.values(session.panes)) {
      pane.on("selection", () => this.#selected(pane));
      pane.on("graph", () => this.#refresh());
    }
    session.on("layout", () => this.#refresh());
  }

  samples(samples, label) {
    this.#samples = samples;
    this.#label = label;
    return this.#refresh();
  }

  #selected(pane) {
    this.#samples = null;
    this.from = pane;
    pane.mark([], [], "");
    return this.#refresh();
  }

  async #refresh() {
    this.#asked += 1;
    const mine = this.#asked;
    const { session, from } = this;
    const { transport } = session;
    try {
      if (this.#samples !== null) {
        const samples = this.#samples;
        for (const pane of session.shown) {
          await this.#markIn(pane, mine, this.#label, (key) =>
            transport.where(key, { samples }),
          );
        }
      } else if (session.two && from !== undefined) {
        const nodes = from.selected;
        const to = session.other(from);
        if (nodes.length === 0) return to.mark([], [], "");
        const label = `selected ${from.side}`;
        await from.ask((source) =>
          this.#markIn(to, mine, label, (key) =>
            transport.where(key, { from: source, nodes }),
          ),
        );
      }
    } catch (error) {
      if (!error.superseded) this.report(error.message);
    }
  }

  async #markIn(pane, mine, label, question) {
    if (pane.graph === null) return;
    const answer = await pane.ask(question);
    if (mine !== this.#asked) return;
    pane.mark(answer.nodes, answer.held, told(answer, label));
  }
}

function told({ nodes, total, noise }, label) {
  if (total === 0) return "";
  const within = `${whole(total - noise)} of ${count(total, "sample")} ${label}`;
  const lie = total === 1 ? "lies" : "lie";
  return `${within} ${lie} in ${count(nodes.length, "node")} here; ${whole(noise)} in none.`;
}
