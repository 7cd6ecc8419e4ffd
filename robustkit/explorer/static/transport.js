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

const send = (route, body, signal) =>
  request(route, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });

const post = async (route, body, signal) => (await send(route, body, signal)).json();

const query = (values) => new URLSearchParams(values).toString();

/** The calls a page can make; each answers as the server's documentation says. */
export function createTransport() {
  const running = new Map();
  let last = 0;
  /** Ask, and let go of what was asked before under the same name. */
  const newest = (name, ask) => {
    running.get(name)?.abort();
    const controller = new AbortController();
    running.set(name, controller);
    last += 1;
    return ask(last, controller.signal);
  };
  return {
    run: () => get("run"),

    /** The newest wins: a request for a pane ends the pane's older one. */
    graph: (pane, parameters) =>
      newest(pane, (seq, signal) =>
        post("graph", { tab: TAB, pane, seq, ...parameters }, signal),
      ),

    members: (graph, nodes, { offset, limit, sort }) =>
      post("members", { graph, nodes, offset, limit, sort }),
    samples: async (graph, ids) =>
      (await get(`samples?${query({ graph, ids: ids.join(",") })}`)).samples,
    searchSample: (graph, sample) => get(`search?${query({ graph, sample })}`),
    searchConfusion: (graph, truth, predicted) =>
      get(`search?${query({ graph, true: truth, predicted })}`),
    where: (graph, what) => post("where", { graph, ...what }),

    /** The page shows one curve: a newer one ends the older one, of whatever pane. */
    curve: (model, parameters) =>
      newest("curve", (seq, signal) =>
        post("curve", { tab: TAB, seq, model, ...parameters }, signal),
      ),

    /** The raw bytes of each image, in the order asked; null where there is none. */
    async images(view, ids) {
      const response = await request(`images?${query({ view, ids: ids.join(",") })}`);
      const bytes = new Uint8Array(await response.arrayBuffer());
      const size = bytes.length / ids.length;
      return ids.map((_, k) => bytes.subarray(k * size, (k + 1) * size));
    },

    /** @returns {Promise<Blob>} a file to take away */
    async file(kind, values) {
      const asked = {
        json: () => request(`export?${query({ ...values, format: kind })}`),
        graphml: () => request(`export?${query({ ...values, format: kind })}`),
        csv: () => send("selection.csv", values),
        page: () => request(`page.html?${query(values)}`),
      };
      return (await asked[kind]()).blob();
    },
  };
}
