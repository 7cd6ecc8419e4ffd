/** Single keys for what is done often; they can be turned off in the help. */

import { remember, remembered } from "./memory.js";

export class Shortcuts {
  /** @param {Array<[string, string, () => void]>} table key, meaning, action */
  constructor(table) {
    this.table = table;
    this.on = remembered("shortcuts", "on") === "on";
    document.addEventListener("keydown", (event) => this.#press(event));
  }

  turn(on) {
    this.on = on;
    remember("shortcuts", on ? "on" : "off");
  }

  #press(event) {
    if (
      !this.on ||
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      event.defaultPrevented
    )
      return;
    if (event.target.closest("input, select, textarea, dialog[open]")) return;
    const found = this.table.find(([key]) => key === event.key);
    if (found === undefined) return;
    event.preventDefault();
    found[2]();
  }
}
