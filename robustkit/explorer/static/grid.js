/**
 * Which node lies under a point, among thousands, without looking at each:
 * the world is cut into cells, and a cell knows the nodes whose middle it holds.
 */
export class Grid {
  #cells = new Map();
  #step;

  /** @param {number} step the side of a cell, in world units. */
  constructor(xs, ys, step) {
    this.#step = step;
    this.xs = xs;
    this.ys = ys;
    for (let i = 0; i < xs.length; i += 1) {
      const key = this.#key(this.#cell(xs[i]), this.#cell(ys[i]));
      if (!this.#cells.has(key)) this.#cells.set(key, []);
      this.#cells.get(key).push(i);
    }
  }

  #cell(value) {
    return Math.floor(value / this.#step);
  }

  #key(column, row) {
    return `${column},${row}`;
  }

  /** The nodes whose middle may lie within `reach` of the point. */
  *near(x, y, reach) {
    for (let row = this.#cell(y - reach); row <= this.#cell(y + reach); row += 1) {
      for (let col = this.#cell(x - reach); col <= this.#cell(x + reach); col += 1) {
        yield* this.#cells.get(this.#key(col, row)) ?? [];
      }
    }
  }

  /**
   * The node drawn uppermost under the point, or -1.
   *
   * @param {(i: number) => number} radius a node's radius in world units.
   */
  hit(x, y, reach, radius) {
    let best = -1;
    let nearest = Infinity;
    for (const i of this.near(x, y, reach)) {
      const distance = Math.hypot(this.xs[i] - x, this.ys[i] - y) / radius(i);
      if (distance <= 1 && distance < nearest) {
        best = i;
        nearest = distance;
      }
    }
    return best;
  }
}
