/**
 * The view as an address: everything that was set lies in the fragment, which no
 * browser sends to a server, and a page opened with it shows the same.
 */

import { NO_FILTER, PARAMETERS } from "./pane.js";
import { colouringsOf } from "./scene.js";

/**
 * @import { Pane } from "./pane.js"
 * @import { Parameters, Run } from "./questions.js"
 * @import { Camera } from "./scene.js"
 * @import { Session } from "./session.js"
 */

/** @param {number} value */
const digits = (value) => String(Number(value.toPrecision(5)));

/**
 * @param {Session} session @param {string} tab
 * @returns {string} the fragment, without "#"
 */
export function writeLink(session, tab) {
  const out = new URLSearchParams();
  if (session.two || session.run.opening.length > 1)
    out.set("panes", session.two ? "2" : "1");
  if (!session.linked) out.set("linked", "0");
  if (session.matched) out.set("matched", "1");
  if (session.side === "right") out.set("focus", "right");
  if (tab !== "selection") out.set("tab", tab);
  for (const pane of session.shown) writePane(out, pane);
  return out.toString();
}

/** @param {URLSearchParams} out @param {Pane} pane */
function writePane(out, pane) {
  const { side, scene } = pane;
  /** @param {string} name @param {string | number} value */
  const set = (name, value) => out.set(`${side}.${name}`, String(value));
  set("view", pane.view);
  // Where there is no second filter from the start, nothing needs to be said of it.
  const seconds = [pane.parameters, pane.run.defaults].map((p) => p.second_filter);
  const hasSecond = seconds.some((name) => name !== NO_FILTER);
  for (const name of PARAMETERS) {
    if (hasSecond || !name.startsWith("second_")) set(name, pane.parameters[name]);
  }
  if (pane.colouring !== "labels") set("colour", pane.colouring);
  if (scene.emphasis !== null) set("class", scene.emphasis);
  if (scene.selection.size > 0) set("nodes", ranges(pane.selected));
  if (!pane.fitted) set("camera", cameraNumbers(scene.camera).map(digits).join(","));
  // The layout of the first graph is always the same; that of later graphs depends on
  // the graphs before them.
  if (pane.inherited && scene.length > 0)
    set("places", writePlaces(scene.nodes.x, scene.nodes.y));
  // The length of an address is limited: only the nodes dragged last are included.
  const moved = [...scene.moved]
    .map(([id, [x, y]]) => [scene.indexOf.get(id), digits(x), digits(y)])
    .filter(([i]) => i !== undefined)
    .slice(-50);
  if (moved.length > 0) set("moved", moved.map((part) => part.join(",")).join(";"));
}

/**
 * Lengths are relative to the width of the pane, which may differ next time.
 * @param {Camera} camera
 */
const cameraNumbers = ({ x, y, scale, stretch, fitScale, width }) => [
  x,
  y,
  scale / width,
  stretch,
  fitScale / width,
];

/**
 * Restore the session from the fragment; missing or invalid values are ignored.
 * @param {Session} session @param {string} fragment
 */
export function readLink(session, fragment) {
  const values = new URLSearchParams(fragment);
  session.linked = values.get("linked") !== "0";
  session.matched = values.get("matched") === "1" && session.run.can_match;
  if (values.has("panes")) session.two = values.get("panes") === "2";
  if (session.two && values.get("focus") === "right") session.side = "right";
  for (const pane of Object.values(session.panes)) readPane(values, pane);
  return values.get("tab") ?? "selection";
}

/** @param {URLSearchParams} values @param {Pane} pane */
function readPane(values, pane) {
  const { run, scene, side } = pane;
  /** @param {string} name */
  const get = (name) => values.get(`${side}.${name}`);
  const view = run.views.find(({ id }) => String(id) === get("view"));
  if (view !== undefined) pane.view = view.id;
  Object.assign(pane.parameters, readParameters(run, get));
  const colouring = get("colour") ?? "";
  if (colouringsOf(run).some(([name]) => name === colouring))
    pane.colouring = colouring;
  const emphasis = get("class") === null ? NaN : Number(get("class"));
  if (emphasis in run.class_names) scene.emphasis = emphasis;
  const camera = numbers(get("camera"));
  pane.wanted = {
    selection: inRanges(get("nodes")),
    camera: camera.length === 5 && camera.slice(2).every((v) => v > 0) ? camera : null,
    moved: (get("moved") ?? "")
      .split(";")
      .map(numbers)
      .filter((part) => part.length === 3)
      .map(([i, x, y]) => [i, [x, y]]),
    places: readPlaces(get("places") ?? ""),
  };
}

/**
 * @param {Run} run @param {(name: string) => string | null} get
 * @returns {Partial<Parameters>}
 */
function readParameters(run, get) {
  if (run.embedded) return {};
  /** @type {Record<string, string | number>} */
  const out = {};
  for (const [name, allowed] of Object.entries({
    filter: run.filters,
    second_filter: [NO_FILTER, ...run.filters],
    cover: run.covers,
  })) {
    const value = get(name) ?? "";
    if (allowed.includes(value)) out[name] = value;
  }
  for (const [name, [low, high]] of Object.entries(run.limits)) {
    const value = get(name) === null ? NaN : Number(get(name));
    if (value >= low && value <= high) out[name] = value;
  }
  if (get("eps") === "auto") out.eps = "auto";
  else if (Number(get("eps")) > 0) out.eps = Number(get("eps"));
  return out;
}

/** @param {string | null} text */
function numbers(text) {
  const parts = (text ?? "")
    .split(",")
    .filter((part) => part !== "")
    .map(Number);
  return parts.every(Number.isFinite) ? parts : [];
}

/**
 * [1, 2, 3, 7] -> "1-3,7": all of two thousand nodes stay a short text.
 * @param {number[]} ascending
 */
function ranges(ascending) {
  const parts = [];
  for (const i of ascending) {
    const last = parts.at(-1);
    if (last?.[1] === i - 1) last[1] = i;
    else parts.push([i, i]);
  }
  return parts.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join(",");
}

// More than any graph has; limits the memory that a malicious link can take.
const MOST_NODES = 1e6;

/** @param {string | null} text */
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

/**
 * Where nodes lie, as a short text for an address: 12 bits across and 12 down for each,
 * within the box that holds them all.
 */

const STEPS = 4095;

/**
 * @param {number[]} xs @param {number[]} ys
 * @returns {string} left, top, width, height and the places, four letters a node
 */
export function writePlaces(xs, ys) {
  const [left, width] = extent(xs);
  const [top, height] = extent(ys);
  const bytes = new Uint8Array(3 * xs.length);
  for (let i = 0; i < xs.length; i += 1) {
    const x = Math.round(((xs[i] - left) / width) * STEPS);
    const y = Math.round(((ys[i] - top) / height) * STEPS);
    bytes.set([x >> 4, ((x & 15) << 4) | (y >> 8), y & 255], 3 * i);
  }
  const letters = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  const box = [left, top, width, height].map((v) => Number(v.toPrecision(6)));
  return [...box, letters.replaceAll("+", "-").replaceAll("/", "_")].join(",");
}

/**
 * @param {string} text
 * @returns {{x: number[], y: number[]} | null} null for what is no such text
 */
export function readPlaces(text) {
  const [left, top, width, height, letters = ""] = text.split(",");
  const box = [left, top, width, height].map(Number);
  if (letters === "" || !box.every(Number.isFinite)) return null;
  let bytes;
  try {
    bytes = atob(letters.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return null;
  }
  /** @type {{x: number[], y: number[]}} */
  const { x, y } = { x: [], y: [] };
  for (let k = 0; k + 2 < bytes.length; k += 3) {
    const [a, b, c] = [0, 1, 2].map((j) => bytes.charCodeAt(k + j));
    x.push(rounded(box[0] + (box[2] * ((a << 4) | (b >> 4))) / STEPS));
    y.push(rounded(box[1] + (box[3] * (((b & 15) << 8) | c)) / STEPS));
  }
  return { x, y };
}

/** @param {number} value */
const rounded = (value) => Number(value.toPrecision(7));

/** @param {number[]} values */
function extent(values) {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return [low, Math.max(1e-9, high - low)];
}
