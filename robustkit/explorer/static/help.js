/** The help dialog: how to read the graph, and the keys. */

import { button, el } from "./dom.js";

const READING = [
  "A node is a cluster of samples whose activations lie near one another; its area grows with their number. Two nodes that share samples are joined.",
  "Purity is 1 where all samples of a node bear one label and 0 where all labels are equally frequent. Accuracy is the share that the model predicts rightly. Weak regions are nodes of low accuracy.",
  "With two panes, what is selected in one is marked in the other: a ring around a node there, filled by the share of it that is selected here.",
];
const POINTER = [
  ["Click", "select a node; with Shift, add it or take it out"],
  ["Drag", "pan the graph; on a node, move it"],
  ["Shift drag, Alt drag", "select with a box, with a lasso"],
  ["Wheel, pinch", "zoom"],
];
const GRAPH_KEYS = [
  ["Tab", "reach the graph, then:"],
  ["Arrows", "go to the next node in that direction; with Shift, select on the way"],
  ["Enter, Space", "select the node; with Shift, add it or take it out"],
  ["Home, End", "go to the largest, to the smallest node"],
  ["+  −  0", "zoom in, zoom out, show all"],
  ["Ctrl Arrows", "move the node; with Shift, pan the graph"],
];

export function buildHelp(shortcuts) {
  const toggle = el("input", {
    type: "checkbox",
    checked: shortcuts.on,
    "data-testid": "shortcuts-on",
    on: { change: () => shortcuts.turn(toggle.checked) },
  });
  const dialog = el(
    "dialog",
    { "aria-labelledby": "help-title", "data-testid": "help-dialog" },
    el(
      "div",
      { class: "dialog-head" },
      el("h2", { id: "help-title" }, "How to use the explorer"),
      button("Close", "help-close", () => dialog.close(), { glyph: "×", kind: "tool" }),
    ),
    ...READING.map((text) => el("p", {}, text)),
    el("h3", {}, "Pointer"),
    keys(POINTER),
    el("h3", {}, "Keyboard in the graph"),
    keys(GRAPH_KEYS),
    el("h3", {}, "Single keys"),
    keys(shortcuts.table.map(([key, text]) => [key === "Escape" ? "Esc" : key, text])),
    el("label", { class: "check" }, toggle, "Single keys are on"),
  );
  return dialog;
}

function keys(pairs) {
  return el(
    "dl",
    { class: "keys" },
    ...pairs.map(([key, text]) =>
      el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, text)),
    ),
  );
}
