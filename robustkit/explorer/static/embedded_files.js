/** The files that the server would write, written from an exported page's own data. */

/** What names a graph: its run, its view and its parameters. */
function heading({ run, parameters }, view) {
  const { model, level } = run.views.find(({ id }) => id === view.id);
  const { filter, cover, n_intervals, overlap, min_samples } = parameters;
  return {
    format: "robustkit-mapper-graph",
    version: 1,
    title: run.title,
    model,
    level,
    filter,
    cover,
    n_intervals,
    overlap,
    eps: view.graph.eps,
    min_samples,
    class_names: run.class_names,
  };
}

const COLUMNS = ["interval", "size", "filter_mean", "purity", "accuracy", "counts"];

const nodesOf = ({ nodes }) =>
  nodes.id.map((_, i) => ({
    id: i,
    ...Object.fromEntries(COLUMNS.map((name) => [name, nodes[name][i]])),
  }));

const edgesOf = ({ edges }) =>
  edges.source.map((source, e) => ({
    source,
    target: edges.target[e],
    shared: edges.shared[e],
  }));

/** @param {(i: number) => number[]} members the samples of a node */
export function graphAsJson(data, view, members) {
  const nodes = nodesOf(view.graph).map((node) => ({
    ...node,
    samples: members(node.id),
  }));
  return JSON.stringify(
    { ...heading(data, view), nodes, edges: edgesOf(view.graph) },
    null,
    1,
  );
}

export function graphAsGraphml(data, view) {
  const names = data.run.class_names;
  const types = {
    interval: "long",
    size: "long",
    filter_mean: "double",
    purity: "double",
    accuracy: "double",
    majority: "string",
  };
  names.forEach((_, k) => (types[`count_${k}`] = "long"));
  const keys = Object.entries(types).map(
    ([name, type]) =>
      `  <key id="${name}" for="node" attr.name="${name}" attr.type="${type}" />`,
  );
  const nodes = nodesOf(view.graph).map(({ id, counts, ...rest }) => {
    const majority = names[counts.indexOf(Math.max(...counts))];
    const values = {
      ...rest,
      majority,
      ...Object.fromEntries(counts.map((n, k) => [`count_${k}`, n])),
    };
    const cells = Object.entries(values).map(
      ([name, value]) => `<data key="${name}">${escaped(value)}</data>`,
    );
    return `    <node id="${id}">${cells.join("")}</node>`;
  });
  const edges = edgesOf(view.graph).map(
    ({ source, target, shared }) =>
      `    <edge source="${source}" target="${target}"><data key="weight">${shared}</data></edge>`,
  );
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
    ...keys,
    '  <key id="weight" for="edge" attr.name="weight" attr.type="long" />',
    '  <graph edgedefault="undirected">',
    ...nodes,
    ...edges,
    "  </graph>",
    "</graphml>",
    "",
  ].join("\n");
}

/** @param {Array<{i, y, p, c, r}>} samples */
export function samplesAsCsv({ run }, samples) {
  const rows = samples.map(({ i, y, p, c, r }) => {
    return [i, labelOf(run, y), labelOf(run, p), Number(y !== p), c ?? "", r ?? ""]
      .map(quoted)
      .join(",");
  });
  return ["sample,true,predicted,wrong,confidence,region", ...rows, ""].join("\r\n");
}

/** A spreadsheet would take a name that begins so for a formula, unless it is a number. */
function labelOf({ class_names: names }, k) {
  const text = names[k];
  return /^[=+\-@\t\r]/.test(text) && !/^[+-]?\d+(\.\d+)?$/.test(text)
    ? `'${text}`
    : text;
}

const quoted = (value) =>
  /[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value);

/** What XML holds in no way becomes the replacement character. */
const escaped = (value) =>
  String(value)
    .replaceAll(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, "\uFFFD")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;");
