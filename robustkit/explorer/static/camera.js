/** Where the reader stands: which world point is in the middle, and how near. */
export class Camera {
  x = 0.5;
  y = 0.5;
  /** Screen pixels to one unit of the world. */
  scale = 500;
  /** The scale at which the whole graph is seen; zoom is told against it. */
  fitScale = 500;
  width = 1;
  height = 1;
  /** Pixels at the edges where tools and legend lie on the canvas. */
  covered = { right: 0, bottom: 0 };

  toScreen(x, y) {
    return [
      (x - this.x) * this.scale + this.width / 2,
      (y - this.y) * this.scale + this.height / 2,
    ];
  }

  toWorld(sx, sy) {
    return [
      (sx - this.width / 2) / this.scale + this.x,
      (sy - this.height / 2) / this.scale + this.y,
    ];
  }

  get zoom() {
    return this.scale / this.fitScale;
  }

  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
  }

  /** Nearer or farther, with the world point under the pointer kept in place. */
  zoomAt(factor, sx, sy) {
    const [wx, wy] = this.toWorld(sx, sy);
    const lowest = this.fitScale / 8;
    this.scale = Math.min(this.fitScale * 60, Math.max(lowest, this.scale * factor));
    this.x = wx - (sx - this.width / 2) / this.scale;
    this.y = wy - (sy - this.height / 2) / this.scale;
  }

  /** The scale and middle that show all of the box beside what covers the canvas. */
  fit({ left, top, right, bottom }) {
    const margin = Math.min(34, this.width / 10, this.height / 10);
    const across = this.width - 2 * margin - this.covered.right;
    const down = this.height - 2 * margin - this.covered.bottom;
    this.scale = Math.max(1, Math.min(across / (right - left), down / (bottom - top)));
    this.fitScale = this.scale;
    this.x = (left + right) / 2 + this.covered.right / 2 / this.scale;
    this.y = (top + bottom) / 2 + this.covered.bottom / 2 / this.scale;
  }
}
