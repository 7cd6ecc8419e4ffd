/**
 * Mouse, pen and fingers on a pane's canvas: pan, zoom, drag a node, select one
 * or, with a box or a lasso, many. What it means is left to the pane.
 */

// A press that moves less than this is a click.
const SLACK = 4;

/**
 * What gestures mean.
 *
 * @typedef {Object} Actions
 * @property {() => string} tool what a press on the ground begins
 * @property {(x: number, y: number) => number} hitTest the node there; -1 for none
 * @property {(i: number, x: number, y: number) => void} hover
 * @property {(i: number, add: boolean) => void} click
 * @property {(i: number, x: number, y: number) => void} dragNode
 * @property {(dx: number, dy: number) => void} pan
 * @property {(factor: number, x: number, y: number) => void} zoom
 * @property {(points: number[][]) => void} outline
 * @property {(outline: number[][], add: boolean) => void} selectWithin
 *
 * @typedef {{x: number, y: number, node: number, moved: boolean, path: number[][],
 *     tool: string}} Press
 */

/** @param {HTMLElement} surface @param {Actions} actions */
export function listenToPointer(surface, actions) {
  /** By the pointer's id. @type {Map<number, number[]>} */
  const fingers = new Map();
  /** @type {Press | null} */
  let press = null;

  /** @param {MouseEvent} event */
  const at = (event) => {
    const box = surface.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  surface.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 && event.pointerType === "mouse") return;
    const [x, y] = at(event);
    surface.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [x, y]);
    if (fingers.size === 2) {
      press = null;
      actions.outline([]);
      return;
    }
    const node = actions.hitTest(x, y);
    press = {
      x,
      y,
      node,
      moved: false,
      path: [[x, y]],
      tool: toolOf(event, node, actions),
    };
  });

  surface.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (fingers.size === 2 && fingers.has(event.pointerId)) {
      pinch(fingers, event.pointerId, [x, y], actions);
      return;
    }
    if (press === null) {
      if (event.pointerType !== "touch") actions.hover(actions.hitTest(x, y), x, y);
      return;
    }
    if (!press.moved && Math.hypot(x - press.x, y - press.y) < SLACK) return;
    press.moved = true;
    const [fromX, fromY] = fingers.get(event.pointerId) ?? [x, y];
    fingers.set(event.pointerId, [x, y]);
    movePress(press, x, y, x - fromX, y - fromY, actions);
  });

  /** @param {PointerEvent} event */
  const finish = (event) => {
    const gone = fingers.delete(event.pointerId);
    if (!gone || press === null) return;
    const [x, y] = at(event);
    const add = event.shiftKey || event.ctrlKey || event.metaKey;
    if (!press.moved) actions.click(press.node, add);
    else if (press.tool === "box" || press.tool === "lasso") {
      actions.selectWithin(outlineOf(press, x, y), add);
    }
    actions.outline([]);
    press = null;
  };
  surface.addEventListener("pointerup", finish);
  surface.addEventListener("pointercancel", (event) => {
    fingers.delete(event.pointerId);
    press = null;
    actions.outline([]);
  });
  surface.addEventListener("pointerleave", () => actions.hover(-1, 0, 0));

  surface.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const [x, y] = at(event);
      const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
      actions.zoom(Math.exp(-Math.max(-200, Math.min(200, pixels)) / 400), x, y);
      // Another node, or none, may now be under the pointer.
      actions.hover(actions.hitTest(x, y), x, y);
    },
    { passive: false },
  );
}

/**
 * Shift draws a box and Alt a lasso whatever the tool, except on a node.
 * @param {PointerEvent} event @param {number} node @param {Actions} actions
 */
function toolOf(event, node, actions) {
  const tool = actions.tool();
  if (event.altKey) return "lasso";
  if (event.shiftKey && node < 0) return "box";
  return tool === "move" && node >= 0 ? "node" : tool;
}

/**
 * @param {Press} press @param {number} x @param {number} y @param {number} dx
 * @param {number} dy @param {Actions} actions
 */
function movePress(press, x, y, dx, dy, actions) {
  if (press.tool === "node") actions.dragNode(press.node, x, y);
  else if (press.tool === "move") actions.pan(dx, dy);
  else {
    press.path.push([x, y]);
    actions.outline(outlineOf(press, x, y));
  }
}

/** @param {Press} press @param {number} x @param {number} y */
function outlineOf(press, x, y) {
  if (press.tool === "lasso") return press.path;
  return [
    [press.x, press.y],
    [x, press.y],
    [x, y],
    [press.x, y],
  ];
}

/**
 * Two fingers: their distance zooms and their middle pans.
 * @param {Map<number, number[]>} fingers @param {number} moving @param {number[]} place
 * @param {Actions} actions
 */
function pinch(fingers, moving, place, actions) {
  const before = measure(fingers);
  fingers.set(moving, place);
  const after = measure(fingers);
  actions.pan(after.x - before.x, after.y - before.y);
  if (before.apart > 0) actions.zoom(after.apart / before.apart, after.x, after.y);
}

/** @param {Map<number, number[]>} fingers */
function measure(fingers) {
  const [[x1, y1], [x2, y2]] = fingers.values();
  return { x: (x1 + x2) / 2, y: (y1 + y2) / 2, apart: Math.hypot(x1 - x2, y1 - y2) };
}

/**
 * Whether a point lies inside a closed outline (even-odd rule).
 * @param {number[][]} outline @param {number} x @param {number} y
 */
export function inside(outline, x, y) {
  let within = false;
  for (let i = 0, j = outline.length - 1; i < outline.length; j = i, i += 1) {
    const [xi, yi] = outline[i];
    const [xj, yj] = outline[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi)
      within = !within;
  }
  return within;
}
