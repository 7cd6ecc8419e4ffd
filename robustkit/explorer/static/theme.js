/** Light and dark: what the system asks for, unless the reader has chosen. */

import { Emitter } from "./emitter.js";
import { remember, remembered } from "./memory.js";

const system = matchMedia("(prefers-color-scheme: dark)");

export class Theme extends Emitter {
  constructor() {
    super();
    this.choice = remembered("theme", "auto");
    system.addEventListener("change", () => this.#apply());
    this.#apply();
  }

  get dark() {
    return this.choice === "auto" ? system.matches : this.choice === "dark";
  }

  choose(choice) {
    this.choice = choice;
    remember("theme", choice);
    this.#apply();
  }

  /** The colours that the canvas needs, read where the style sheet states them. */
  get ink() {
    const style = getComputedStyle(document.documentElement);
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
    this.emit("change");
  }
}
