/** Who wants to know of a change is told of it; nobody needs to know whom. */
export class Emitter {
  #listeners = new Map();

  /** Call `listener` at every `event` from now on. */
  on(event, listener) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, []);
    this.#listeners.get(event).push(listener);
  }

  emit(event, detail) {
    for (const listener of this.#listeners.get(event) ?? []) listener(detail);
  }
}
