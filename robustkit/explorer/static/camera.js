/** Where the reader stands: which world point is in the middle, and how near. */
export class Camera {
  x = 0.5;
  y = 0.5;
  /** Screen pixels to one unit of the world, across. */
  scale = 500;
  /** How much longer a unit is downwards, so that a graph fills its pane. */
  stretch = 1;
  /** The scale at which the whole graph is seen; zoom is told against it. */
  fitScale = 500;
  width = 1;
  height = 1;
  /** Pixels at the edges where tools and legend lie on the canvas. */
  covered = { right: 0, bottom: 0 };

  toScreen(x, y) {
    return [
      (x - this.x) * this.scale + this.width / 2,
      (y - this.y) * this.scale * this.stretch + this.height / 2,
    ];
  }

  toWorld(sx, sy) {
    return [
      (sx - this.width / 2) / this.scale + this.x,
      (sy - this.height / 2) / (this.scale * this.stretch) + this.y,
    ];
  }

  get zoom() {
    return this.scale / this.fitScale;
  }

  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / (this.scale * this.stretch);
  }

  /** Nearer or farther, with the world point under the pointer kept in place. */
  zoomAt(factor, sx, sy) {
    const [wx, wy] = this.toWorld(sx, sy);
    const lowest = this.fitScale / 8;
    this.scale = Math.min(this.fitScale * 60, Math.max(lowest, this.scale * factor));
    const [nx, ny] = this.toWorld(sx, sy);
    this.x += wx - nx;
    this.y += wy - ny;
  }

  /** The scale and middle that show all of the box beside what covers the canvas. */
  fit({ left, top, right, bottom }) {
    const margin = Math.min(34, this.width / 10, this.height / 10);
    const across = Math.max(1, this.width - 2 * margin - this.covered.right);
    const down = Math.max(1, this.height - 2 * margin - this.covered.bottom);
    const [wide, high] = [right - left, bottom - top];
    // Distances in a layout mean little; beyond these bounds it would look squashed.
    this.stretch = Math.min(2.2, Math.max(0.6, down / high / (across / wide)));
    this.scale = Math.min(across / wide, down / (high * this.stretch));
    this.fitScale = this.scale;
    this.x = (left + right) / 2 + this.covered.right / 2 / this.scale;
    this.y = (top + bottom) / 2 + this.covered.bottom / 2 / (this.scale * this.stretch);
  }
}
