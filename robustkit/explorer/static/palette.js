/**
 * Colours that say the same to readers with any of the usual kinds of colour
 * vision: seven of Okabe and Ito's eight (black is lost on a dark ground), and three
 * that stay apart from them. Classes are told by their names too (legend, lists,
 * pies when large), never by colour alone.
 */

const OKABE_ITO = [
  "#0072B2",
  "#E69F00",
  "#009E73",
  "#CC79A7",
  "#56B4E9",
  "#D55E00",
  "#F0E442",
];
// Any two stay at least 15 apart (CIE 1976 colour difference) also as readers with
// protanopia, deuteranopia or tritanopia see them.
const LIGHT = [...OKABE_ITO, "#5B2A86", "#5C5C5C", "#3B1F10"];
const DARK = [...OKABE_ITO, "#8B3FD9", "#666666", "#F4F1E8"];

/** Stops of the scales, low to high. */
const SCALES = {
  accuracy: [
    "#9A2F04",
    "#DD6A16",
    "#F6B24A",
    "#F2E5A6",
    "#A6CFE2",
    "#3F8FC0",
    "#08519C",
  ],
  purity: ["#3B1C59", "#443983", "#31688E", "#21918C", "#35B779", "#90D743", "#FDE725"],
  size: ["#123A5E", "#3D5578", "#66707A", "#8C8B73", "#B8A861", "#E3CB4B", "#FCE83A"],
};

/** The colour of class `index`; beyond ten the colours come again, lighter. */
export function classColour(index, dark) {
  const base = (dark ? DARK : LIGHT)[index % LIGHT.length];
  const round = Math.floor(index / LIGHT.length);
  return round === 0
    ? base
    : mix(base, dark ? "#000000" : "#FFFFFF", Math.min(0.7, 0.35 * round));
}

/** The colour at `share` (0 to 1) of a scale, one of 64 so that drawing can be batched. */
export function scaleColour(name, share) {
  const ramp = rampOf(name);
  const index = Math.round(Math.min(1, Math.max(0, share)) * (ramp.length - 1));
  return ramp[Number.isFinite(index) ? index : 0];
}

const ramps = new Map();

function rampOf(name) {
  if (!ramps.has(name)) {
    const stops = SCALES[name];
    const steps = Array.from({ length: 64 }, (_, i) => {
      const at = (i / 63) * (stops.length - 1);
      const low = Math.min(stops.length - 2, Math.floor(at));
      return mix(stops[low], stops[low + 1], at - low);
    });
    ramps.set(name, steps);
  }
  return ramps.get(name);
}

const channels = (colour) =>
  [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

function mix(a, b, share) {
  const [from, to] = [channels(a), channels(b)];
  const parts = from.map((value, k) => Math.round(value + (to[k] - value) * share));
  return `#${parts.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** Black or white, whichever is easier to read on `colour`. */
export function inkOn(colour) {
  const [r, g, b] = channels(colour).map((value) => {
    const v = value / 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000000" : "#ffffff";
}
