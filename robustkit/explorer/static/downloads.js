/** Taking the view away: pictures and the link are made here, data by the transport. */

import { button, el } from "./dom.js";
import { pngOf, svgOf } from "./export_picture.js";

/** @param {{link: () => string, say: (text: string) => void}} actions */
export function buildDownloads(session, { link, say }) {
  const { transport, run } = session;
  const save = (blob, name) => {
    const href = URL.createObjectURL(blob);
    follow(href, name);
    // The browser has taken the data once the click has been handled.
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  };
  const data = (kind, values, name) => {
    const made = transport.exportUrl(kind, values);
    if (made instanceof Blob) save(made, name);
    else follow(made, name);
  };
  const key = () => session.pane.graph?.graph;
  const graphData = (kind) =>
    key() === undefined
      ? say("There is no graph yet.")
      : data(kind, { graph: key() }, `mapper.${kind}`);
  const items = [
    [
      "Picture (PNG)",
      "export-png",
      async () => save(await pngOf(session), "mapper.png"),
    ],
    ["Picture (SVG)", "export-svg", () => save(svgOf(session), "mapper.svg")],
    ["Graph (JSON)", "export-json", () => graphData("json")],
    ["Graph (GraphML)", "export-graphml", () => graphData("graphml")],
    [
      "Selected samples (CSV)",
      "export-csv",
      () => {
        const nodes = session.pane.selected;
        if (nodes.length === 0)
          say("Select a node first: the table holds the selected nodes' samples.");
        else data("csv", { graph: key(), nodes: nodes.join(",") }, "selection.csv");
      },
    ],
  ];
  if (!run.embedded) {
    items.push([
      "Page for itself (HTML)",
      "export-html",
      () => data("page", { ...session.pane.parameters }, "explorer.html"),
    ]);
  }
  items.push(["Copy a link to this view", "export-link", () => copy(link(), say)]);
  const menu = el(
    "details",
    { class: "menu", "data-testid": "export-menu" },
    el("summary", { class: "button" }, "Take away"),
    el(
      "div",
      { class: "menu-items" },
      ...items.map(([text, testid, action]) =>
        button(text, testid, async () => {
          menu.open = false;
          await action();
        }),
      ),
    ),
  );
  closeOutside(menu);
  return menu;
}

/** A menu that stays open behind what one does next is in the way. */
function closeOutside(menu) {
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

function follow(href, download) {
  const anchor = el("a", { href, download, hidden: true });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
}

async function copy(text, say) {
  try {
    await navigator.clipboard.writeText(text);
    say("The link is copied.");
  } catch {
    // Frames and old browsers may not copy: the address bar holds the same link.
    say(`Copy this link: ${text}`);
  }
}
