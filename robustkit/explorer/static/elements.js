/**
 * What the page is built of: elements, controls with labels, tabs, and numbers as they
 * are written everywhere.
 *
 * Every text goes in as a text node, so that a class name or a title that
 * contains markup is shown as it is and never read as markup.
 */

/**
 * Make an element.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} properties attributes; `on` holds listeners by
 *     event name; a value of false, null or undefined leaves the attribute out.
 * @param {...(Node|string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  setAttributes(element, properties);
  element.append(...children);
  return element;
}

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

/**
 * The same for the elements of a vector picture.
 *
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag @param {Record<string, any>} properties
 * @param {...(Node|string)} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function svg(tag, properties = {}, ...children) {
  const element = document.createElementNS(SVG_NAMESPACE, tag);
  setAttributes(element, properties);
  element.append(...children);
  return element;
}

/** @param {Element} element @param {Record<string, any>} properties */
function setAttributes(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) {
        element.addEventListener(event, listener);
      }
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

/**
 * The element with this id; a missing one is a bug in the page.
 * @param {string} id
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no element "${id}"`);
  return element;
}

/**
 * The drawing context of a canvas; all supported browsers have one.
 * @param {HTMLCanvasElement} canvas
 */
export function contextOf(canvas) {
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser does not draw");
  return context;
}

/**
 * A labelled choice among pairs of a value and a text.
 * @param {string} label @param {string} testid
 * @param {(string | number)[][]} pairs @param {(value: string) => void} onChange
 */
export function select(label, testid, pairs, onChange) {
  /** @type {HTMLSelectElement} */
  const choice = el(
    "select",
    { "data-testid": testid, on: { change: () => onChange(choice.value) } },
    ...pairs.map(([value, text]) => el("option", { value }, String(text))),
  );
  return {
    element: el("label", { class: "field" }, el("span", {}, label), choice),
    choice,
  };
}

/**
 * A push button; `glyph` is drawn, `label` is read aloud and shown on hover.
 * @param {string} label @param {string} testid @param {() => void} onClick
 * @param {{glyph?: string | null, kind?: string}} look
 */
export function button(label, testid, onClick, { glyph = null, kind = "" } = {}) {
  return el(
    "button",
    {
      type: "button",
      class: kind || null,
      "data-testid": testid,
      "aria-label": glyph === null ? null : label,
      title: glyph === null ? null : label,
      on: { click: onClick },
    },
    glyph === null ? label : glyph,
  );
}

const WHOLE = new Intl.NumberFormat("en");

/** 60000 -> "60,000" @param {number} value */
export const whole = (value) => WHOLE.format(value);

/** 0.1234 -> "12.3 %" @param {number | null} value */
export const percent = (value) =>
  value !== null && Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : "none";

/** 0.91234 -> "0.912" @param {number | null} value */
export const fraction = (value) =>
  value !== null && Number.isFinite(value) ? value.toFixed(3) : "none";

/**
 * An attack level: 0.1, without the zeros that a binary fraction leaves behind, and
 * 8/255 where it is so many steps of a byte and no short decimal.
 * @param {number} value
 */
export function level(value) {
  const decimal = String(Number(value.toPrecision(6)));
  const steps = Math.round(255 * value);
  const isStep = steps > 0 && Math.abs(255 * value - steps) < 1e-4 * Math.min(steps, 9);
  return isStep && decimal.length > 5 ? `${steps}/255` : decimal;
}

/** A number of whatever size, to three digits. @param {number} value */
export const short = (value) => String(Number(value.toPrecision(3)));

/** 1 node, 2 nodes. @param {number} value @param {string} noun */
export const count = (value, noun) =>
  `${whole(value)} ${noun}${value === 1 ? "" : "s"}`;

/** Panels that are shown one at a time, by the usual keys of a tab list. */
export class Tabs {
  /** Told when another panel is shown. @type {(() => void) | null} */
  onShow = null;

  /** @param {[string, string, HTMLElement][]} entries name, title, panel */
  constructor(entries) {
    this.entries = entries;
    this.shown = entries[0][0];
    this.faces = entries.map(([name, title]) =>
      el(
        "button",
        {
          type: "button",
          role: "tab",
          id: `tab-${name}`,
          "aria-controls": `panel-${name}`,
          "data-testid": `tab-${name}`,
          on: {
            click: () => this.show(name),
            keydown: (/** @type {KeyboardEvent} */ event) => this.#press(event),
          },
        },
        title,
      ),
    );
    this.panels = entries.map(([name, , content]) =>
      el(
        "div",
        {
          role: "tabpanel",
          id: `panel-${name}`,
          "aria-labelledby": `tab-${name}`,
          class: "panel",
          tabindex: 0,
        },
        content,
      ),
    );
    this.element = el(
      "section",
      { class: "tabs", "aria-label": "Details" },
      el(
        "div",
        { role: "tablist", class: "tablist", "aria-label": "Details" },
        ...this.faces,
      ),
      ...this.panels,
    );
    this.show(this.shown);
  }

  /** @param {string} name */
  show(name) {
    const known = this.entries.some(([entry]) => entry === name);
    this.shown = known ? name : this.entries[0][0];
    this.entries.forEach(([entry], k) => {
      const here = entry === this.shown;
      this.faces[k].setAttribute("aria-selected", String(here));
      this.faces[k].tabIndex = here ? 0 : -1;
      this.panels[k].hidden = !here;
    });
    this.onShow?.();
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
    const step = event.key === "ArrowRight" ? 1 : -1;
    const at = this.entries.findIndex(([name]) => name === this.shown);
    const next = (at + step + this.entries.length) % this.entries.length;
    this.show(this.entries[next][0]);
    this.faces[next].focus();
    event.preventDefault();
  }
}
