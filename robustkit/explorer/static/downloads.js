/** Taking the view away: pictures and the link are made here, data by the transport. */

import { button, el } from "./dom.js";
import { pngOf, svgOf } from "./export_picture.js";

/** @param {{link: () => string, say: (text: string) => void}} actions */
export function buildDownloads(session, { link, say }) {
  const { transport, run } = session;
  const file = async (kind, values, name) =>
    save(await transport.file(kind, values), name);
  const graphFile = (kind) =>
    session.pane.graph === null
      ? say("There is no graph yet.")
      : session.pane.ask((graph) => file(kind, { graph }, `graph.${kind}`));
  const items = [
    [
      "Picture (PNG)",
      "export-png",
      async () => save(await pngOf(session), "graph.png"),
    ],
    ["Picture (SVG)", "export-svg", () => save(svgOf(session), "graph.svg")],
    ["Graph (JSON)", "export-json", () => graphFile("json")],
    ["Graph (GraphML)", "export-graphml", () => graphFile("graphml")],
    [
      "Selected samples (CSV)",
      "export-csv",
      () => {
        const { pane } = session;
        const nodes = pane.selected;
        return nodes.length === 0
          ? say("Select a node first: the table holds the selected nodes' samples.")
          : pane.ask((graph) => file("csv", { graph, nodes }, "selection.csv"));
      },
    ],
  ];
  if (!run.embedded) {
    items.push([
      "Page for itself (HTML)",
      "export-html",
      () => {
        say("The graphs of all models and levels are computed, then the file comes.");
        return file("page", { ...session.pane.parameters }, "robustkit.html");
      },
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

/** A menu that stays open behind what one does next is in the way. */
function closeOutside(menu) {
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    close(menu);
  });
}

/** The keyboard's place must not vanish with what is hidden. */
function close(menu) {
  menu.open = false;
  menu.querySelector("summary").focus();
}

function save(blob, name) {
  const href = URL.createObjectURL(blob);
  const anchor = el("a", { href, download: name, hidden: true });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  // The browser has taken the data once the click has been handled.
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
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
