/** The settings of one pane: native controls with labels, synchronised with it. */

import { button, el, level, select } from "./elements.js";
import { NO_FILTER } from "./pane.js";
import { colouringsOf } from "./scene.js";

/** @import { Pane } from "./pane.js" */

const FILTERS = {
  l2norm: "l2 norm",
  max: "Largest activation",
  pca: "First principal component",
  pc2: "Second principal component",
};
const COVERS = {
  uniform: "Uniform",
  balanced: "Balanced",
  kepler: "Uniform, as in KeplerMapper",
};

/** @returns {HTMLElement} the pane's form @param {Pane} pane */
export function buildControls(pane) {
  const rows = [viewRow(pane), parameterRow(pane)];
  const form = el(
    "form",
    {
      class: "controls",
      on: { submit: (/** @type {Event} */ event) => event.preventDefault() },
    },
    ...rows.map((row) => row.element),
  );
  const sync = () => rows.forEach((row) => row.sync());
  pane.on("setting", sync);
  pane.on("graph", sync);
  sync();
  return form;
}

/** @param {Pane} pane */
function viewRow(pane) {
  const { side, run } = pane;
  const model = select(
    "Model",
    `model-${side}`,
    run.models.map((m) => [m, m]),
    (value) => pane.showModel(value),
  );
  const layer = select("Layer", `layer-${side}`, [], (value) => pane.showLayer(value));
  const slider = range(`level-${side}`, (value) =>
    pane.showView(pane.levels[value].id),
  );
  const colour = select("Colour by", `colour-${side}`, colouringsOf(run), (value) =>
    pane.colourBy(value),
  );
  const levelField = slider.field("Attack level");
  return {
    element: el(
      "div",
      { class: "row row-view" },
      model.element,
      layer.element,
      levelField,
      colour.element,
    ),
    sync() {
      const { layers, levels, viewInfo } = pane;
      model.choice.value = viewInfo.model;
      layer.element.hidden = layers.length < 2;
      layer.choice.replaceChildren(
        ...layers.map((name) => el("option", { value: name }, name)),
      );
      layer.choice.value = viewInfo.layer;
      colour.choice.value = pane.colouring;
      const position = levels.findIndex((view) => view.id === pane.view);
      slider.show(position, `eps ${level(viewInfo.level)}`, {
        min: 0,
        max: levels.length - 1,
        step: 1,
      });
      slider.input.disabled = levels.length < 2;
    },
  };
}

/** @param {Pane} pane */
function parameterRow(pane) {
  const { side, run } = pane;
  const { limits } = run;
  /** @type {(names: string[], words: Record<string, string>) => string[][]} */
  const named = (names, words) => names.map((name) => [name, words[name] ?? name]);
  const filter = select(
    "Filter",
    `filter-${side}`,
    named(run.filters, FILTERS),
    (value) => pane.set({ filter: value }),
  );
  const second = select(
    "Second filter",
    `second-filter-${side}`,
    [[NO_FILTER, "None"], ...named(run.filters, FILTERS)],
    (value) => pane.set({ second_filter: value }),
  );
  const cover = select("Cover", `cover-${side}`, named(run.covers, COVERS), (value) =>
    pane.set({ cover: value }),
  );
  const intervals = range(`intervals-${side}`, (value) =>
    pane.set({ n_intervals: value }),
  );
  const seconds = range(`second-intervals-${side}`, (value) =>
    pane.set({ second_intervals: value }),
  );
  const secondsField = seconds.field("Second intervals");
  const overlap = range(`overlap-${side}`, (value) => pane.set({ overlap: value }));
  const least = range(`min-samples-${side}`, (value) =>
    pane.set({ min_samples: value }),
  );
  const eps = epsField(pane);
  const fields = el(
    "fieldset",
    { class: "row row-parameters", disabled: run.embedded === true },
    el("legend", { class: "visually-hidden" }, `Mapper graph of the ${side} pane`),
    filter.element,
    second.element,
    cover.element,
    intervals.field("Intervals"),
    secondsField,
    overlap.field("Overlap"),
    eps.element,
    least.field("Min. samples"),
  );
  const details = el(
    "details",
    {
      class: "parameters",
      open: innerWidth > 700,
      "data-testid": `parameters-${side}`,
    },
    el("summary", {}, "Graph parameters"),
    fields,
  );
  if (run.embedded) {
    details.append(
      el(
        "p",
        { class: "note" },
        "This file holds the graphs of these parameters. Others need the explorer itself.",
      ),
    );
  }
  return {
    element: details,
    sync() {
      const values = pane.parameters;
      filter.choice.value = values.filter;
      cover.choice.value = values.cover;
      intervals.show(
        values.n_intervals,
        String(values.n_intervals),
        bounds(limits.n_intervals, 1),
      );
      second.choice.value = values.second_filter;
      const isAlone = values.second_filter === NO_FILTER;
      secondsField.hidden = isAlone;
      fields.classList.toggle("of-two-filters", !isAlone);
      seconds.show(
        values.second_intervals,
        String(values.second_intervals),
        bounds(limits.second_intervals, 1),
      );
      overlap.show(
        values.overlap,
        `${Math.round(100 * values.overlap)} %`,
        bounds(limits.overlap, 0.01),
      );
      least.show(
        values.min_samples,
        String(values.min_samples),
        bounds(limits.min_samples, 1),
      );
      eps.sync();
    },
  };
}

/** @param {number[]} bounds @param {number} step */
const bounds = ([min, max], step) => ({ min, max, step });

/**
 * DBSCAN's eps: a number, or automatic (the knee of the distances).
 * @param {Pane} pane
 */
function epsField(pane) {
  const { side } = pane;
  const number = el("input", {
    type: "number",
    min: 0,
    step: "any",
    required: true,
    id: `eps-${side}`,
    "data-testid": `eps-${side}`,
    on: {
      change: () => {
        const value = number.valueAsNumber;
        if (Number.isFinite(value) && value > 0) pane.set({ eps: value });
        else number.reportValidity();
      },
    },
  });
  const auto = el("input", {
    type: "checkbox",
    "data-testid": `eps-auto-${side}`,
    on: {
      change: () => {
        // No eps may have been found automatically.
        const found = pane.graph?.eps ?? 1;
        pane.set({ eps: auto.checked ? "auto" : Number(found.toPrecision(4)) });
      },
    },
  });
  const element = el(
    "div",
    { class: "field" },
    el("label", { for: `eps-${side}` }, "Radius (DBSCAN eps)"),
    el(
      "div",
      { class: "with-check" },
      number,
      el("label", { class: "check" }, auto, "auto"),
    ),
  );
  return {
    element,
    sync() {
      const { eps } = pane.parameters;
      auto.checked = eps === "auto";
      number.disabled = eps === "auto";
      const shown = eps === "auto" ? (pane.graph?.eps ?? NaN) : eps;
      number.value = Number.isFinite(shown) ? String(Number(shown.toPrecision(4))) : "";
    },
  };
}

/**
 * A slider with its value beside its label; screen readers read it with the slider.
 * @param {string} testid @param {(value: number) => void} onInput
 */
function range(testid, onInput) {
  const output = el("span", {
    class: "value",
    "aria-hidden": "true",
    "data-testid": `${testid}-value`,
  });
  const input = el("input", {
    type: "range",
    "data-testid": testid,
    on: { input: () => onInput(input.valueAsNumber) },
  });
  return {
    input,
    /** @param {string} label */
    field: (label) =>
      el(
        "label",
        { class: "field" },
        el("span", { class: "with-value" }, label, " ", output),
        input,
      ),
    /**
     * @param {number} value @param {string} text
     * @param {{min: number, max: number, step: number}} limits
     */
    show(value, text, limits) {
      Object.assign(input, limits);
      input.value = String(value);
      input.setAttribute("aria-valuetext", text);
      output.textContent = text;
    },
  };
}

/** The tools that lie on the canvas. @param {Pane} pane @param {{kind: string}} tool */
export function buildTools(pane, tool) {
  const { side } = pane;
  const kinds = [
    ["move", "✥", "Move: drag to pan, drag a node to place it"],
    ["box", "▭", "Select with a box (or hold Shift)"],
    ["lasso", "⟡", "Select with a lasso (or hold Alt)"],
  ];
  const choices = kinds.map(([kind, glyph, label]) => {
    const input = el("input", {
      type: "radio",
      name: `tool-${side}`,
      value: kind,
      checked: kind === "move",
      class: "visually-hidden",
      "data-testid": `tool-${kind}-${side}`,
      on: { change: () => (tool.kind = kind) },
    });
    const face = el("span", { "aria-hidden": "true" }, glyph);
    return el(
      "label",
      { class: "tool", title: label },
      input,
      face,
      el("span", { class: "visually-hidden" }, label),
    );
  });
  const zooms = [
    button("Zoom in", `zoom-in-${side}`, () => pane.zoom(1.4), {
      glyph: "+",
      kind: "tool",
    }),
    button("Zoom out", `zoom-out-${side}`, () => pane.zoom(1 / 1.4), {
      glyph: "−",
      kind: "tool",
    }),
    button("Show the whole graph", `fit-${side}`, () => pane.fit(), {
      glyph: "⤢",
      kind: "tool",
    }),
    button("Put dragged nodes back", `put-back-${side}`, () => pane.putBack(), {
      glyph: "↺",
      kind: "tool",
    }),
  ];
  return el(
    "div",
    { class: "tools" },
    el(
      "div",
      { class: "group", role: "radiogroup", "aria-label": "Pointer tool" },
      ...choices,
    ),
    el("div", { class: "group", role: "group", "aria-label": "View" }, ...zooms),
  );
}
