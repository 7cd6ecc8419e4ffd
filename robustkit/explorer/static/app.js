/** The entry point: load the run, build the parts of the page, connect them. */

import { Curve } from "./curve.js";
import { openData } from "./data_from_server.js";
import { byId, count, el, percent, Tabs, whole } from "./elements.js";
import { SearchPanel, WeakPanel } from "./find_panels.js";
import { readLink, writeLink } from "./link.js";
import { useClassColours } from "./paint.js";
import { NO_FILTER } from "./pane.js";
import { buildPane } from "./pane_view.js";
import { Shortcuts, Theme } from "./preferences.js";
import { Questions } from "./questions.js";
import { colouringsOf } from "./scene.js";
import { SelectionPanel } from "./selection_panel.js";
import { Follow, Session } from "./session.js";
import { buildDownloads, buildHelp, buildTopBar } from "./top_bar.js";

const theme = new Theme();

start().catch((error) => {
  byId("main").replaceChildren(
    el(
      "div",
      { class: "no-start", role: "alert", "data-testid": "no-start" },
      el("h2", {}, "The explorer cannot start"),
      el("p", {}, error.message),
    ),
  );
});

async function start() {
  const source = openData();
  const run = await source.run();
  useClassColours(run.class_colors);
  const questions = new Questions(source, run);
  const session = new Session({ run, source, questions, theme });
  const tab = readLink(session, run.fragment ?? location.hash.slice(1));
  document.title = `${run.title ?? "Run"} · robustkit explorer`;
  const say = announcer();
  const tabs = buildSide(session, say);
  const fragment = () => writeLink(session, tabs.shown);
  const link = () => `${location.href.split("#")[0]}#${fragment()}`;
  const keep = source.cell?.keep ?? (() => history.replaceState(null, "", link()));
  const shortcuts = new Shortcuts(shortcutTable(session, tabs));
  const help = buildHelp(shortcuts);
  document.body.append(help);
  session.on("help", () => help.showModal());
  const downloads = buildDownloads(session, {
    // A cell of a notebook has no address of its own.
    link: source.cell === undefined ? link : null,
    say,
  });
  byId("top").replaceChildren(...buildTopBar(session, { downloads, help }));
  byId("run-title").textContent = run.title ?? "";
  byId("run-note").textContent =
    `${count(run.n_samples, "sample")}, ${whole(run.class_names.length)} classes`;
  tabs.show(tab);
  buildPanes(session);
  keepLink(session, tabs, () => keep(fragment()));
  source.cell?.watch(session);
  for (const pane of session.shown) pane.recompute(0);
}

/** @param {Session} session */
function buildPanes(session) {
  const built = Object.values(session.panes).map((pane) => ({
    pane,
    element: buildPane(pane),
  }));
  byId("panes").replaceChildren(...built.map(({ element }) => element));
  const sync = () => {
    byId("panes").classList.toggle("two", session.two);
    for (const { pane, element } of built) {
      element.hidden = !session.shown.includes(pane);
      element.classList.toggle("in-focus", session.two && pane === session.pane);
    }
  };
  for (const { pane, element } of built) {
    element.addEventListener("pointerdown", () => session.focus(pane.side), {
      capture: true,
    });
    element.addEventListener("focusin", () => session.focus(pane.side));
  }
  session.on("layout", sync);
  session.on("focus", sync);
  sync();
}

/** @param {Session} session @param {(text: string) => void} say */
function buildSide(session, say) {
  const follow = new Follow(session, say);
  const selection = new SelectionPanel(session, {
    onSample: (sample) => follow.samples([sample.i], `(sample ${sample.i})`),
    report: say,
  });
  const search = new SearchPanel(session, {
    found: (samples, label) => follow.samples(samples, label),
    images(samples, label) {
      tabs.show("selection");
      selection.showSamples(samples, label);
    },
  });
  const weak = new WeakPanel(session);
  const tabs = new Tabs([
    ["selection", "Selection", selection.element],
    ["weak", "Weak regions", weak.element],
    ["search", "Search", search.element],
  ]);
  for (const pane of Object.values(session.panes)) {
    pane.on("noise", async (again) => {
      if (!again) {
        session.focus(pane.side);
        tabs.show("selection");
      }
      try {
        const samples = await pane.ask((graph) => session.questions.noise(graph));
        pane.select([]);
        selection.showSamples(samples, "In no node", noiseNote(pane));
        follow.samples(samples, `in no node ${pane.side}`);
      } catch (error) {
        if (!error.superseded) say(error.message);
      }
    });
  }
  byId("side").replaceChildren(new Curve(session, say).element, tabs.element);
  return tabs;
}

/** Why samples lie in no node, and what to do. @param {import("./pane.js").Pane} pane */
function noiseNote({ graph, parameters }) {
  if (graph === null) return "";
  const { n_noise: noise, n_in_nodes: kept, eps } = graph;
  const share = percent(noise / Math.max(1, noise + kept));
  const place = parameters.second_filter === NO_FILTER ? "interval" : "cell";
  const radius = eps === null ? "" : ` (${Number(eps.toPrecision(3))})`;
  return (
    `${share} of the samples lie in no node. DBSCAN treats them as noise: neither they ` +
    `nor any of their neighbours have ${count(parameters.min_samples, "sample")} of ` +
    `their ${place} within the radius${radius}. A larger radius or a smaller min. ` +
    "samples includes more of them."
  );
}

/**
 * Keep the link to the current view in the address bar.
 * @param {Session} session @param {Tabs} tabs @param {() => void} keep
 */
function keepLink(session, tabs, keep) {
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      try {
        keep();
      } catch {
        // A sandboxed frame has no address of its own to keep.
      }
    }, 300);
  };
  for (const pane of Object.values(session.panes)) {
    for (const event of ["setting", "graph", "selection", "look"])
      pane.on(event, later);
  }
  session.on("layout", later);
  session.on("focus", later);
  tabs.onShow = later;
}

/** Short messages: shown for a while, and announced by screen readers. */
function announcer() {
  const place = byId("messages");
  let timer = 0;
  /** @param {string} text */
  return (text) => {
    clearTimeout(timer);
    place.replaceChildren(el("p", { class: "message" }, text));
    timer = setTimeout(() => place.replaceChildren(), 8000);
  };
}

/**
 * @param {Session} session @param {Tabs} tabs
 * @returns {[string, string, () => void][]}
 */
function shortcutTable(session, tabs) {
  /** @param {number} by */
  const step = (by) => {
    const { pane } = session;
    const at = pane.levels.findIndex((view) => view.id === pane.view) + by;
    if (at >= 0 && at < pane.levels.length) pane.showView(pane.levels[at].id);
  };
  const colour = () => {
    const { pane } = session;
    const names = colouringsOf(session.run).map(([name]) => name);
    pane.colourBy(names[(names.indexOf(pane.colouring) + 1) % names.length]);
  };
  /** @param {string} name */
  const open = (name) => {
    tabs.show(name);
    byId(`tab-${name}`).focus();
  };
  return [
    ["1", "one pane", () => session.showTwo(false)],
    ["2", "two panes", () => session.showTwo(true)],
    [
      "o",
      "the other pane",
      () => {
        if (session.two) session.focus(session.other(session.pane).side);
      },
    ],
    ["[", "lower attack level", () => step(-1)],
    ["]", "higher attack level", () => step(1)],
    ["c", "next colouring", colour],
    ["f", "show the whole graph", () => session.pane.fit()],
    ["s", "selection", () => open("selection")],
    ["w", "weak regions", () => open("weak")],
    [
      "/",
      "search",
      () => {
        tabs.show("search");
        byId("search-sample").focus();
      },
    ],
    ["Escape", "clear the selection", () => session.pane.select([])],
    ["?", "this help", () => session.emit("help")],
  ];
}
