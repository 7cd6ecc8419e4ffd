/**
 * The calls of `transport.js`, answered from data that lie in the page.
 *
 * An exported page holds one graph for each view, at the parameters it was
 * exported with, and needs neither a server nor the network.
 */

import { decodeBytes, decodeFloats, decodeInts } from "./base64.js";
import { byId } from "./dom.js";
import { graphAsGraphml, graphAsJson, samplesAsCsv } from "./embedded_files.js";

/** As in `transport.js`: `message` is one line to be shown. */
class TransportError extends Error {
  status = 0;
  superseded = false;
}

export function createTransport() {
  const data = JSON.parse(byId("robustkit-data").textContent);
  const holder = new Holder(data);
  return {
    run: async () => ({ ...data.run, defaults: data.parameters }),
    graph: async (pane, { view }) => holder.view(view).graph,
    members: async (graph, nodes, how) =>
      holder.members(holder.byKey(graph), nodes, how),
    samples: async (graph, ids) =>
      ids.map((i) => holder.sample(holder.byKey(graph), i)),
    searchSample: async (graph, sample) => holder.find(graph, [holder.known(sample)]),
    searchConfusion: async (graph, truth, predicted) => {
      const { prediction } = holder.byKey(graph);
      const all = Array.from(holder.y.keys());
      return holder.find(
        graph,
        all.filter((i) => holder.y[i] === truth && prediction[i] === predicted),
      );
    },
    where: async (graph, { from, nodes, samples }) =>
      holder.find(graph, samples ?? holder.union(holder.byKey(from), nodes)),
    curve: async (model) => holder.curve(model),
    images: async (view, ids) => holder.imagesOf(view, ids),
    file: async (kind, { graph, nodes }) => {
      const view = holder.byKey(graph);
      const members = (i) => [...holder.node(view, i)];
      const samples = () =>
        holder.union(view, nodes).map((i) => holder.sample(view, i));
      const [text, type] = {
        json: () => [graphAsJson(data, view, members), "application/json"],
        graphml: () => [graphAsGraphml(data, view), "application/xml"],
        csv: () => [samplesAsCsv(data, samples()), "text/csv"],
      }[kind]();
      return new Blob([text], { type });
    },
  };
}

class Holder {
  constructor(data) {
    this.data = data;
    this.y = decodeInts(data.y);
    this.views = new Map();
    this.images =
      data.images === null
        ? null
        : {
            position: new Map(
              Array.from(decodeInts(data.images.ids), (id, k) => [id, k]),
            ),
            bytes: new Map(),
          };
  }

  /** A view's columns, decoded when they are first asked for. */
  view(id) {
    if (!this.views.has(id)) {
      const raw = this.data.views[id];
      if (raw === undefined)
        throw new TransportError(`This file does not hold view ${id}.`);
      this.views.set(id, {
        id,
        graph: raw.graph,
        prediction: decodeInts(raw.prediction),
        confidence: decodeFloats(raw.confidence),
        regions: raw.regions === null ? null : decodeInts(raw.regions),
        offsets: decodeInts(raw.offsets),
        ids: decodeInts(raw.members),
      });
    }
    return this.views.get(id);
  }

  byKey(key) {
    const found = this.data.run.views.find(
      ({ id }) => this.data.views[id].graph.graph === key,
    );
    if (found === undefined)
      throw new TransportError("This file does not hold that graph.");
    return this.view(found.id);
  }

  known(sample) {
    if (Number.isInteger(sample) && sample >= 0 && sample < this.y.length)
      return sample;
    throw new TransportError(
      `sample must lie between 0 and ${this.y.length - 1}, got ${sample}`,
    );
  }

  node(view, i) {
    return view.ids.subarray(view.offsets[i], view.offsets[i + 1]);
  }

  union(view, nodes) {
    const all = new Set(nodes.flatMap((i) => [...this.node(view, i)]));
    return [...all].sort((a, b) => a - b);
  }

  sample(view, i) {
    return {
      i,
      y: this.y[i],
      p: view.prediction[i],
      // As the server sends it: rounded, and null where it is not known.
      c: Number.isFinite(view.confidence[i])
        ? Number(view.confidence[i].toFixed(4))
        : null,
      r: view.regions?.[i] ?? null,
    };
  }

  members(view, nodes, { offset, limit, sort }) {
    const ids = this.union(view, nodes);
    const classes = this.data.run.class_names.length;
    const wrong = (i) => Number(view.prediction[i] !== this.y[i]);
    const counts = tally(
      ids.map((i) => this.y[i]),
      classes,
    );
    const errors = ids.reduce((sum, i) => sum + wrong(i), 0);
    // Sorting is stable: within equals, samples stay in the order of their index.
    if (sort === "wrong") ids.sort((a, b) => wrong(b) - wrong(a));
    if (sort === "confidence")
      ids.sort((a, b) => view.confidence[a] - view.confidence[b]);
    return {
      total: ids.length,
      wrong: errors,
      accuracy: 1 - errors / ids.length,
      purity: purity(counts),
      counts,
      predicted_counts: tally(
        ids.map((i) => view.prediction[i]),
        classes,
      ),
      samples: ids.slice(offset, offset + limit).map((i) => this.sample(view, i)),
    };
  }

  find(graph, samples) {
    const view = this.byKey(graph);
    const wanted = new Set(samples);
    const nodes = [];
    const held = [];
    const placed = new Set();
    for (let i = 0; i + 1 < view.offsets.length; i += 1) {
      const within = this.node(view, i).filter((id) => wanted.has(id));
      if (within.length === 0) continue;
      nodes.push(i);
      held.push(within.length);
      within.forEach((id) => placed.add(id));
    }
    return {
      total: samples.length,
      samples: samples.slice(0, 5000),
      nodes,
      held,
      noise: samples.length - placed.size,
    };
  }

  curve(model) {
    const views = this.data.run.views.filter((view) => view.model === model);
    views.sort((a, b) => a.level - b.level);
    return {
      levels: views.map(({ level }) => level),
      views: views.map(({ id }) => id),
      accuracy: views.map(({ accuracy }) => accuracy),
      purity: views.map(({ id }) => this.data.views[id].graph.purity),
    };
  }

  /** Samples whose images were left out to keep the file small are answered by none. */
  imagesOf(view, ids) {
    const size = this.data.run.image_shape.reduce((a, b) => a * b, 1);
    const { position, bytes } = this.images;
    const kept = this.data.images.views[view] === undefined ? "clean" : view;
    if (!bytes.has(kept)) {
      bytes.set(
        kept,
        decodeBytes(
          kept === "clean" ? this.data.images.clean : this.data.images.views[kept],
        ),
      );
    }
    const all = bytes.get(kept);
    return ids.map((i) => {
      const k = position.get(i);
      return k === undefined ? null : all.subarray(k * size, (k + 1) * size);
    });
  }
}

function tally(values, length) {
  const out = new Array(length).fill(0);
  for (const value of values) out[value] += 1;
  return out;
}

/** 1 - H / H(uniform over all classes). */
function purity(counts) {
  const total = counts.reduce((a, b) => a + b, 0);
  if (counts.length < 2 || total === 0) return 1;
  const entropy = counts.reduce(
    (sum, n) => (n === 0 ? sum : sum - (n / total) * Math.log(n / total)),
    0,
  );
  return 1 - entropy / Math.log(counts.length);
}
