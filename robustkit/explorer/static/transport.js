/**
 * The page's only way out: every request to the server is made here.
 *
 * An exported page has `transport_embedded.js` in this file's place, which
 * answers the same calls from data that lie in the page itself.
 */

/** An answer that is not the one asked for; `message` is one line to be shown. */
class TransportError extends Error {
  constructor(message, { status = 0, superseded = false } = {}) {
    super(message);
    this.status = status;
    this.superseded = superseded;
  }
}

// Two tabs on one server must not cancel each other's computations.
const TAB = Array.from(crypto.getRandomValues(new Uint32Array(3)), (word) =>
  word.toString(36),
).join("");

const address = (route) => new URL(`api/${route}`, document.baseURI);

async function request(route, options = {}) {
  let response;
  try {
    response = await fetch(address(route), { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") {
      throw new TransportError("replaced by a newer request", { superseded: true });
    }
    throw new TransportError("The server does not answer. Is it still running?");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // An answer without a readable body is told by its status alone.
  }
  return new TransportError(body.error ?? `The server answered ${response.status}.`, {
    status: response.status,
    superseded: body.superseded === true,
  });
}

const get = async (route) => (await request(route)).json();

const post = async (route, body, signal) => {
  const options = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  };
  return (await request(route, options)).json();
};

const query = (values) => new URLSearchParams(values).toString();

/** The calls a page can make; each answers as the server's documentation says. */
export function createTransport() {
  const running = new Map();
  let seq = 0;
  return {
    run: () => get("run"),

    /** The newest wins: a request for a pane ends the pane's older one. */
    graph(pane, parameters) {
      running.get(pane)?.abort();
      const controller = new AbortController();
      running.set(pane, controller);
      seq += 1;
      return post("graph", { tab: TAB, pane, seq, ...parameters }, controller.signal);
    },

    members: (graph, nodes, { offset, limit, sort }) =>
      get(`members?${query({ graph, nodes: nodes.join(","), offset, limit, sort })}`),
    samples: async (graph, ids) =>
      (await get(`samples?${query({ graph, ids: ids.join(",") })}`)).samples,
    searchSample: (graph, sample) => get(`search?${query({ graph, sample })}`),
    searchConfusion: (graph, truth, predicted) =>
      get(`search?${query({ graph, true: truth, predicted })}`),
    where: (graph, what) => post("where", { graph, ...what }),
    curve: (model, parameters) => post("curve", { model, ...parameters }),

    /** The raw bytes of each image, in the order asked; null where there is none. */
    async images(view, ids) {
      const response = await request(`images?${query({ view, ids: ids.join(",") })}`);
      const bytes = new Uint8Array(await response.arrayBuffer());
      const size = bytes.length / ids.length;
      return ids.map((_, k) => bytes.subarray(k * size, (k + 1) * size));
    },

    /** Where a file can be downloaded; an exported page answers with the file itself. */
    exportUrl: (kind, values) => {
      const routes = {
        json: ["export", { format: "json" }],
        graphml: ["export", { format: "graphml" }],
        csv: ["selection.csv", {}],
        page: ["page.html", {}],
      };
      const [route, fixed] = routes[kind];
      return address(`${route}?${query({ ...fixed, ...values })}`).href;
    },
  };
}
