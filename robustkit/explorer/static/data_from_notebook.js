/**
 * The data source of the page in a cell of a notebook: the widget around the page
 * (`widget.js`) passes its requests to the kernel, which answers as the server does.
 * What is selected and seen goes the same way, so that Python knows of it.
 */

import { pngOf } from "./picture_files.js";
import { accepted, replaced, sourceOf } from "./questions.js";

/**
 * @import { Session } from "./session.js"
 *
 * @typedef {{id: string, status: number, type: string, body: ArrayBuffer}} Reply
 */

// Milliseconds that the picture must rest before it is sent.
const REST = 800;

// One widget may be shown in several cells, and each page hears all replies.
const PAGE = crypto.getRandomValues(new Uint32Array(2)).join("-");

/** By the id of a request. @type {Map<string, (reply: Reply) => void>} */
const waiting = new Map();
let last = 0;

addEventListener("message", ({ source, data }) => {
  if (source !== parent) return;
  waiting.get(data.id)?.(data);
  waiting.delete(data.id);
});

/** @returns {import("./questions.js").Source} */
export function openData() {
  return { ...sourceOf(sendToKernel), cell: { keep, watch } };
}

/** @type {import("./questions.js").Send} */
async function sendToKernel(route, values, { posted = false, signal } = {}) {
  // The fields of a GET are text, as in an address.
  const fields = posted ? values : Object.fromEntries(new URLSearchParams(values));
  last += 1;
  const id = `${PAGE}-${last}`;
  /** @type {Reply} */
  const { status, type, body } = await new Promise((resolve, reject) => {
    waiting.set(id, resolve);
    signal?.addEventListener("abort", () => {
      waiting.delete(id);
      reject(replaced());
    });
    parent.postMessage({ id, route, values: fields }, "*");
  });
  return accepted(new Response(body, { status, headers: { "Content-Type": type } }));
}

/**
 * Tell the kernel something; there is no reply.
 * @param {string} route @param {Record<string, any>} values @param {ArrayBuffer} [body]
 */
function tell(route, values, body) {
  parent.postMessage({ id: "", route, values, body }, "*");
}

/** Keep the address of the view: a page that is opened anew shows the same. @param {string} fragment */
const keep = (fragment) => tell("keep", { fragment });

/** Tell what is selected in the pane in focus, and what the panes look like. @param {Session} session */
function watch(session) {
  let asked = 0;
  const select = async () => {
    asked += 1;
    const mine = asked;
    const { pane } = session;
    if (pane.graph === null) return;
    const samples = await pane.ask((graph) =>
      session.questions.samplesOf(graph, pane.selected),
    );
    if (mine === asked) tell("select", {}, Int32Array.from(samples).buffer);
  };
  let timer = 0;
  const look = () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (session.shown.some((pane) => pane.computing || pane.graph === null)) return;
      const width = session.shown.reduce((w, { scene }) => w + scene.camera.width, 0);
      const picture = await pngOf(session);
      tell("picture", { width }, await picture.arrayBuffer());
    }, REST);
  };
  for (const pane of Object.values(session.panes)) {
    // A graph keeps the nodes selected that persist, but other samples may lie in them.
    for (const event of ["selection", "graph"]) pane.on(event, select);
    for (const event of ["graph", "setting"]) pane.on(event, look);
    // What is only pointed out is in no picture.
    pane.on("look", (how) => how !== "points" && look());
  }
  session.on("focus", select);
  session.on("layout", look);
}
