/**
 * Purity and accuracy against the attack level: a small plot whose levels are
 * buttons. It belongs to the pane in focus and moves that pane's level.
 */

import { button, el, fraction, level, percent, svg } from "./elements.js";

/**
 * @import { Pane } from "./pane.js"
 * @import { Session } from "./session.js"
 */

const WIDTH = 340;
const HEIGHT = 128;
const INSET = { left: 30, right: 12, top: 10, bottom: 20 };

/** From a number to its place on the plot. @typedef {(value: number) => number} Scale */

export class Curve {
  #asked = 0;
  /**
   * @type {{asked: string, levels: number[], views: number[], accuracy: number[],
   *     purity: number[]} | null}
   */
  #data = null;

  /** @param {Session} session @param {(text: string) => void} report */
  constructor(session, report) {
    this.session = session;
    this.report = report;
    this.title = el("h2", {}, "Against attack level");
    this.plot = svg("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      "aria-hidden": "true",
      focusable: "false",
    });
    this.levels = el("div", {
      class: "curve-levels",
      role: "group",
      "aria-label": "Attack levels",
    });
    this.key = el(
      "p",
      { class: "curve-key" },
      el("span", { class: "key accuracy" }, "robust accuracy"),
      el("span", { class: "key purity" }, "weighted purity"),
    );
    this.element = el(
      "section",
      {
        class: "curve",
        "data-testid": "curve",
        "aria-label": "Purity and accuracy against attack level",
      },
      el("div", { class: "curve-head" }, this.title, this.key),
      el("div", { class: "curve-plot" }, this.plot, this.levels),
    );
    for (const pane of Object.values(session.panes)) {
      pane.on("graph", () => pane === session.pane && this.refresh());
    }
    session.on("focus", () => this.refresh());
  }

  async refresh() {
    const { pane, questions } = this.session;
    const { model, layer } = pane.viewInfo;
    this.#asked += 1;
    const mine = this.#asked;
    const asked = JSON.stringify([model, layer, pane.parameters]);
    if (this.#data?.asked !== asked) {
      this.element.setAttribute("aria-busy", "true");
      try {
        const answer = await questions.curve(model, pane.parameters, layer);
        if (mine !== this.#asked) return;
        this.#data = { ...answer, asked };
      } catch (error) {
        if (mine !== this.#asked) return;
        this.element.removeAttribute("aria-busy");
        if (!error.superseded) this.report(error.message);
        return;
      }
    }
    this.element.removeAttribute("aria-busy");
    this.title.textContent = `${model} against attack level`;
    this.#draw(pane);
  }

  /** @param {Pane} pane */
  #draw(pane) {
    if (this.#data === null) return;
    const { levels, views, accuracy, purity } = this.#data;
    const far = Math.max(...levels, 1e-9);
    /** @type {Scale} */
    const x = (value) =>
      INSET.left + (value / far) * (WIDTH - INSET.left - INSET.right);
    /** @type {Scale} */
    const y = (value) =>
      HEIGHT - INSET.bottom - value * (HEIGHT - INSET.top - INSET.bottom);
    const here = views.indexOf(pane.view);
    this.plot.replaceChildren(
      ...axes(levels, x, y),
      ...(here < 0
        ? []
        : [
            svg("line", {
              class: "here",
              x1: x(levels[here]),
              x2: x(levels[here]),
              y1: y(0),
              y2: y(1),
            }),
          ]),
      ...line("accuracy", levels, accuracy, x, y, here),
      ...line("purity", levels, purity, x, y, here),
    );
    const focused = [...this.levels.children].indexOf(
      /** @type {Element} */ (document.activeElement),
    );
    const faces = levels.map((value, k) => {
      const text = `eps ${level(value)}: accuracy ${percent(accuracy[k])}, purity ${fraction(purity[k])}`;
      const show = () => pane.showView(views[k]);
      const face = button(text, `curve-level-${k}`, show, { glyph: "" });
      face.setAttribute("aria-pressed", String(k === here));
      const gap =
        levels.length > 1
          ? (WIDTH - INSET.left - INSET.right) / (levels.length - 1)
          : 40;
      face.style.left = `${(100 * x(value)) / WIDTH}%`;
      face.style.width = `${(100 * Math.min(40, gap)) / WIDTH}%`;
      return face;
    });
    this.levels.replaceChildren(...faces);
    faces[focused]?.focus();
  }
}

/** @param {number[]} levels @param {Scale} x @param {Scale} y */
function axes(levels, x, y) {
  const lines = [0, 0.5, 1].flatMap((value) => [
    svg("line", {
      class: "grid",
      x1: INSET.left,
      x2: WIDTH - INSET.right,
      y1: y(value),
      y2: y(value),
    }),
    svg(
      "text",
      { x: INSET.left - 6, y: y(value) + 3.5, "text-anchor": "end" },
      String(value),
    ),
  ]);
  // Labels that would overlap are left out.
  let last = -Infinity;
  const labels = levels.flatMap((value) => {
    if (x(value) - last < 26) return [];
    last = x(value);
    return [
      svg(
        "text",
        { x: x(value), y: HEIGHT - 5, "text-anchor": "middle" },
        level(value),
      ),
    ];
  });
  return [...lines, ...labels];
}

/**
 * @param {string} name @param {number[]} levels @param {number[]} values
 * @param {Scale} x @param {Scale} y @param {number} here
 */
function line(name, levels, values, x, y, here) {
  const known = levels
    .map((value, k) => [x(value), values[k], k])
    .filter(([, v]) => Number.isFinite(v) && v !== null);
  const points = known
    .map(([px, v]) => `${px.toFixed(1)},${y(v).toFixed(1)}`)
    .join(" ");
  // Accuracy has discs and purity squares, so that colour is not the only difference.
  const dots = known.map(([px, v, k]) => {
    const r = k === here ? 4.5 : 2.8;
    return name === "accuracy"
      ? svg("circle", { class: name, cx: px, cy: y(v), r })
      : svg("rect", {
          class: name,
          x: px - r,
          y: y(v) - r,
          width: 2 * r,
          height: 2 * r,
        });
  });
  return [svg("polyline", { class: name, points }), ...dots];
}
