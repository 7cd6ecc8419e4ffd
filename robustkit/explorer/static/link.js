/**
 * The view as an address: everything that was set lies in the fragment, which no
 * browser sends to a server, and a page opened with it shows the same.
 */

import { PARAMETERS } from "./pane.js";
import { COLOURINGS } from "./scene.js";

const digits = (value) => String(Number(value.toPrecision(5)));

/** @returns {string} the fragment, without "#" */
export function writeLink(session, tab) {
  const out = new URLSearchParams();
  if (session.two) out.set("panes", "2");
  if (!session.linked) out.set("linked", "0");
  if (session.side === "right") out.set("focus", "right");
  if (tab !== "selection") out.set("tab", tab);
  for (const pane of session.shown) writePane(out, pane);
  return out.toString();
}

function writePane(out, pane) {
  const { side, scene } = pane;
  const set = (name, value) => out.set(`${side}.${name}`, value);
  set("view", pane.view);
  for (const name of PARAMETERS) set(name, pane.parameters[name]);
  if (scene.colouring !== "labels") set("colour", scene.colouring);
  if (scene.emphasis !== null) set("class", scene.emphasis);
  if (scene.selection.size > 0) set("nodes", ranges(pane.selected));
  if (!pane.fitted)
    set(
      "camera",
      [scene.camera.x, scene.camera.y, scene.camera.zoom].map(digits).join(","),
    );
  if (scene.moved.size > 0) {
    // An address has its limits; the nodes dragged last are the ones that matter.
    const last = [...scene.moved].slice(-50);
    set(
      "moved",
      last.map(([id, [x, y]]) => [id, digits(x), digits(y)].join(",")).join(";"),
    );
  }
}

/** Set the session as the fragment says; what is missing or foreign is left as it is. */
export function readLink(session, fragment) {
  const values = new URLSearchParams(fragment);
  session.linked = values.get("linked") !== "0";
  session.two = values.get("panes") === "2";
  if (session.two && values.get("focus") === "right") session.side = "right";
  for (const pane of Object.values(session.panes)) readPane(values, pane);
  return values.get("tab") ?? "selection";
}

function readPane(values, pane) {
  const { run, scene, side } = pane;
  const get = (name) => values.get(`${side}.${name}`);
  const view = run.views.find(({ id }) => String(id) === get("view"));
  if (view !== undefined) pane.view = view.id;
  Object.assign(pane.parameters, readParameters(run, get));
  if (COLOURINGS.some(([name]) => name === get("colour")))
    scene.colouring = get("colour");
  const emphasis = get("class") === null ? NaN : Number(get("class"));
  if (emphasis in run.class_names) scene.emphasis = emphasis;
  const camera = numbers(get("camera"));
  pane.wanted = {
    selection: inRanges(get("nodes")),
    camera: camera.length === 3 && camera[2] > 0 ? camera : null,
    moved: (get("moved") ?? "")
      .split(";")
      .map(numbers)
      .filter((part) => part.length === 3)
      .map(([id, x, y]) => [id, [x, y]]),
  };
}

function readParameters(run, get) {
  if (run.embedded) return {};
  const out = {};
  for (const [name, allowed] of [
    ["filter", run.filters],
    ["cover", run.covers],
  ]) {
    if (allowed.includes(get(name))) out[name] = get(name);
  }
  for (const [name, [low, high]] of Object.entries(run.limits)) {
    const value = get(name) === null ? NaN : Number(get(name));
    if (value >= low && value <= high) out[name] = value;
  }
  if (get("eps") === "auto") out.eps = "auto";
  else if (Number(get("eps")) > 0) out.eps = Number(get("eps"));
  return out;
}

function numbers(text) {
  const parts = (text ?? "")
    .split(",")
    .filter((part) => part !== "")
    .map(Number);
  return parts.every(Number.isFinite) ? parts : [];
}

/** [1, 2, 3, 7] -> "1-3,7": all of two thousand nodes stay a short text. */
function ranges(ascending) {
  const parts = [];
  for (const i of ascending) {
    const last = parts.at(-1);
    if (last?.[1] === i - 1) last[1] = i;
    else parts.push([i, i]);
  }
  return parts.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join(",");
}

// No graph has more nodes; a foreign link must not make a longer list.
const MOST_NODES = 1e6;

function inRanges(text) {
  const out = [];
  for (const part of (text ?? "").split(",")) {
    const [, a, b] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? [];
    if (a === undefined) continue;
    for (let i = Number(a); i <= Number(b ?? a) && out.length < MOST_NODES; i += 1)
      out.push(i);
  }
  return out;
}
