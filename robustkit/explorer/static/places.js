/**
 * Where nodes lie, as a short text for an address: 12 bits across and 12 down for each,
 * within the box that holds them all.
 */

const STEPS = 4095;

/** @returns {string} left, top, width, height and the places, four letters a node */
export function writePlaces(xs, ys) {
  const [left, width] = extent(xs);
  const [top, height] = extent(ys);
  const bytes = new Uint8Array(3 * xs.length);
  for (let i = 0; i < xs.length; i += 1) {
    const x = Math.round(((xs[i] - left) / width) * STEPS);
    const y = Math.round(((ys[i] - top) / height) * STEPS);
    bytes.set([x >> 4, ((x & 15) << 4) | (y >> 8), y & 255], 3 * i);
  }
  const letters = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  const box = [left, top, width, height].map((v) => Number(v.toPrecision(6)));
  return [...box, letters.replaceAll("+", "-").replaceAll("/", "_")].join(",");
}

/** @returns {{x: number[], y: number[]} | null} null for what is no such text */
export function readPlaces(text) {
  const [left, top, width, height, letters = ""] = text.split(",");
  const box = [left, top, width, height].map(Number);
  if (letters === "" || !box.every(Number.isFinite)) return null;
  let bytes;
  try {
    bytes = atob(letters.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return null;
  }
  const [x, y] = [[], []];
  for (let k = 0; k + 2 < bytes.length; k += 3) {
    const [a, b, c] = [0, 1, 2].map((j) => bytes.charCodeAt(k + j));
    x.push(rounded(box[0] + (box[2] * ((a << 4) | (b >> 4))) / STEPS));
    y.push(rounded(box[1] + (box[3] * (((b & 15) << 8) | c)) / STEPS));
  }
  return { x, y };
}

const rounded = (value) => Number(value.toPrecision(7));

function extent(values) {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return [low, Math.max(1e-9, high - low)];
}
