/** A graph as JSON or GraphML, and samples as a table. */

/**
 * @import { Graph, Run, Sample } from "./questions.js"
 */

/** @param {Graph} graph */
const nodesOf = ({ nodes }) =>
  nodes.size.map((size, id) => ({
    id,
    interval: nodes.interval[id],
    size,
    filter_mean: nodes.filter_mean[id],
    ...(nodes.second_interval && {
      second_interval: nodes.second_interval[id],
      second_filter_mean: nodes.second_filter_mean?.[id],
    }),
    purity: nodes.purity[id],
    accuracy: nodes.accuracy[id],
    ...(nodes.stability && { stability: nodes.stability[id] }),
    counts: nodes.counts[id],
  }));

/** @param {Graph} graph */
const edgesOf = ({ edges }) =>
  edges.source.map((source, e) => ({
    source,
    target: edges.target[e],
    shared: edges.shared[e],
    ...(edges.stability && { stability: edges.stability[e] }),
  }));

/**
 * @param {Run} run @param {Graph} graph
 * @param {(node: number) => number[]} members the samples of a node
 */
export function graphAsJson(run, graph, members) {
  const { parameters } = graph;
  const { view, filter, cover, n_intervals, overlap, min_samples } = parameters;
  const { model, layer, level } = run.views.find(({ id }) => id === view) ?? {};
  const content = {
    format: "robustkit-mapper-graph",
    version: 1,
    title: run.title,
    model,
    layer,
    level,
    filter,
    cover,
    n_intervals,
    ...(graph.nodes.second_interval && {
      second_filter: parameters.second_filter,
      second_intervals: parameters.second_intervals,
    }),
    overlap,
    eps: graph.eps,
    min_samples,
    class_names: run.class_names,
    nodes: nodesOf(graph).map((node) => ({ ...node, samples: members(node.id) })),
    edges: edgesOf(graph),
  };
  return JSON.stringify(content, null, 1);
}

/** For Gephi, Cytoscape and the like. @param {Run} run @param {Graph} graph */
export function graphAsGraphml(run, graph) {
  const names = run.class_names;
  const types = {
    interval: "long",
    size: "long",
    filter_mean: "double",
    ...(graph.nodes.second_interval && {
      second_interval: "long",
      second_filter_mean: "double",
    }),
    purity: "double",
    accuracy: "double",
    ...(graph.nodes.stability && { stability: "double" }),
    majority: "string",
    // By number: two classes may have one name.
    ...Object.fromEntries(names.map((_, k) => [`count_${k}`, "long"])),
  };
  const keys = Object.entries(types).map(
    ([name, type]) =>
      `  <key id="${name}" for="node" attr.name="${name}" attr.type="${type}" />`,
  );
  const nodes = nodesOf(graph).map(({ id, counts, ...rest }) => {
    const values = {
      ...rest,
      majority: names[counts.indexOf(Math.max(...counts))],
      ...Object.fromEntries(counts.map((n, k) => [`count_${k}`, n])),
    };
    const cells = Object.entries(values).map(
      ([name, value]) => `<data key="${name}">${escaped(value)}</data>`,
    );
    return `    <node id="${id}">${cells.join("")}</node>`;
  });
  const edges = edgesOf(graph).map(
    ({ source, target, shared }) =>
      `    <edge source="${source}" target="${target}"><data key="weight">${shared}</data></edge>`,
  );
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
    '  <key id="name" for="graph" attr.name="name" attr.type="string" />',
    ...keys,
    '  <key id="weight" for="edge" attr.name="weight" attr.type="long" />',
    '  <graph edgedefault="undirected">',
    `    <data key="name">${escaped(run.title)}</data>`,
    ...nodes,
    ...edges,
    "  </graph>",
    "</graphml>",
    "",
  ].join("\n");
}

/** @param {Run} run @param {Sample[]} samples */
export function samplesAsCsv({ class_names: names }, samples) {
  const rows = samples.map(({ i, y, p, c, r }) =>
    [i, asText(names[y]), asText(names[p]), Number(y !== p), c ?? "", r ?? ""]
      .map(quoted)
      .join(","),
  );
  return ["sample,true,predicted,wrong,confidence,region", ...rows, ""].join("\r\n");
}

/**
 * Quote names that a spreadsheet would interpret as formulas; numbers stay as they are.
 * @param {string} name
 */
const asText = (name) =>
  /^[=+\-@\t\r]/.test(name) && !/^[+-]?\d+(\.\d+)?$/.test(name) ? `'${name}` : name;

/** @param {string | number} value */
const quoted = (value) =>
  /[",\r\n]/.test(String(value))
    ? `"${String(value).replaceAll('"', '""')}"`
    : String(value);

/**
 * Characters that XML cannot represent become the replacement character.
 * @param {string | number} value
 */
const escaped = (value) =>
  String(value)
    .replaceAll(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, "\uFFFD")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;");
