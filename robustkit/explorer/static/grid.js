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
   * How far the nearest other node is, for the node in the middle of that ranking:
   * the room that a typical node has.
   *
   * @param {number} stretch how much longer a unit is downwards
   */
  static typicalRoom(xs, ys, stretch) {
    if (xs.length < 2) return Infinity;
    const [low, high] = [Math.min(...xs), Math.max(...xs)];
    const step = Math.max(1e-9, (high - low) / Math.sqrt(xs.length));
    const grid = new Grid(
      xs,
      ys.map((y) => y * stretch),
      step,
    );
    const rooms = Array.from(xs, (x, i) => {
      let nearest = 2 * step;
      for (const j of grid.near(x, grid.ys[i], step)) {
        const distance = Math.hypot(xs[j] - x, grid.ys[j] - grid.ys[i]);
        if (j !== i && distance < nearest) nearest = distance;
      }
      return nearest;
    });
    return rooms.sort((a, b) => a - b)[rooms.length >> 1];
  }
}
