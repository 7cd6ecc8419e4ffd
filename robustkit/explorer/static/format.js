/** How numbers are written on the page: one way each, everywhere. */

const WHOLE = new Intl.NumberFormat("en");

/** 60000 -> "60,000" */
export const whole = (value) => WHOLE.format(value);

/** 0.1234 -> "12.3 %" */
export const percent = (value) =>
  Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : "none";

/** 0.91234 -> "0.912" */
export const fraction = (value) => (Number.isFinite(value) ? value.toFixed(3) : "none");

/** An attack level, without the zeros that a binary fraction leaves behind. */
export const level = (value) => String(Number(value.toPrecision(6)));

/** 1 node, 2 nodes. */
export const count = (value, noun) =>
  `${whole(value)} ${noun}${value === 1 ? "" : "s"}`;
