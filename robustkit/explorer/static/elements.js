/**
 * Building the page's elements.
 *
 * Every text goes in as a text node, so that a class name or a title that
 * contains markup is shown as it is and never read as markup.
 */

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Object<string, *>} properties attributes; `on` holds listeners by
 *     event name; a value of false, null or undefined leaves the attribute out.
 * @param {...(Node|string)} children
 * @returns {HTMLElement}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  setAttributes(element, properties);
  element.append(...children);
  return element;
}

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

/** The same for the elements of a vector picture. */
export function svg(tag, properties = {}, ...children) {
  const element = document.createElementNS(SVG_NAMESPACE, tag);
  setAttributes(element, properties);
  element.append(...children);
  return element;
}

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

/** The element with this id; a missing one is a mistake in the page itself. */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no element "${id}"`);
  return element;
}

/** A labelled choice among `[value, text]` pairs. */
export function select(label, testid, pairs, onChange) {
  const choice = el(
    "select",
    { "data-testid": testid, on: { change: () => onChange(choice.value) } },
    ...pairs.map(([value, text]) => el("option", { value }, text)),
  );
  return {
    element: el("label", { class: "field" }, el("span", {}, label), choice),
    choice,
  };
}

/** A push button; `glyph` is drawn, `label` is read aloud and shown on hover. */
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

/** How numbers are written on the page: one way each, everywhere. */

const WHOLE = new Intl.NumberFormat("en");

/** 60000 -> "60,000" */
export const whole = (value) => WHOLE.format(value);

/** 0.1234 -> "12.3 %" */
export const percent = (value) =>
  Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : "none";

/** 0.91234 -> "0.912" */
export const fraction = (value) => (Number.isFinite(value) ? value.toFixed(3) : "none");

/** An attack level, without the zeros that a binary fraction leaves behind. */
export const level = (value) => String(Number(value.toPrecision(6)));

/** 1 node, 2 nodes. */
export const count = (value, noun) =>
  `${whole(value)} ${noun}${value === 1 ? "" : "s"}`;

/** The panels at the side, one at a time, by the usual keys of a tab list. */

export class Tabs {
  /** @param {Array<[string, string, HTMLElement]>} entries name, title, panel */
  constructor(entries, onShow) {
    this.entries = entries;
    this.onShow = onShow;
    this.faces = entries.map(([name, title]) =>
      el(
        "button",
        {
          type: "button",
          role: "tab",
          id: `tab-${name}`,
          "aria-controls": `panel-${name}`,
          "data-testid": `tab-${name}`,
          on: { click: () => this.show(name), keydown: (event) => this.#press(event) },
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
    this.show(entries[0][0]);
  }

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

  #press(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    const at = this.entries.findIndex(([name]) => name === this.shown);
    const next = (at + step + this.entries.length) % this.entries.length;
    this.show(this.entries[next][0]);
    this.faces[next].focus();
    event.preventDefault();
  }
}
