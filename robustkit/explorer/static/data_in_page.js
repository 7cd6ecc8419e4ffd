/**
 * The data source of an exported page, which contains its data: one graph per view, at
 * the parameters that it was exported with. It needs neither a server nor the network.
 */

import { byId } from "./elements.js";
import { SourceError, viewOf } from "./questions.js";

/**
 * @typedef {Object} PageData arrays are little-endian numbers in base64
 * @property {import("./questions.js").Run} run
 * @property {Record<string, string>} columns by name, or name and view
 * @property {Record<string, import("./questions.js").Graph>} graphs by view
 * @property {Record<string, string>} members by the key of their graph
 * @property {{ids: string, bytes: Record<string, string>} | null} images by view
 */

/** @returns {import("./questions.js").Source} */
export function openData() {
  /** @type {PageData} */
  const data = JSON.parse(byId("robustkit-data").textContent);
  const images = new EmbeddedImages(data);
  return {
    run: async () => data.run,
    column: async (name, view) =>
      decoded(data.columns[view === undefined ? name : `${name} ${view}`]).buffer,
    graph: async (_, { view, beside }) => {
      const graph = data.graphs[view];
      const other = Object.values(data.graphs).find((each) => each.graph === beside);
      return other === undefined
        ? graph
        : { ...graph, beside: besideOf(data.run, other, graph) };
    },
    members: async ({ graph }) => decoded(data.members[graph]).buffer,
    purities: async (views) => views.map((view) => data.graphs[view].purity),
    images: async (view, ids) => images.of(view, ids),
    page: async () => {
      throw new SourceError("This page is the file already.");
    },
  };
}

/**
 * The levels of a model have their nodes matched already: they bear the same numbers.
 * @param {import("./questions.js").Run} run
 * @param {import("./questions.js").Graph} other
 * @param {import("./questions.js").Graph} graph
 */
function besideOf(run, other, graph) {
  const [one, two] = [other, graph].map(({ parameters: { view } }) =>
    viewOf(run, view),
  );
  const same = one.model === two.model && one.layer === two.layer;
  const at = new Map(other.nodes.id.map((id, i) => [id, i]));
  /** @type {import("./questions.js").Beside} */
  const beside = { graph: other.graph, other_nodes: [], nodes: [] };
  graph.nodes.id.forEach((id, i) => {
    const j = at.get(id);
    if (!same || j === undefined) return;
    beside.other_nodes.push(j);
    beside.nodes.push(i);
  });
  return beside;
}

/** Images that are embedded; null for samples left out to keep the file small. */
class EmbeddedImages {
  /** @type {Map<string, Uint8Array>} */
  #decoded = new Map();
  #position;

  /** @param {PageData} data */
  constructor({ run, images }) {
    this.bytes = images?.bytes ?? {};
    this.size = (run.image_shape ?? []).reduce((a, b) => a * b, 1);
    const ids = new Int32Array(decoded(images?.ids ?? "").buffer);
    this.#position = new Map(Array.from(ids, (id, k) => [id, k]));
  }

  /** @param {number | "clean"} view @param {number[]} ids */
  of(view, ids) {
    const bytes = this.#of(view in this.bytes ? String(view) : "clean");
    return ids.map((i) => {
      const k = this.#position.get(i);
      return k === undefined
        ? null
        : bytes.subarray(k * this.size, (k + 1) * this.size);
    });
  }

  /** Decoded when they are first asked for. @param {string} name */
  #of(name) {
    const bytes = this.#decoded.get(name) ?? decoded(this.bytes[name]);
    this.#decoded.set(name, bytes);
    return bytes;
  }
}

/** @param {string} base64 */
function decoded(base64) {
  const raw = atob(base64);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  return bytes;
}
