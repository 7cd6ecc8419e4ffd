/** The view as a picture: what the panes show, with a title and a legend. */

import { contextOf, el, fraction, percent, svg } from "./elements.js";
import { classColour, paintScene, scaleColour } from "./paint.js";

/**
 * @import { Canvas } from "./paint.js"
 * @import { Pane } from "./pane.js"
 * @import { Session } from "./session.js"
 */

const HEAD = 44;
const FOOT = 40;
// Twice the resolution of the screen, for printing.
const PNG_SCALE = 2;

/**
 * @param {Session} session
 * @returns {Promise<Blob>}
 */
export function pngOf(session) {
  const { width, height } = sizeOf(session);
  const canvas = el("canvas", { width: width * PNG_SCALE, height: height * PNG_SCALE });
  const ctx = contextOf(canvas);
  ctx.scale(PNG_SCALE, PNG_SCALE);
  paint(ctx, session, (left, top, pane, draw) => {
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, pane.scene.camera.width, pane.scene.camera.height);
    ctx.clip();
    ctx.translate(left, top);
    draw(ctx);
    ctx.restore();
  });
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => {
      if (blob === null) reject(new Error("The picture is too large to be drawn."));
      else resolve(blob);
    }, "image/png");
  });
}

/** @param {Session} session */
export function svgOf(session) {
  const { width, height } = sizeOf(session);
  const ctx = new SvgContext(width, height, session.pane.title);
  paint(ctx, session, (left, top, pane, draw) => {
    ctx.nested(left, top, pane.scene.camera.width, pane.scene.camera.height, draw);
  });
  return new Blob([ctx.toString()], { type: "image/svg+xml" });
}

/** @param {Session} session */
function sizeOf({ shown }) {
  const cameras = shown.map((pane) => pane.scene.camera);
  return {
    width: cameras.reduce((sum, camera) => sum + camera.width, 0),
    height: HEAD + FOOT + Math.max(...cameras.map((camera) => camera.height)),
  };
}

/**
 * @param {Canvas} ctx @param {Session} session
 * @param {(left: number, top: number, pane: Pane, draw: (ctx: Canvas) => void) => void
 *     } within draws into the part of the picture that is a pane's
 */
function paint(ctx, session, within) {
  const { width, height } = sizeOf(session);
  const { paper } = session.theme.ink;
  ctx.fillStyle = paper;
  ctx.fillRect(0, 0, width, height);
  let left = 0;
  for (const pane of session.shown) {
    paintHead(ctx, pane, left);
    within(left, HEAD, pane, (inner) => {
      paintScene(inner, pane.scene);
    });
    paintFoot(ctx, pane, left, height - FOOT / 2);
    left += pane.scene.camera.width;
  }
}

/** @param {Canvas} ctx @param {Pane} pane @param {number} left */
function paintHead(ctx, pane, left) {
  const { ink } = pane.scene;
  write(ctx, pane.title, left + 16, 18, { colour: ink.text, size: 14, weight: 600 });
  if (pane.graph === null) return;
  const { accuracy, purity } = pane.graph;
  const measures = `accuracy ${percent(accuracy)}, weighted purity ${fraction(purity)}`;
  write(ctx, measures, left + 16, 35, { colour: ink.quiet, size: 11 });
}

/** @param {Canvas} ctx @param {Pane} pane @param {number} left @param {number} y */
function paintFoot(ctx, pane, left, y) {
  const { scene } = pane;
  if (scene.pies !== null) {
    const room = scene.camera.width - 32;
    const { names } = scene.pies;
    const step = Math.min(64, room / names.length);
    names.forEach((name, k) => {
      const x = left + 16 + k * step;
      ctx.fillStyle = classColour(k, scene.ink.dark);
      ctx.fillRect(x, y - 6, 11, 11);
      const fitting = Math.max(1, Math.floor((step - 18) / 6.5));
      const text = name.length > fitting ? `${name.slice(0, fitting)}…` : name;
      write(ctx, text, x + 15, y, { colour: scene.ink.text, size: 11 });
    });
    return;
  }
  if (scene.scale === null) return;
  const { title, ramp, ends } = scene.scale;
  const look = { colour: scene.ink.text, size: 11 };
  const words = `${title}: ${ends[0]}`;
  write(ctx, words, left + 16, y, look);
  // Letters are about 6 wide; the pictures have no way to measure them.
  const start = left + 28 + 6 * words.length;
  for (let k = 0; k < 40; k += 1) {
    ctx.fillStyle = scaleColour(ramp, k / 39);
    ctx.fillRect(start + 4 * k, y - 6, 4.2, 11);
  }
  write(ctx, ends[1], start + 168, y, look);
}

/**
 * @param {Canvas} ctx @param {string} words @param {number} x @param {number} y
 * @param {{colour: string, size: number, weight?: number}} look
 */
function write(ctx, words, x, y, { colour, size, weight = 400 }) {
  ctx.font = `${weight} ${size}px system-ui, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillStyle = colour;
  ctx.fillText(words, x, y);
}

/** @param {number} value */
const number = (value) => String(Math.round(value * 100) / 100);
/** @param {number} x @param {number} y */
const at = (x, y) => `${number(x)} ${number(y)}`;

/**
 * A canvas that writes SVG: it has the calls that `paint.js` makes, so that screen and
 * SVG are drawn by the same functions.
 */
class SvgContext {
  fillStyle = "#000000";
  strokeStyle = "#000000";
  lineWidth = 1;
  globalAlpha = 1;
  font = "12px sans-serif";
  /** @type {CanvasTextAlign} */
  textAlign = "start";
  /** @type {CanvasTextBaseline} */
  textBaseline = "alphabetic";
  /** @type {CanvasLineJoin} */
  lineJoin = "miter";
  /** @type {string[]} */
  #path = [];
  /** @type {number[]} */
  #dash = [];
  #into;

  /** @param {number} width @param {number} height @param {string} title */
  constructor(width, height, title) {
    this.root = svg(
      "svg",
      {
        viewBox: `0 0 ${width} ${height}`,
        width,
        height,
        "font-family": "system-ui, sans-serif",
      },
      svg("title", {}, title),
    );
    this.#into = this.root;
  }

  /**
   * Let `draw` paint into a part of the picture, with its own origin, and cut at its edge.
   * @param {number} x @param {number} y @param {number} width @param {number} height
   * @param {(ctx: Canvas) => void} draw
   */
  nested(x, y, width, height, draw) {
    const outer = this.#into;
    this.#into = svg("svg", { x, y, width, height, overflow: "hidden" });
    outer.append(this.#into);
    draw(this);
    this.#into = outer;
  }

  /** @param {number[]} dash */
  setLineDash(dash) {
    this.#dash = dash;
  }

  beginPath() {
    this.#path = [];
  }

  /** @param {number} x @param {number} y */
  moveTo(x, y) {
    this.#path.push(`M${at(x, y)}`);
  }

  /** @param {number} x @param {number} y */
  lineTo(x, y) {
    this.#path.push(`L${at(x, y)}`);
  }

  closePath() {
    this.#path.push("Z");
  }

  /**
   * @param {number} x @param {number} y @param {number} r @param {number} begin
   * @param {number} end
   */
  arc(x, y, r, begin, end) {
    /** @param {number} angle */
    const point = (angle) => at(x + r * Math.cos(angle), y + r * Math.sin(angle));
    // An arc from a point to itself is empty in SVG, so that a circle takes two.
    const halves = end - begin > Math.PI ? [(begin + end) / 2, end] : [end];
    this.#path.push(`${this.#path.length === 0 ? "M" : "L"}${point(begin)}`);
    for (const stop of halves)
      this.#path.push(`A${number(r)} ${number(r)} 0 0 1 ${point(stop)}`);
  }

  fill() {
    this.#add({ fill: this.fillStyle });
  }

  stroke() {
    const dash = this.#dash.length > 0 ? this.#dash.join(" ") : null;
    this.#add({
      fill: "none",
      stroke: this.strokeStyle,
      "stroke-width": this.lineWidth,
      "stroke-dasharray": dash,
    });
  }

  /** @param {Record<string, any>} look */
  #add(look) {
    if (this.#path.length === 0) return;
    const opacity = this.globalAlpha < 1 ? this.globalAlpha : null;
    this.#into.append(svg("path", { d: this.#path.join(""), opacity, ...look }));
  }

  /**
   * @param {number} x @param {number} y @param {number} width @param {number} height
   */
  fillRect(x, y, width, height) {
    this.#into.append(
      svg("rect", { x: number(x), y: number(y), width, height, fill: this.fillStyle }),
    );
  }

  /** @param {string} text @param {number} x @param {number} y */
  fillText(text, x, y) {
    this.#write(text, x, y, { fill: this.fillStyle });
  }

  /** @param {string} text @param {number} x @param {number} y */
  strokeText(text, x, y) {
    this.#write(text, x, y, {
      fill: "none",
      stroke: this.strokeStyle,
      "stroke-width": this.lineWidth,
      "stroke-linejoin": this.lineJoin,
    });
  }

  /**
   * @param {string} text @param {number} x @param {number} y
   * @param {Record<string, any>} look
   */
  #write(text, x, y, look) {
    const [, weight, size] = /^(?:(\d+) )?([\d.]+)px/.exec(this.font) ?? [];
    this.#into.append(
      svg(
        "text",
        {
          x: number(x),
          y: number(this.textBaseline === "middle" ? y + 0.35 * Number(size) : y),
          "font-size": size,
          "font-weight": weight ?? null,
          "text-anchor": this.textAlign === "center" ? "middle" : null,
          ...look,
        },
        text,
      ),
    );
  }

  toString() {
    return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(this.root)}`;
  }
}
