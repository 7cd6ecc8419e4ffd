/**
 * Preferences that are stored in the browser: light or dark, and whether shortcuts of
 * single keys are on. Storage may be unavailable.
 */

/** @param {string} name @param {string} otherwise */
function remembered(name, otherwise) {
  try {
    return localStorage.getItem(`robustkit.${name}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** @param {string} name @param {string} value */
function remember(name, value) {
  try {
    localStorage.setItem(`robustkit.${name}`, value);
  } catch {
    // Not available in private windows and sandboxed frames.
  }
}

const system = matchMedia("(prefers-color-scheme: dark)");

/**
 * The colours that a canvas needs.
 *
 * @typedef {{dark: boolean, paper: string, text: string, quiet: string, edge: string,
 *     outline: string, selection: string, mark: string, focus: string}} Ink
 */

/** Light and dark: what the system asks for, unless the reader has chosen. */
export class Theme extends EventTarget {
  constructor() {
    super();
    this.choice = remembered("theme", "auto");
    system.addEventListener("change", () => this.#apply());
    this.#apply();
  }

  get dark() {
    return this.choice === "auto" ? system.matches : this.choice === "dark";
  }

  /** @param {string} choice "auto", "light" or "dark" */
  choose(choice) {
    this.choice = choice;
    remember("theme", choice);
    this.#apply();
  }

  /** Read where the style sheet states them. @returns {Ink} */
  get ink() {
    const style = getComputedStyle(document.documentElement);
    /** @param {string} name */
    const read = (name) => style.getPropertyValue(name).trim();
    return {
      dark: this.dark,
      paper: read("--canvas"),
      text: read("--text"),
      quiet: read("--text-quiet"),
      edge: read("--edge"),
      outline: read("--outline"),
      selection: read("--selection"),
      mark: read("--mark"),
      focus: read("--focus"),
    };
  }

  #apply() {
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    this.dispatchEvent(new Event("change"));
  }
}

/** Shortcuts of single keys; they can be turned off in the help. */
export class Shortcuts {
  /** @param {Array<[string, string, () => void]>} table key, meaning, action */
  constructor(table) {
    this.table = table;
    this.on = remembered("shortcuts", "on") === "on";
    document.addEventListener("keydown", (event) => this.#press(event));
  }

  /** @param {boolean} on */
  turn(on) {
    this.on = on;
    remember("shortcuts", on ? "on" : "off");
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (!this.on || event.defaultPrevented) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
    const busy = "input, select, textarea, dialog[open]";
    if (target instanceof Element && target.closest(busy)) return;
    const found = this.table.find(([key]) => key === event.key);
    if (found === undefined) return;
    event.preventDefault();
    found[2]();
  }
}
