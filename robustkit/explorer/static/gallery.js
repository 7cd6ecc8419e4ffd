/**
 * Samples, a page at a time: the perturbed image beside the clean one, what it is
 * and what the model takes it for.
 */

import { button, el } from "./dom.js";
import { percent, whole } from "./format.js";
import { picture } from "./pixels.js";

const PAGE = 24;

export class Gallery {
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
  #source = null;

  /** @param {(sample: Object) => void} onSample when one image is chosen */
  constructor(session, onSample, report) {
    Object.assign(this, { session, onSample, report });
    this.first = button("First page", "images-first", () => this.#go(0), {
      glyph: "«",
    });
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
    this.element = el("div", { class: "gallery-box" }, pager, this.#list);
  }

  /**
   * @param {{pane: Object, page: (offset: number, limit: number) => Promise}} source
   *     `page` answers {total, samples}
   */
  show(source) {
    this.#source = source;
    return this.#go(0);
  }

  clear() {
    this.#source = null;
    this.#asked += 1;
    this.#list.replaceChildren();
    this.element.hidden = true;
  }

  get #lastOffset() {
    return Math.max(0, Math.floor((this.total - 1) / PAGE) * PAGE);
  }

  async #go(offset) {
    this.#asked += 1;
    const mine = this.#asked;
    this.element.hidden = false;
    this.#list.setAttribute("aria-busy", "true");
    try {
      const { total, samples } = await this.#source.page(offset, PAGE);
      const images = await this.#images(samples);
      if (mine !== this.#asked) return;
      this.total = total;
      this.#offset = offset;
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

  #syncPager(shown) {
    const from = this.#offset;
    this.#position.textContent =
      this.total === 0
        ? "No sample"
        : `${whole(from + 1)}–${whole(from + shown)} of ${whole(this.total)}`;
    this.first.disabled = this.previous.disabled = from === 0;
    this.last.disabled = this.next.disabled = from + shown >= this.total;
  }

  /** The bytes of a page's images: as the view saw them, and clean where they differ. */
  async #images(samples) {
    const { run, transport } = this.session;
    if (!run.has_images || samples.length === 0) return [];
    const ids = samples.map((sample) => sample.i);
    const { view, viewInfo } = this.#source.pane;
    const kinds =
      viewInfo.level > 0
        ? [
            [view, "perturbed"],
            ["clean", "clean"],
          ]
        : [[view, "clean"]];
    return Promise.all(
      kinds.map(async ([of, kind]) => ({
        kind,
        bytes: await transport.images(of, ids),
      })),
    );
  }

  #card(sample, images, k) {
    const { class_names: names, image_shape: shape } = this.session.run;
    const right = sample.y === sample.p;
    const pictures = images.map(({ kind, bytes }) =>
      bytes[k] === null
        ? el("span", { class: "image missing" }, "no image")
        : picture(bytes[k], shape, `${kind} image of sample ${sample.i}`),
    );
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
          title: "Mark the nodes that hold this sample",
          on: { click: () => this.onSample(sample) },
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

const confidence = (value) =>
  el(
    "span",
    {},
    el("span", { class: "visually-hidden" }, "confidence "),
    percent(value),
  );

/** -1 is a region that holds no clean sample. */
const regionName = (id) => (id < 0 ? "new region" : `region ${id}`);
