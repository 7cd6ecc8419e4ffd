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
