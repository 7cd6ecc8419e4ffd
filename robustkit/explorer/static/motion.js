/**
 * Nodes that persist glide to their new place; new ones appear where they belong.
 * Readers who ask for less motion see them there at once.
 */

const still = matchMedia("(prefers-reduced-motion: reduce)");
const DURATION = 380;

export class Motion {
  #frame = 0;

  /**
   * Move the scene's nodes from where they were drawn to where they rest.
   *
   * @param {Map<number, number[]>} before node id -> place before the change
   * @param {(how?: string) => void} redraw told "moving" on the way
   */
  glide(scene, before, redraw) {
    cancelAnimationFrame(this.#frame);
    const { id, xs, ys } = scene.restingPlaces();
    const from = id.map((node, i) => before.get(node) ?? [xs[i], ys[i]]);
    if (still.matches || before.size === 0) {
      scene.place(xs, ys);
      redraw();
      return;
    }
    const began = performance.now();
    const step = (now) => {
      const share = ease(Math.min(1, Math.max(0, (now - began) / DURATION)));
      scene.place(
        xs.map((x, i) => from[i][0] + (x - from[i][0]) * share),
        ys.map((y, i) => from[i][1] + (y - from[i][1]) * share),
      );
      redraw(share < 1 ? "moving" : undefined);
      if (share < 1) this.#frame = requestAnimationFrame(step);
    };
    step(began);
  }

  /** Let the nodes rest where they are headed, as when the reader takes one. */
  settle(scene) {
    cancelAnimationFrame(this.#frame);
    const { xs, ys } = scene.restingPlaces();
    scene.place(xs, ys);
  }
}

const ease = (t) => (t < 0.5 ? 4 * t ** 3 : 1 - (2 - 2 * t) ** 3 / 2);
