/** The selection: number of samples, true and predicted classes, and images. */

import {
  button,
  contextOf,
  count,
  el,
  fraction,
  percent,
  select,
  whole,
} from "./elements.js";
import { classColour } from "./paint.js";
import { accuracyAtMost } from "./questions.js";

/**
 * @import { Pane } from "./pane.js"
 * @import { Graph, Order, Questions, Sample } from "./questions.js"
 * @import { Session } from "./session.js"
 */

const SORTS = [
  ["index", "Index"],
  ["wrong", "Misclassified first"],
  ["confidence", "Least confident first"],
];

export class SelectionPanel {
  #asked = 0;
  /** @type {Order} */
  #sort = "index";
  /**
   * Samples shown by a search instead of the selected nodes.
   * @type {{samples: number[], label: string, note: string} | null}
   */
  #samples = null;

  /**
   * @param {Session} session
   * @param {{onSample: (sample: Sample) => void, report: (text: string) => void}} actions
   */
  constructor(session, { onSample, report }) {
    this.session = session;
    this.title = el("h2", { "data-testid": "selection-title", "aria-live": "polite" });
    this.summary = el("div", { class: "summary", "data-testid": "selection-summary" });
    this.gallery = new Gallery(session, onSample, report);
    const sort = select("Sort by", "images-sort", SORTS, (value) => {
      this.#sort = /** @type {Order} */ (value);
      this.#again();
    });
    this.sort = sort.element;
    this.weakest = button(
      "Select the weakest node",
      "select-weakest",
      () => this.#selectWeakest(),
      { kind: "primary" },
    );
    this.empty = el(
      "div",
      { class: "empty-panel" },
      el("p", {}, "Nothing is selected."),
      el(
        "p",
        { class: "quiet" },
        "Click a node to see its samples. Shift-click adds one; draw a box or a lasso for many. With the keyboard: Tab to the graph, arrows, Enter.",
      ),
      this.weakest,
    );
    this.actions = el(
      "div",
      { class: "actions" },
      button("Clear", "selection-clear", () => session.pane.select([])),
      this.sort,
    );
    this.element = el(
      "div",
      { "data-testid": "panel-selection" },
      this.title,
      this.empty,
      this.actions,
      this.summary,
      this.gallery.element,
    );
    for (const pane of Object.values(session.panes)) {
      pane.on("selection", () => {
        if (pane === session.pane) this.refresh();
      });
      pane.on("graph", () => {
        if (pane !== session.pane) return;
        // What lay in no node of the graph before may lie in one of this.
        if (this.#samples?.note) pane.emit("noise", true);
        else this.#again();
      });
    }
    session.on("focus", () => this.refresh());
    session.theme.addEventListener("change", () => this.refresh());
    this.refresh();
  }

  /**
   * Show the samples of a search, or those in no node, instead of those of the
   * selected nodes.
   * @param {number[]} samples @param {string} label
   * @param {string} note what there is to know of them
   */
  showSamples(samples, label, note = "") {
    this.#samples = { samples, label, note };
    this.#render();
    const { pane, questions } = this.session;
    return this.#show(
      note,
      (graph, page) => questions.page(graph, samples, page),
      pane,
    );
  }

  #again() {
    const shown = this.#samples;
    if (shown === null) this.#showNodes();
    else this.showSamples(shown.samples, shown.label, shown.note);
  }

  /**
   * @param {string} note
   * @param {(graph: Graph, page: {offset: number, limit: number, sort: Order}) =>
   *     ReturnType<Questions["page"]>} question
   * @param {Pane} pane
   */
  #show(note, question, pane) {
    this.#asked += 1;
    const mine = this.#asked;
    const sort = this.#sort;
    return this.gallery.show({
      pane,
      page: async (offset, limit) => {
        const answer = await pane.ask((graph) =>
          question(graph, { offset, limit, sort }),
        );
        if (mine === this.#asked) this.#summarise(answer, note);
        return answer;
      },
    });
  }

  refresh() {
    this.#samples = null;
    return this.#showNodes();
  }

  #showNodes() {
    this.#render();
    const { pane, questions } = this.session;
    const nodes = pane.selected;
    if (nodes.length === 0) {
      this.#asked += 1;
      this.summary.replaceChildren();
      this.gallery.clear();
      return null;
    }
    const ids = nodes.map((i) => pane.scene.nodes.id[i]);
    const shown = ids.slice(0, 12).join(", ") + (ids.length > 12 ? " …" : "");
    return this.#show(
      `${ids.length === 1 ? "Node" : "Nodes"} ${shown}`,
      (graph, page) => questions.members(graph, nodes, page),
      pane,
    );
  }

  #render() {
    const { pane, two } = this.session;
    const nodes = pane.selected;
    const searched = this.#samples !== null;
    const place = two ? `${pane.side === "left" ? "Left" : "Right"} · ` : "";
    const of = `${place}${pane.title}`;
    const what = this.#samples?.label ?? count(nodes.length, "node");
    this.title.textContent = nodes.length === 0 && !searched ? of : `${what} · ${of}`;
    this.weakest.disabled = pane.scene.length === 0;
    this.empty.hidden = nodes.length > 0 || searched;
    this.actions.hidden = !this.empty.hidden;
    // What was told of others is not told of these until their summary is there.
    if (searched) this.summary.replaceChildren();
  }

  /** @param {Awaited<ReturnType<Questions["page"]>>} page @param {string} note */
  #summarise(
    { total, wrong, purity, accuracy, counts, predicted_counts: predicted },
    note,
  ) {
    const facts = [
      ["Samples", whole(total)],
      ["Misclassified", whole(wrong)],
      ["Accuracy", percent(accuracy)],
      ["Purity", fraction(purity)],
    ];
    this.summary.replaceChildren(
      el(
        "dl",
        { class: "facts-row" },
        ...facts.map(([name, value]) =>
          el("div", {}, el("dt", {}, name), el("dd", {}, value)),
        ),
      ),
      ...(note === "" ? [] : [el("p", { class: "quiet" }, note)]),
      this.#classTable(counts, predicted),
    );
  }

  /**
   * Per class, the number of samples with this label and with this prediction.
   * @param {number[]} counts @param {number[]} predicted
   */
  #classTable(counts, predicted) {
    const most = Math.max(1, ...counts, ...predicted);
    const names = this.session.run.class_names;
    const rows = names
      .map((name, k) => ({ name, k }))
      .filter(({ k }) => counts[k] + predicted[k] > 0);
    return el(
      "table",
      {
        class: "classes",
        "aria-label": "Samples of each class",
        "data-testid": "class-table",
      },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          ...["Class", "True", "Predicted"].map((text) =>
            el("th", { scope: "col" }, text),
          ),
        ),
      ),
      el(
        "tbody",
        {},
        ...rows.map(({ name, k }) =>
          el(
            "tr",
            {},
            el(
              "th",
              { scope: "row" },
              this.#swatch(k),
              el("span", { class: "name" }, name),
            ),
            this.#bar(counts[k] / most, counts[k], k),
            this.#bar(predicted[k] / most, predicted[k], k),
          ),
        ),
      ),
    );
  }

  /** @param {number} k */
  #swatch(k) {
    const swatch = el("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.backgroundColor = classColour(k, this.session.theme.dark);
    return swatch;
  }

  /** @param {number} share @param {number} value @param {number} k */
  #bar(share, value, k) {
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${(100 * share).toFixed(1)}%`;
    bar.style.backgroundColor = classColour(k, this.session.theme.dark);
    return el(
      "td",
      {},
      el(
        "span",
        { class: "bar-cell" },
        el("span", { class: "track" }, bar),
        el("span", {}, whole(value)),
      ),
    );
  }

  #selectWeakest() {
    const { pane } = this.session;
    const { accuracy, size } = pane.scene.nodes;
    const bounds = accuracy.map((value, i) => accuracyAtMost(value, size[i]));
    const weakest = bounds.indexOf(Math.min(...bounds));
    pane.select([weakest]);
    pane.reveal(weakest);
  }
}

const PAGE = 24;

/**
 * What gives a gallery its samples, a page at a time.
 *
 * @typedef {Object} Pages
 * @property {Pane} pane
 * @property {(offset: number, limit: number) => Promise<{total: number, samples: Sample[]}>
 *     } page
 */

/**
 * Images of some samples by kind, "attacked" and "clean"; null for what is not there.
 *
 * @typedef {{kind: string, bytes: (Uint8Array | null)[]}[]} Images
 */

/**
 * Samples, a page at a time: the attacked image beside the clean one, what it is
 * and what the model takes it for.
 */
class Gallery {
  #list = el("ul", {
    class: "gallery",
    "aria-label": "Samples",
    "data-testid": "images",
  });
  #position = el("span", {
    class: "position",
    role: "status",
    "data-testid": "images-position",
  });
  #offset = 0;
  #asked = 0;
  /** @type {Pages | null} */
  #pages = null;
  total = 0;
  /** What the page shows. @type {{samples: Sample[], images: Images}} */
  #shown = { samples: [], images: [] };
  /** Which of these is enlarged. */
  #large = 0;

  /**
   * @param {Session} session
   * @param {(sample: Sample) => void} onSample when one image is chosen
   * @param {(text: string) => void} report
   */
  constructor(session, onSample, report) {
    this.session = session;
    this.onSample = onSample;
    this.report = report;
    this.first = button("First page", "images-first", () => this.#go(0), {
      glyph: "«",
    });
    this.enlargement = new Enlargement(session, (by) => this.#enlarge(by));
    this.previous = button(
      "Previous page",
      "images-previous",
      () => this.#go(this.#offset - PAGE),
      { glyph: "‹" },
    );
    this.next = button(
      "Next page",
      "images-next",
      () => this.#go(this.#offset + PAGE),
      { glyph: "›" },
    );
    this.last = button("Last page", "images-last", () => this.#go(this.#lastOffset), {
      glyph: "»",
    });
    const pager = el(
      "div",
      { class: "pager", role: "group", "aria-label": "Pages of samples" },
      this.first,
      this.previous,
      this.#position,
      this.next,
      this.last,
    );
    this.element = el(
      "div",
      { class: "gallery-box" },
      pager,
      this.#list,
      this.enlargement.dialog,
    );
  }

  /** @param {Pages} pages */
  show(pages) {
    this.#pages = pages;
    return this.#go(0);
  }

  clear() {
    this.#pages = null;
    this.#asked += 1;
    this.#list.replaceChildren();
    this.element.hidden = true;
  }

  get #lastOffset() {
    return Math.max(0, Math.floor((this.total - 1) / PAGE) * PAGE);
  }

  /** @param {number} offset */
  async #go(offset) {
    if (this.#pages === null) return;
    const { pane, page } = this.#pages;
    this.#asked += 1;
    const mine = this.#asked;
    this.element.hidden = false;
    this.#list.setAttribute("aria-busy", "true");
    try {
      const { total, samples } = await page(offset, PAGE);
      const images = await this.#images(pane, samples);
      if (mine !== this.#asked) return;
      this.total = total;
      this.#offset = offset;
      this.#shown = { samples, images };
      this.#list.replaceChildren(
        ...samples.map((sample, k) => this.#card(sample, images, k)),
      );
      this.#list.scrollTop = 0;
      this.#syncPager(samples.length);
    } catch (error) {
      if (mine === this.#asked && !error.superseded) this.report(error.message);
    } finally {
      if (mine === this.#asked) this.#list.removeAttribute("aria-busy");
    }
  }

  /** @param {number} shown */
  #syncPager(shown) {
    const from = this.#offset;
    this.#position.textContent =
      this.total === 0
        ? "No sample"
        : `${whole(from + 1)}–${whole(from + shown)} of ${whole(this.total)}`;
    this.first.disabled = this.previous.disabled = from === 0;
    this.last.disabled = this.next.disabled = from + shown >= this.total;
  }

  /**
   * The bytes of a page's images: as the view saw them, and clean where they differ.
   * @param {Pane} pane @param {Sample[]} samples
   * @returns {Promise<Images>}
   */
  async #images({ view, viewInfo }, samples) {
    const { run, source } = this.session;
    if (!run.has_images || samples.length === 0) return [];
    const ids = samples.map((sample) => sample.i);
    /** @type {[number | "clean", string][]} */
    const kinds =
      viewInfo.level > 0
        ? [
            [view, "attacked"],
            ["clean", "clean"],
          ]
        : [[view, "clean"]];
    return Promise.all(
      kinds.map(async ([of, kind]) => ({ kind, bytes: await source.images(of, ids) })),
    );
  }

  /**
   * Show one image of the page large, and mark the nodes that hold its sample.
   * @param {number} by steps from the one enlarged last
   */
  #enlarge(by) {
    const { samples, images } = this.#shown;
    this.#large = (this.#large + by + samples.length) % samples.length;
    this.onSample(samples[this.#large]);
    this.enlargement.show(samples[this.#large], images, this.#large);
  }

  /** @param {Sample} sample @param {Images} images @param {number} k */
  #card(sample, images, k) {
    const { class_names: names, image_shape: shape } = this.session.run;
    const right = sample.y === sample.p;
    const pictures = images.map(({ kind, bytes }) =>
      bytes[k] === null
        ? el("span", { class: "image missing" }, "no image")
        : picture(bytes[k], shape ?? [], `${kind} image of sample ${sample.i}`),
    );
    const pictured = shape !== null && images.some(({ bytes }) => bytes[k] !== null);
    const verdict = right ? names[sample.y] : `${names[sample.y]} → ${names[sample.p]}`;
    const region = sample.r === null ? [] : [el("span", {}, regionName(sample.r))];
    return el(
      "li",
      {},
      el(
        "button",
        {
          type: "button",
          class: right ? "card" : "card wrong",
          "data-testid": "image-card",
          title: pictured
            ? "Enlarge, and mark the nodes that contain this sample"
            : "Mark the nodes that contain this sample",
          on: { click: () => this.#enlarge(k - this.#large) },
        },
        el("span", { class: "pictures" }, ...pictures),
        el(
          "span",
          { class: "verdict" },
          el("span", { class: "sign", "aria-hidden": "true" }, right ? "✓" : "✗"),
          el(
            "span",
            { class: "visually-hidden" },
            right ? "Right: " : "Wrong: true, then predicted: ",
          ),
          verdict,
        ),
        el(
          "span",
          { class: "facts" },
          el("span", {}, `#${sample.i}`),
          ...(sample.c === null ? [] : [confidence(sample.c)]),
          ...region,
        ),
      ),
    );
  }
}

/**
 * One sample large: the image as the view saw it, the clean one, and their difference.
 */
class Enlargement {
  #title = el("h2", { id: "enlarged-title" });
  #figures = el("div", { class: "figures", "data-testid": "enlarged-figures" });

  /** @param {Session} session @param {(by: number) => void} step to another sample */
  constructor(session, step) {
    this.session = session;
    this.dialog = el(
      "dialog",
      {
        class: "enlarged",
        "aria-labelledby": "enlarged-title",
        "data-testid": "enlarged",
        on: {
          keydown: (/** @type {KeyboardEvent} */ { key }) => {
            if (key === "ArrowLeft") step(-1);
            if (key === "ArrowRight") step(1);
          },
          // A click beside it closes it.
          click: (/** @type {MouseEvent} */ { target }) => {
            if (target === this.dialog) this.dialog.close();
          },
        },
      },
      el(
        "div",
        { class: "dialog-head" },
        this.#title,
        el(
          "div",
          { class: "dialog-actions" },
          button("Previous sample", "enlarged-previous", () => step(-1), {
            glyph: "‹",
          }),
          button("Next sample", "enlarged-next", () => step(1), { glyph: "›" }),
          button("Close", "enlarged-close", () => this.dialog.close(), { glyph: "×" }),
        ),
      ),
      this.#figures,
      el("p", { class: "quiet" }, "The nodes that contain it are marked in the graph."),
    );
  }

  /** @param {Sample} sample @param {Images} images @param {number} k */
  show(sample, images, k) {
    const { class_names: names, image_shape: shape } = this.session.run;
    const known = images.flatMap(({ kind, bytes }) => {
      const image = bytes[k];
      return image === null ? [] : [{ kind, image }];
    });
    if (known.length === 0 || shape === null) return;
    const verdict =
      sample.y === sample.p
        ? `${names[sample.y]}, predicted correctly`
        : `${names[sample.y]}, predicted as ${names[sample.p]}`;
    const sure = sample.c === null ? "" : ` (${percent(sample.c)})`;
    this.#title.textContent = `#${sample.i}: ${verdict}${sure}`;
    // Clean first: left to right is before and after.
    const figures = known
      .reverse()
      .map(({ kind, image }) =>
        figure(picture(image, shape, `${kind} image, enlarged`), kind),
      );
    if (known.length > 1) {
      const { bytes, most } = differenceOf(known[0].image, known[1].image);
      figures.push(
        figure(
          picture(bytes, shape, "difference, enlarged"),
          most === 0
            ? "no difference"
            : `difference, at most ${most}/255; grey is none`,
        ),
      );
    }
    this.#figures.replaceChildren(...figures);
    if (!this.dialog.open) this.dialog.showModal();
  }
}

/** @param {HTMLElement} image @param {string} caption */
const figure = (image, caption) =>
  el("figure", {}, image, el("figcaption", {}, caption));

/**
 * The difference of two images as an image: grey where there is none, and as strong as
 * can be where it is largest.
 * @param {Uint8Array} before @param {Uint8Array} after
 */
function differenceOf(before, after) {
  const moves = Array.from(before, (value, k) => after[k] - value);
  const most = moves.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const bytes = Uint8Array.from(
    moves,
    (move) => 128 + (127 * move) / Math.max(1, most),
  );
  return { bytes, most };
}

/** @param {number} value */
const confidence = (value) =>
  el(
    "span",
    {},
    el("span", { class: "visually-hidden" }, "confidence "),
    percent(value),
  );

/** -1 is a region that holds no clean sample. @param {number} id */
const regionName = (id) => (id < 0 ? "new region" : `region ${id}`);

/**
 * Raw bytes to pictures: grey or red-green-blue planes, as the networks see them.
 *
 * @param {Uint8Array} bytes one image, plane after plane
 * @param {number[]} shape channels, height, width
 * @param {string} label
 */
function picture(bytes, [channels, height, width], label) {
  const canvas = el("canvas", {
    width,
    height,
    class: "image",
    role: "img",
    "aria-label": label,
  });
  const ctx = contextOf(canvas);
  const image = ctx.createImageData(width, height);
  const plane = height * width;
  for (let k = 0; k < plane; k += 1) {
    for (let c = 0; c < 3; c += 1) {
      image.data[4 * k + c] = bytes[k + (channels >= 3 ? c * plane : 0)];
    }
    image.data[4 * k + 3] = 255;
  }
  ctx.putImageData(image, 0, 0);
  return canvas;
}
