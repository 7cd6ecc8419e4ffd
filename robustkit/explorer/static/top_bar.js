/** What concerns the whole page: panes, taking away, light and dark, help. */

import { button, el, select } from "./dom.js";

/** @returns {HTMLElement[]} */
export function buildTopBar(session, { downloads, help }) {
  const { theme } = session;
  const panes = [
    [false, "One pane", "panes-one"],
    [true, "Two panes", "panes-two"],
  ].map(([two, text, testid]) => button(text, testid, () => session.showTwo(two)));
  const linked = el("input", {
    type: "checkbox",
    "data-testid": "link-parameters",
    on: { change: () => session.linkPanes(linked.checked) },
  });
  const linkedField = el("label", { class: "check" }, linked, "Same parameters");
  const look = select(
    "Theme",
    "theme",
    [
      ["auto", "System"],
      ["light", "Light"],
      ["dark", "Dark"],
    ],
    (value) => theme.choose(value),
  );
  look.element.classList.add("inline");
  look.choice.value = theme.choice;
  const sync = () => {
    panes.forEach((face, k) =>
      face.setAttribute("aria-pressed", String(session.two === (k === 1))),
    );
    linked.checked = session.linked;
    linkedField.hidden = !session.two;
  };
  session.on("layout", sync);
  sync();
  return [
    linkedField,
    el("div", { class: "segments", role: "group", "aria-label": "Panes" }, ...panes),
    downloads,
    look.element,
    button("Help and keys", "help", () => help.showModal(), {
      glyph: "?",
      kind: "round",
    }),
  ];
}
