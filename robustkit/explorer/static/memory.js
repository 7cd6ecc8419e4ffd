/** The reader's few lasting choices; a browser that keeps nothing is no error. */

export function remembered(name, otherwise) {
  try {
    return localStorage.getItem(`robustkit.${name}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`robustkit.${name}`, value);
  } catch {
    // Private windows and sandboxed frames refuse; the choice lasts this visit.
  }
}
