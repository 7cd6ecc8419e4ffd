/**
 * Keyboard and screen reader access to the canvas: a list box that contains every node.
 * Arrows go to the nearest node in their direction, Enter and Space select.
 */

import { count, el, fraction, percent } from "./elements.js";

/**
 * @import { Pane } from "./pane.js"
 * @import { Scene } from "./scene.js"
 */

/** @type {Record<string, number[]>} */
const DIRECTIONS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** @param {Pane} pane @param {() => void} redraw */
export function buildNodeList(pane, redraw) {
  const { side } = pane;
  const list = el("ul", {
    class: "visually-hidden",
    role: "listbox",
    tabindex: 0,
    "aria-multiselectable": "true",
    "aria-label": `Nodes of the ${side} graph. Arrow keys move, Enter selects, Shift Enter adds.`,
    "data-testid": `nodes-${side}`,
    on: {
      keydown: (/** @type {KeyboardEvent} */ event) => press(pane, event),
      focus: () => {
        if (pane.scene.active < 0 && pane.scene.length > 0)
          pane.activate(pane.scene.order[0]);
        redraw();
      },
      blur: redraw,
    },
  });
  /** @param {number} i */
  const option = (i) => `node-${side}-${i}`;
  const sync = () => {
    list.replaceChildren(
      ...pane.scene.order.map((i) =>
        el(
          "li",
          {
            role: "option",
            id: option(i),
            "aria-selected": String(pane.scene.selection.has(i)),
            on: { click: () => pane.select([i]) },
          },
          words(pane.describe(i)),
        ),
      ),
    );
    syncActive();
  };
  const syncSelection = () => {
    for (const item of list.querySelectorAll('[aria-selected="true"]')) {
      item.setAttribute("aria-selected", "false");
    }
    for (const i of pane.scene.selection) {
      document.getElementById(option(i))?.setAttribute("aria-selected", "true");
    }
  };
  const syncActive = () => {
    const { active } = pane.scene;
    if (active < 0) list.removeAttribute("aria-activedescendant");
    else list.setAttribute("aria-activedescendant", option(active));
  };
  pane.on("graph", sync);
  pane.on("selection", syncSelection);
  pane.on("active", syncActive);
  return list;
}

/** @param {ReturnType<Pane["describe"]>} node */
export function words({ id, size, accuracy, purity, stability, name }) {
  const known = `Node ${id}: ${count(size, "sample")}, mostly ${name}, accuracy ${percent(accuracy)}, purity ${fraction(purity)}`;
  return stability === undefined
    ? known
    : `${known}, in ${percent(stability)} of resamples`;
}

/** @param {Pane} pane @param {KeyboardEvent} event */
function press(pane, event) {
  const { scene } = pane;
  if (scene.length === 0 || event.metaKey || event.altKey) return;
  if (event.ctrlKey) {
    if (event.key in DIRECTIONS) move(pane, DIRECTIONS[event.key], event);
    return;
  }
  const order = scene.order;
  /** @param {number} i */
  const go = (i) => {
    pane.activate(i);
    pane.reveal(i);
  };
  if (event.key in DIRECTIONS) {
    const next = neighbour(scene, DIRECTIONS[event.key]);
    if (event.shiftKey) pane.select([...new Set([...scene.selection, next])]);
    go(next);
  } else if (event.key === "Enter" || event.key === " ") {
    pane.select([scene.active], { add: event.shiftKey });
  } else if (event.key === "Home") go(order[0]);
  else if (event.key === "End") go(order[order.length - 1]);
  else if (event.key === "+" || event.key === "=") pane.zoom(1.4);
  else if (event.key === "-") pane.zoom(1 / 1.4);
  else if (event.key === "0") pane.fit();
  else return;
  event.preventDefault();
}

/**
 * With Control, arrows move the node itself; with Shift too, the view.
 * @param {Pane} pane @param {number[]} direction @param {KeyboardEvent} event
 */
function move(pane, [dx, dy], event) {
  const { scene } = pane;
  const step = 12;
  if (event.shiftKey) pane.pan(-4 * step * dx, -4 * step * dy);
  else if (scene.active >= 0) {
    const [x, y] = scene.camera.toScreen(
      scene.xs[scene.active],
      scene.ys[scene.active],
    );
    pane.dragNode(scene.active, x + step * dx, y + step * dy);
  }
  event.preventDefault();
}

/**
 * The node nearest in a direction; sideways distance counts double.
 * @param {Scene} scene @param {number[]} direction
 */
function neighbour(scene, [dx, dy]) {
  const from = Math.max(0, scene.active);
  let best = from;
  let nearest = Infinity;
  for (let i = 0; i < scene.length; i += 1) {
    const x = scene.xs[i] - scene.xs[from];
    const y = scene.ys[i] - scene.ys[from];
    const along = x * dx + y * dy;
    const aside = Math.abs(x * dy - y * dx);
    if (i === from || along <= 0 || aside > 2 * along) continue;
    const cost = along + 2 * aside;
    if (cost < nearest) [best, nearest] = [i, cost];
  }
  return best;
}
