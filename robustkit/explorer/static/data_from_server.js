/**
 * The data source of the served page: all requests to the server are made here.
 *
 * In an exported page, `data_in_page.js` takes its place; in a cell of a notebook,
 * `data_from_notebook.js`, which asks the same of the notebook's kernel.
 */

import { accepted, replaced, sourceOf, SourceError } from "./questions.js";

/** @returns {import("./questions.js").Source} */
export const openData = () => sourceOf(sendToServer);

/** @type {import("./questions.js").Send} */
async function sendToServer(route, values, { posted = false, signal } = {}) {
  const address = new URL(`api/${route}`, document.baseURI);
  /** @type {RequestInit} */
  const options = { cache: "no-store", signal };
  if (posted) {
    options.method = "POST";
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(values);
  } else address.search = new URLSearchParams(values).toString();
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw replaced();
    throw new SourceError("The server does not answer. Is it still running?");
  }
  return accepted(response);
}
