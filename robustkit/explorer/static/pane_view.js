/** One pane's elements: settings, canvas, legend, hint, status and failure. */

import { CanvasView } from "./canvas.js";
import { buildControls, buildTools } from "./controls.js";
import { count, el, fraction, percent } from "./elements.js";
import { buildNodeList, words } from "./node_list.js";
import { classColour, scaleColour } from "./paint.js";
import { inside, listenToPointer } from "./pointer.js";

/**
 * @import { Pane } from "./pane.js"
 * @import { Graph } from "./questions.js"
 */

/** @param {Pane} pane */
export function buildPane(pane) {
  const { side, scene } = pane;
  const tool = { kind: "move" };
  const legend = buildLegend(pane);
  const fitAgain = () => {
    // The tools are a column of this width; the height of the legend varies.
    scene.camera.covered = { right: 36, bottom: legend.offsetHeight };
    if (pane.fitted) scene.fit();
  };
  const canvas = new CanvasView(scene, side, fitAgain);
  new ResizeObserver(() => {
    fitAgain();
    canvas.redraw();
  }).observe(legend);
  const hint = el("div", {
    class: "hint",
    hidden: true,
    "data-testid": `hint-${side}`,
  });
  const list = buildNodeList(pane, () => canvas.redraw("points"));
  canvas.element.append(list, buildTools(pane, tool), legend, hint, buildWaiting(pane));
  const hintAtKeyboard = () => {
    const { active, camera, xs, ys } = scene;
    if (!canvas.hasKeyboard || active < 0) return;
    const [x, y] = camera.toScreen(xs[active], ys[active]);
    showHint(pane, canvas, hint, active, x, y);
  };
  pane.on("look", (how) => {
    canvas.redraw(how);
    hintAtKeyboard();
  });
  pane.on("active", () => {
    canvas.redraw("points");
    hintAtKeyboard();
  });
  list.addEventListener("blur", () => (hint.hidden = true));
  pane.on("graph", () => {
    // It told of a node of the graph before.
    hint.hidden = true;
    hintAtKeyboard();
  });
  listenToPointer(canvas.surface, pointerActions(pane, canvas, tool, hint));
  return el(
    "section",
    {
      class: "pane",
      "data-testid": `pane-${side}`,
      "aria-label": `${side === "left" ? "Left" : "Right"} pane`,
    },
    buildControls(pane),
    canvas.element,
    buildStatus(pane),
  );
}

/**
 * @param {Pane} pane @param {CanvasView} canvas @param {{kind: string}} tool
 * @param {HTMLElement} hint
 * @returns {import("./pointer.js").Actions}
 */
function pointerActions(pane, canvas, tool, hint) {
  const { scene } = pane;
  /** @param {number} i @param {number} x @param {number} y */
  const hover = (i, x, y) => {
    if (i !== scene.hover) {
      scene.hover = i;
      canvas.redraw("points");
      pane.point(i);
    }
    canvas.surface.classList.toggle("on-node", i >= 0);
    if (i < 0) hint.hidden = true;
    else showHint(pane, canvas, hint, i, x, y);
  };
  return {
    tool: () => tool.kind,
    hitTest: (x, y) => scene.hitTest(x, y),
    hover,
    click(i, add) {
      if (i >= 0) {
        pane.activate(i);
        pane.select([i], { add });
      } else if (!add && scene.selection.size > 0) pane.select([]);
    },
    dragNode(i, x, y) {
      pane.dragNode(i, x, y);
      hover(i, x, y);
    },
    pan: (dx, dy) => pane.pan(dx, dy),
    zoom: (factor, x, y) => pane.zoom(factor, x, y),
    outline(points) {
      canvas.gesture = points;
      canvas.redraw("points");
    },
    selectWithin(outline, add) {
      const within = scene.order.filter((i) => {
        const [x, y] = scene.camera.toScreen(scene.xs[i], scene.ys[i]);
        return inside(outline, x, y);
      });
      const kept = add ? [...scene.selection] : [];
      pane.select([...new Set([...kept, ...within])]);
    },
  };
}

/**
 * A node in words, beside the point but within the canvas.
 * @param {Pane} pane @param {CanvasView} canvas @param {HTMLElement} hint
 * @param {number} i @param {number} x @param {number} y
 */
function showHint(pane, canvas, hint, i, x, y) {
  hint.hidden = false;
  hint.textContent = hintText(pane, i);
  const { clientWidth: width, clientHeight: height } = canvas.element;
  const below = y + 18 + hint.offsetHeight < height;
  hint.style.left = `${Math.max(8, Math.min(x + 14, width - hint.offsetWidth - 8))}px`;
  hint.style.top = `${below ? y + 16 : y - hint.offsetHeight - 10}px`;
}

/** @param {Pane} pane @param {number} i */
function hintText(pane, i) {
  const held = pane.scene.marks.get(i);
  const text = words(pane.describe(i));
  return held === undefined ? text : `${text}; holds ${count(held, "followed sample")}`;
}

/** @param {Pane} pane */
function buildWaiting(pane) {
  const bar = el(
    "div",
    { class: "waiting", hidden: true, "data-testid": `computing-${pane.side}` },
    el("span", { class: "bar", "aria-hidden": "true" }),
    el("span", { class: "visually-hidden" }, "Computing"),
  );
  const empty = el("p", { class: "empty", hidden: true });
  const sync = () => {
    bar.hidden = !pane.computing;
    const nothing = pane.graph !== null && pane.scene.length === 0;
    empty.hidden = !(nothing || (pane.graph === null && !pane.failure));
    empty.textContent = nothing
      ? "No node: every sample is noise at this radius. Raise eps, or lower min. samples."
      : "Computing the graph…";
  };
  for (const event of ["computing", "graph", "failure"]) pane.on(event, sync);
  sync();
  return el("div", { class: "waiting-layer" }, bar, empty);
}

/** @param {Pane} pane */
function buildStatus(pane) {
  const { side } = pane;
  const status = el("span", { role: "status", "data-testid": `status-${side}` });
  const measures = el("span", { class: "measures", "data-testid": `measures-${side}` });
  const noise = buildNoise(pane);
  const note = el("p", { class: "note", hidden: true, "data-testid": `note-${side}` });
  const marks = el("span", {
    class: "marks",
    role: "status",
    "data-testid": `marks-${side}`,
  });
  const failure = el("p", {
    class: "failure",
    role: "alert",
    hidden: true,
    "data-testid": `error-${side}`,
  });
  const sync = () => {
    failure.hidden = pane.failure === null;
    failure.textContent = failureText(pane);
    if (pane.computing) status.textContent = "Computing…";
    else
      status.textContent =
        pane.graph === null ? "No graph yet" : statusText(pane.graph);
    if (pane.graph === null) return;
    measures.replaceChildren(...measureItems(pane.graph));
    noise.sync();
    note.textContent = pane.graph.note ?? "";
    note.hidden = note.textContent === "";
  };
  for (const event of ["computing", "graph", "failure"]) pane.on(event, sync);
  pane.on("marks", () => (marks.textContent = pane.told ?? ""));
  pane.on("graph", () => (marks.textContent = ""));
  return el(
    "footer",
    { class: "pane-status" },
    failure,
    note,
    el("div", { class: "line" }, status, marks, measures, noise.element),
  );
}

/** @param {Pane} pane */
function failureText({ failure, graph }) {
  if (failure === null) return "";
  const sentence = /[.!?]$/.test(failure) ? failure : `${failure}.`;
  return graph === null ? sentence : `${sentence} The last graph is left in place.`;
}

/** @param {Graph} graph */
const statusText = ({ nodes, edges, seconds }) =>
  `${count(nodes.size.length, "node")}, ${count(edges.source.length, "edge")}, ${seconds.toFixed(2)} s`;

/** @param {Graph} graph */
function measureItems({ accuracy, purity, n_in_nodes: kept, beside, nodes }) {
  const matched =
    beside === undefined
      ? []
      : [["Matched", `${beside.nodes.length} of ${count(nodes.size.length, "node")}`]];
  const pairs = [
    ...matched,
    ["Accuracy", percent(accuracy)],
    ["Purity", fraction(kept > 0 ? purity : NaN)],
  ];
  return pairs.map(([name, value]) =>
    el("span", { class: "measure" }, `${name} `, el("b", {}, value)),
  );
}

/**
 * The share of samples that the graph does not show; a click shows them.
 * @param {Pane} pane
 */
function buildNoise(pane) {
  const bar = el("span", { class: "bar" });
  const text = el("span");
  const element = el(
    "button",
    {
      type: "button",
      class: "noise",
      title: "Samples that are near to too few others. Click to see them.",
      "data-testid": `noise-${pane.side}`,
      on: { click: () => pane.emit("noise") },
    },
    el("span", { class: "track", "aria-hidden": "true" }, bar),
    text,
  );
  return {
    element,
    sync() {
      if (pane.graph === null) return;
      const { n_noise: noise, n_in_nodes: kept } = pane.graph;
      const share = noise / Math.max(1, noise + kept);
      bar.style.width = `${(100 * share).toFixed(1)}%`;
      text.replaceChildren(
        el("b", {}, percent(share)),
        ` (${count(noise, "sample")}) in no node`,
      );
      element.disabled = noise === 0;
    },
  };
}

/** What the colours of a pane mean; a class in it can be pointed out. @param {Pane} pane */
export function buildLegend(pane) {
  const element = el("div", {
    class: "legend",
    role: "group",
    "aria-label": "Legend",
    "data-testid": `legend-${pane.side}`,
  });
  let shown = "";
  const sync = () => {
    const { emphasis, ink, pies, scale } = pane.scene;
    // Rebuilding an unchanged legend would lose the keyboard focus.
    const now = JSON.stringify([pies?.names, scale?.title, scale?.ends, ink.dark]);
    if (now !== shown) {
      shown = now;
      element.replaceChildren(
        ...(scale === null
          ? swatches(pane, pies?.names ?? pane.run.class_names)
          : scaleParts(scale)),
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

/** @param {Pane} pane @param {string[]} names */
function swatches(pane, names) {
  return names.map((name, k) => {
    const swatch = el("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.backgroundColor = classColour(k, pane.scene.ink.dark);
    return el(
      "button",
      {
        type: "button",
        "aria-pressed": "false",
        title: `Highlight the nodes that contain ${name}`,
        on: { click: () => pane.emphasise(k) },
      },
      swatch,
      el("span", { class: "name" }, name),
    );
  });
}

/** @param {import("./scene.js").Scale} scale */
function scaleParts({ title, ramp, ends: [low, high] }) {
  const stops = Array.from({ length: 9 }, (_, k) => scaleColour(ramp, k / 8));
  const bar = el("span", { class: "scale", "aria-hidden": "true" });
  bar.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
  return [
    el("span", { class: "scale-name" }, title),
    el("span", { class: "scale-row" }, el("span", {}, low), bar, el("span", {}, high)),
  ];
}
