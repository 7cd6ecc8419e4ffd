/**
 * A canvas that writes a vector picture: the few calls that `paint.js` makes, so
 * that the SVG is drawn by the same lines as the screen.
 */

import { svg } from "./dom.js";

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
