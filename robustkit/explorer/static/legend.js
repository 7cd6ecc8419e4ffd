/** What the colours of a pane mean; a class in it can be pointed out. */

import { el } from "./dom.js";
import { count } from "./format.js";
import { classColour, scaleColour } from "./palette.js";

export function buildLegend(pane) {
  const element = el("div", {
    class: "legend",
    role: "group",
    "aria-label": "Legend",
    "data-testid": `legend-${pane.side}`,
  });
  let shown = "";
  const sync = () => {
    const { colouring, emphasis, ink, smallest, largest } = pane.scene;
    // Rebuilding a legend that has not changed would take the keyboard's place away.
    const now = JSON.stringify([
      colouring,
      ink.dark,
      colouring === "size" ? [smallest, largest] : 0,
    ]);
    if (now !== shown) {
      shown = now;
      element.replaceChildren(
        ...(colouring === "labels" ? classes(pane) : scale(pane)),
      );
    }
    element.querySelectorAll("button").forEach((face, k) => {
      face.setAttribute("aria-pressed", String(k === emphasis));
    });
  };
  pane.on("setting", sync);
  pane.on("graph", sync);
  sync();
  return element;
}

function classes(pane) {
  return pane.run.class_names.map((name, k) => {
    const swatch = el("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.backgroundColor = classColour(k, pane.scene.ink.dark);
    return el(
      "button",
      {
        type: "button",
        "aria-pressed": "false",
        title: `Point out the nodes that hold class ${name}`,
        on: { click: () => pane.emphasise(k) },
      },
      swatch,
      el("span", { class: "name" }, name),
    );
  });
}

function scale(pane) {
  const { colouring, smallest, largest } = pane.scene;
  const stops = Array.from({ length: 9 }, (_, k) => scaleColour(colouring, k / 8));
  const bar = el("span", { class: "scale", "aria-hidden": "true" });
  bar.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
  const [low, high, name] = {
    accuracy: ["0 %", "100 %", "Accuracy"],
    purity: ["0", "1", "Purity"],
    size: [
      count(smallest ?? 0, "sample"),
      count(largest ?? 0, "sample"),
      "Size (logarithmic)",
    ],
  }[colouring];
  return [
    el("span", { class: "scale-name" }, name),
    el("span", { class: "scale-row" }, el("span", {}, low), bar, el("span", {}, high)),
  ];
}
