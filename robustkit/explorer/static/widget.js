/**
 * The explorer in a cell of a notebook: the page in a frame, whose messages go to the
 * kernel and back. It is no part of the page: anywidget loads it.
 */

/**
 * What anywidget gives.
 *
 * @typedef {Object} Model
 * @property {(name: string) => any} get
 * @property {(content: any, callbacks?: any, buffers?: ArrayBuffer[]) => void} send
 * @property {(event: string, listener: (content: any, buffers: DataView[]) => void) =>
 *     void} on
 * @property {(event: string, listener: (content: any, buffers: DataView[]) => void) =>
 *     void} off
 */

/** @param {{model: Model, el: HTMLElement}} cell */
function render({ model, el }) {
  const frame = document.createElement("iframe");
  frame.title = "robustkit explorer";
  frame.allow = "clipboard-write";
  // The page cannot reach the notebook: its messages are all that passes.
  frame.setAttribute("sandbox", "allow-scripts allow-downloads");
  Object.assign(frame.style, {
    border: "0",
    display: "block",
    height: `${model.get("_height")}px`,
    width: "100%",
  });
  /** @param {MessageEvent} message */
  const toKernel = ({ source, data }) => {
    if (source !== frame.contentWindow) return;
    const { body, ...content } = data;
    model.send(content, undefined, body === undefined ? [] : [body]);
  };
  /** @param {any} content @param {DataView[]} buffers */
  const toPage = (content, [bytes]) => {
    const { buffer, byteOffset, byteLength } = bytes;
    const body = buffer.slice(byteOffset, byteOffset + byteLength);
    frame.contentWindow?.postMessage({ ...content, body }, "*");
  };
  addEventListener("message", toKernel);
  model.on("msg:custom", toPage);
  frame.srcdoc = model.get("_page");
  el.classList.add("robustkit-widget");
  el.append(frame);
  return () => {
    removeEventListener("message", toKernel);
    model.off("msg:custom", toPage);
  };
}

export default { render };
