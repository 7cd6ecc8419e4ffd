/**
 * The data source of the served page: all requests to the server are made here.
 *
 * In an exported page, `data_in_page.js` replaces this module.
 */

import { SourceError } from "./questions.js";

// Two tabs on one server must not cancel each other's computations.
const TAB = Array.from(crypto.getRandomValues(new Uint32Array(3)), (word) =>
  word.toString(36),
).join("");

/** @returns {import("./questions.js").Source} */
export function openData() {
  /** @type {Map<string, AbortController>} */
  const running = new Map();
  let last = 0;
  /**
   * Request a computation, and abort the previous request of the same name.
   * @param {string} name @param {string} route @param {Object} values
   */
  const newest = async (name, route, values) => {
    running.get(name)?.abort();
    const controller = new AbortController();
    running.set(name, controller);
    last += 1;
    const response = await request(route, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ tab: TAB, seq: last, ...values }),
      signal: controller.signal,
    });
    return response.json();
  };
  return {
    run: async () => (await request("run")).json(),

    async column(name, view) {
      const query = view === undefined ? { name } : { name, view };
      return (await request("column", {}, query)).arrayBuffer();
    },

    /** The newest wins: a request for a pane ends the pane's older one. */
    graph: (pane, asked) => newest(pane, "graph", { pane, ...asked }),

    members: async ({ graph }) =>
      (await request("members", {}, { graph })).arrayBuffer(),

    /** The page shows one curve: a newer one ends the older one, of whatever pane. */
    purities: async (views, parameters) =>
      (await newest("curve", "purities", { views, ...parameters })).purities,

    async images(view, ids) {
      const response = await request("images", {}, { view, ids: ids.join(",") });
      const bytes = new Uint8Array(await response.arrayBuffer());
      const size = bytes.length / ids.length;
      return ids.map((_, k) => bytes.subarray(k * size, (k + 1) * size));
    },

    page: async (parameters) => (await request("page.html", {}, parameters)).blob(),
  };
}

/**
 * @param {string} route @param {RequestInit} options @param {Record<string, any>} query
 */
async function request(route, options = {}, query = {}) {
  const address = new URL(`api/${route}`, document.baseURI);
  address.search = new URLSearchParams(query).toString();
  let response;
  try {
    response = await fetch(address, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") {
      throw new SourceError("replaced by a newer request", { superseded: true });
    }
    throw new SourceError("The server does not answer. Is it still running?");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** @param {Response} response */
async function refusal(response) {
  /** @type {{error?: string, superseded?: boolean}} */
  let body = {};
  try {
    body = await response.json();
  } catch {
    // Without a readable body, only the status is reported.
  }
  return new SourceError(body.error ?? `The server answered ${response.status}.`, {
    status: response.status,
    superseded: body.superseded === true,
  });
}
