/** The view as a picture: what the panes show, with a title and a legend. */

import { el, fraction, level, percent, svg } from "./elements.js";
import { classColour, paintScene, scaleColour } from "./paint.js";

const HEAD = 44;
const FOOT = 40;
// Twice the screen's size, so that a picture stands a printed page.
const PNG_SCALE = 2;

/** @returns {Promise<Blob>} */
export function pngOf(session) {
  const { width, height } = sizeOf(session);
  const canvas = el("canvas", { width: width * PNG_SCALE, height: height * PNG_SCALE });
  const ctx = canvas.getContext("2d");
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
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** @returns {Blob} */
export function svgOf(session) {
  const { width, height } = sizeOf(session);
  const ctx = new SvgContext(width, height, titleOf(session.pane));
  paint(ctx, session, (left, top, pane, draw) => {
    ctx.nested(left, top, pane.scene.camera.width, pane.scene.camera.height, draw);
  });
  return new Blob([ctx.toString()], { type: "image/svg+xml" });
}

function sizeOf({ shown }) {
  const cameras = shown.map((pane) => pane.scene.camera);
  return {
    width: cameras.reduce((sum, camera) => sum + camera.width, 0),
    height: HEAD + FOOT + Math.max(...cameras.map((camera) => camera.height)),
  };
}

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

const titleOf = ({ viewInfo }) =>
  `${viewInfo.model}, attack level ${level(viewInfo.level)}`;

function paintHead(ctx, pane, left) {
  const { ink } = pane.scene;
  text(ctx, titleOf(pane), left + 16, 18, { colour: ink.text, size: 14, weight: 600 });
  if (pane.graph === null) return;
  const { accuracy, purity } = pane.graph;
  const measures = `accuracy ${percent(accuracy)}, weighted purity ${fraction(purity)}`;
  text(ctx, measures, left + 16, 35, { colour: ink.quiet, size: 11 });
}

function paintFoot(ctx, pane, left, y) {
  const { scene } = pane;
  if (scene.colouring === "labels") {
    const room = scene.camera.width - 32;
    const names = pane.run.class_names;
    const step = Math.min(64, room / names.length);
    names.forEach((name, k) => {
      const x = left + 16 + k * step;
      ctx.fillStyle = classColour(k, scene.ink.dark);
      ctx.fillRect(x, y - 6, 11, 11);
      const fitting = Math.max(1, Math.floor((step - 18) / 6.5));
      const short = name.length > fitting ? `${name.slice(0, fitting)}…` : name;
      text(ctx, short, x + 15, y, { colour: scene.ink.text, size: 11 });
    });
    return;
  }
  const [low, high] =
    scene.colouring === "size" ? [scene.smallest, scene.largest] : ["0", "1"];
  text(ctx, `${scene.colouring}: ${low}`, left + 16, y, {
    colour: scene.ink.text,
    size: 11,
  });
  for (let k = 0; k < 40; k += 1) {
    ctx.fillStyle = scaleColour(scene.colouring, k / 39);
    ctx.fillRect(left + 90 + 4 * k, y - 6, 4.2, 11);
  }
  text(ctx, String(high), left + 258, y, { colour: scene.ink.text, size: 11 });
}

function text(ctx, words, x, y, { colour, size, weight = 400 }) {
  ctx.font = `${weight} ${size}px system-ui, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillStyle = colour;
  ctx.fillText(words, x, y);
}

/**
 * A canvas that writes a vector picture: the few calls that `paint.js` makes, so
 * that the SVG is drawn by the same lines as the screen.
 */

const number = (value) => String(Math.round(value * 100) / 100);
const at = (x, y) => `${number(x)} ${number(y)}`;

export class SvgContext {
  fillStyle = "#000000";
  strokeStyle = "#000000";
  lineWidth = 1;
  globalAlpha = 1;
  font = "12px sans-serif";
  textAlign = "start";
  textBaseline = "alphabetic";
  lineJoin = "miter";
  #path = [];
  #dash = [];
  #into;

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

  /** Let `draw` paint into a part of the picture, with its own origin, and cut at its edge. */
  nested(x, y, width, height, draw) {
    const outer = this.#into;
    this.#into = svg("svg", { x, y, width, height, overflow: "hidden" });
    outer.append(this.#into);
    draw(this);
    this.#into = outer;
  }

  setLineDash(dash) {
    this.#dash = dash;
  }

  beginPath() {
    this.#path = [];
  }

  moveTo(x, y) {
    this.#path.push(`M${at(x, y)}`);
  }

  lineTo(x, y) {
    this.#path.push(`L${at(x, y)}`);
  }

  closePath() {
    this.#path.push("Z");
  }

  arc(x, y, r, begin, end) {
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

  #add(look) {
    if (this.#path.length === 0) return;
    const opacity = this.globalAlpha < 1 ? this.globalAlpha : null;
    this.#into.append(svg("path", { d: this.#path.join(""), opacity, ...look }));
  }

  fillRect(x, y, width, height) {
    this.#into.append(
      svg("rect", { x: number(x), y: number(y), width, height, fill: this.fillStyle }),
    );
  }

  fillText(text, x, y) {
    this.#write(text, x, y, { fill: this.fillStyle });
  }

  strokeText(text, x, y) {
    this.#write(text, x, y, {
      fill: "none",
      stroke: this.strokeStyle,
      "stroke-width": this.lineWidth,
      "stroke-linejoin": this.lineJoin,
    });
  }

  #write(text, x, y, look) {
    const [, weight, size] = /^(?:(\d+) )?([\d.]+)px/.exec(this.font);
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
