/** Raw bytes to pictures: grey or red-green-blue planes, as the networks see them. */

import { el } from "./dom.js";

/**
 * @param {Uint8Array} bytes one image, plane after plane
 * @param {number[]} shape channels, height, width
 */
export function picture(bytes, [channels, height, width], label) {
  const canvas = el("canvas", {
    width,
    height,
    class: "image",
    role: "img",
    "aria-label": label,
  });
  const ctx = canvas.getContext("2d");
  const image = ctx.createImageData(width, height);
  const plane = height * width;
  for (let k = 0; k < plane; k += 1) {
    for (let c = 0; c < 3; c += 1) {
      image.data[4 * k + c] = bytes[k + (channels >= 3 ? c * plane : 0)];
    }
    image.data[4 * k + 3] = 255;
  }
  ctx.putImageData(image, 0, 0);
  return canvas;
}
