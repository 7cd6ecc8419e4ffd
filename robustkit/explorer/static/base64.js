/** Binary columns inside a page: base64 of little-endian numbers. */

function bytes(text) {
  const raw = atob(text);
  const out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) out[i] = raw.charCodeAt(i);
  return out;
}

export const decodeBytes = bytes;
export const decodeInts = (text) => new Int32Array(bytes(text).buffer);
export const decodeFloats = (text) => new Float32Array(bytes(text).buffer);
