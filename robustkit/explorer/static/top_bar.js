/** The top bar: number of panes, downloads, theme, help. */

import { button, el, select } from "./elements.js";
import { pngOf, svgOf } from "./picture_files.js";

/** @import { Session } from "./session.js" */

/**
 * @param {Session} session
 * @param {{downloads: HTMLElement, help: HTMLDialogElement}} parts
 * @returns {HTMLElement[]}
 */
export function buildTopBar(session, { downloads, help }) {
  const { theme } = session;
  const panes = [
    button("One pane", "panes-one", () => session.showTwo(false)),
    button("Two panes", "panes-two", () => session.showTwo(true)),
  ];
  const linked = el("input", {
    type: "checkbox",
    "data-testid": "link-parameters",
    on: { change: () => session.linkPanes(linked.checked) },
  });
  const linkedField = el("label", { class: "check" }, linked, "Same parameters");
  const matched = el("input", {
    type: "checkbox",
    disabled: !session.run.can_match,
    "data-testid": "match-nodes",
    on: { change: () => session.matchPanes(matched.checked) },
  });
  const matchedField = el(
    "label",
    {
      class: "check",
      title: session.run.can_match
        ? "Nodes of the right graph have the number and place of those of the left one that hold the same samples"
        : "It needs POT: pip install 'robustkit[transport]'",
    },
    matched,
    "Match nodes",
  );
  const look = select(
    "Theme",
    "theme",
    [
      ["auto", "System"],
      ["light", "Light"],
      ["dark", "Dark"],
    ],
    (value) => theme.choose(value),
  );
  look.element.classList.add("inline");
  look.choice.value = theme.choice;
  const sync = () => {
    panes.forEach((face, k) =>
      face.setAttribute("aria-pressed", String(session.two === (k === 1))),
    );
    linked.checked = session.linked;
    linkedField.hidden = !session.two;
    matched.checked = session.matched;
    matchedField.hidden = !session.two;
  };
  session.on("layout", sync);
  sync();
  return [
    linkedField,
    matchedField,
    el("div", { class: "segments", role: "group", "aria-label": "Panes" }, ...panes),
    downloads,
    look.element,
    button("Help and keys", "help", () => help.showModal(), {
      glyph: "?",
      kind: "round",
    }),
  ];
}

/**
 * The menu that saves the view and its data, and copies a link to it.
 * @param {Session} session
 * @param {{link: (() => string) | null, say: (text: string) => void}} actions
 */
export function buildDownloads(session, { link, say }) {
  const { questions, run, source } = session;
  /** @param {"json" | "graphml"} format */
  const saveGraph = async (format) => {
    const { pane } = session;
    if (pane.graph === null) say("There is no graph yet.");
    else {
      const file = await pane.ask((graph) => questions.graphFile(graph, format));
      save(file, `graph.${format}`);
    }
  };
  const saveSamples = async () => {
    const { pane } = session;
    const nodes = pane.selected;
    if (nodes.length === 0) {
      say("Select a node first: the table holds the selected nodes' samples.");
    } else {
      const file = await pane.ask((graph) => questions.samplesFile(graph, nodes));
      save(file, "selection.csv");
    }
  };
  /** @type {[string, string, () => any][]} */
  const items = [
    [
      "Picture (PNG)",
      "export-png",
      async () => save(await pngOf(session), "graph.png"),
    ],
    ["Picture (SVG)", "export-svg", () => save(svgOf(session), "graph.svg")],
    ["Graph (JSON)", "export-json", () => saveGraph("json")],
    ["Graph (GraphML)", "export-graphml", () => saveGraph("graphml")],
    ["Selected samples (CSV)", "export-csv", saveSamples],
  ];
  if (!run.embedded) {
    items.push([
      "Whole page (HTML)",
      "export-html",
      async () => {
        say(
          "Computing the graphs of all models and levels; the download starts when they are ready.",
        );
        save(await source.page(session.pane.parameters), "robustkit.html");
      },
    ]);
  }
  if (link !== null) {
    items.push(["Copy a link to this view", "export-link", () => copy(link(), say)]);
  }
  const menu = el(
    "details",
    { class: "menu", "data-testid": "export-menu" },
    el("summary", { class: "button" }, "Export"),
    el(
      "div",
      { class: "menu-items" },
      ...items.map(([text, testid, action]) =>
        button(text, testid, async () => {
          close(menu);
          try {
            await action();
          } catch (error) {
            say(error.message);
          }
        }),
      ),
    ),
  );
  closeOutside(menu);
  return menu;
}

/**
 * Close the menu on a click outside, and on Escape.
 * @param {HTMLDetailsElement} menu
 */
function closeOutside(menu) {
  document.addEventListener("pointerdown", (event) => {
    const { target } = event;
    if (target instanceof Node && !menu.contains(target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    close(menu);
  });
}

/**
 * Close the menu, and keep the keyboard focus on a visible element.
 * @param {HTMLDetailsElement} menu
 */
function close(menu) {
  menu.open = false;
  menu.querySelector("summary")?.focus();
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const href = URL.createObjectURL(blob);
  const anchor = el("a", { href, download: name, hidden: true });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  // By then the browser has read the data.
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/** @param {string} text @param {(text: string) => void} say */
async function copy(text, say) {
  try {
    await navigator.clipboard.writeText(text);
    say("The link is copied.");
  } catch {
    // Frames and old browsers may not copy: the address bar holds the same link.
    say(`Copy this link: ${text}`);
  }
}

/** The help dialog: how to read the graph, and the keys. */

const READING = [
  "A node is a cluster of samples whose activations lie near one another; its area grows with their number. Two nodes that share samples are joined. Each component is drawn by itself, the largest first; within one, the filter grows from left to right, the first one if there are two.",
  "The line below the graph tells how many samples lie in no node, because too few others are near. Click it to see them.",
  "Purity is 1 where all samples of a node bear one label and 0 where all labels are equally frequent. Accuracy is the share that the model predicts correctly. Weak regions are nodes of low accuracy.",
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

/** @param {import("./preferences.js").Shortcuts} shortcuts */
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

/** @param {string[][]} pairs */
function keys(pairs) {
  return el(
    "dl",
    { class: "keys" },
    ...pairs.map(([key, text]) =>
      el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, text)),
    ),
  );
}
