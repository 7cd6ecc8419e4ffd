/** The panels at the side, one at a time, by the usual keys of a tab list. */

import { el } from "./dom.js";

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
