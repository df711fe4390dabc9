// @ts-check
// Stored value to screen grey in one step. Modality LUT, VOI LUT, Presentation LUT and the display's own table are folded
// into a single one of 65,536 RGBA words (PS3.4 N.2, PS3.3 C.11, PS3.14), so a repaint is one lookup a pixel whatever
// the transforms were.

import { quantiles } from "./pixels.js";

/** @typedef {import("./tables.js").Lut} Lut */
/** @typedef {import("./image.js").VoiFunction} VoiFunction */
/** @typedef {{kind: "window", center: number, width: number, function: VoiFunction} | {kind: "lut", lut: Lut}} Voi */
/**
 * @typedef {object} GreyTransform
 * @property {number} slope
 * @property {number} intercept
 * @property {Lut | null} modalityLut replaces slope and intercept
 * @property {Voi} voi
 * @property {boolean} inverse
 * @property {[number, number] | null} padding stored values, inclusive, that are black whatever is inverted
 */

export const TABLE_SIZE = 65536;
const OPAQUE = 0xff000000;

/** To the nearest whole number, halves to the even one, as the server's numpy does: both must show the same greys. @param {number} x */
function rint(x) {
  const up = Math.floor(x + 0.5);
  return up - x === 0.5 && up % 2 !== 0 ? up - 1 : up;
}

/** @param {Lut} lut @param {number} x @returns {number} */
function lookUp(lut, x) {
  const i = Math.min(lut.values.length - 1, Math.max(0, rint(x) - lut.first));
  return /** @type {number} */ (lut.values[i]);
}

/** @param {number} level */
const clip = (level) => Math.min(1, Math.max(0, level));

/**
 * VOI LUT function of PS3.3 C.11.2.1.2 and C.11.2.1.3; its output is 0 (darkest) to 1.
 * @param {VoiFunction} name @param {number} center @param {number} width
 * @returns {(x: number) => number}
 */
export function windowFunction(name, center, width) {
  if (name === "SIGMOID") return (x) => 1 / (1 + Math.exp((-4 * (x - center)) / width));
  if (name === "LINEAR_EXACT") return (x) => clip((x - center) / width + 0.5);
  if (width === 1) return (x) => (x > center - 0.5 ? 1 : 0);
  return (x) => clip((x - (center - 0.5)) / (width - 1) + 0.5);
}

/** @param {GreyTransform} t @param {number} stored @returns {number} modality value */
export function modalityValue(t, stored) {
  return t.modalityLut ? lookUp(t.modalityLut, stored) : stored * t.slope + t.intercept;
}

/**
 * The window after a drag: the wider it is, the bigger the step.
 * @param {GreyTransform} t @param {number} dx wider @param {number} dy up, CSS pixels
 * @returns {import("./image.js").Window}
 */
export function draggedWindow({ voi, slope }, dx, dy) {
  /** @type {{center: number, width: number, function: VoiFunction}} */
  const from = voi.kind === "window" ? voi : { center: voi.lut.first + voi.lut.values.length / 2, width: voi.lut.values.length, function: "LINEAR" };
  const step = Math.max(from.width, 16) / 400;
  const fine = from.width < 20 && !Number.isInteger(slope) ? 100 : 1;
  const least = from.function === "LINEAR" ? 1 : 1 / fine;
  return { center: from.center + dy * step, width: Math.max(least, from.width + dx * step), function: from.function, label: "" };
}

/**
 * Fills the entries for stored values low..high (both inclusive); entry index is the value's low 16 bits, so negative
 * values lie at the upper end and pixel arrays are used as they are, without an offset.
 * @param {Uint32Array} table TABLE_SIZE RGBA words @param {GreyTransform} t @param {number} low @param {number} high
 * @param {Uint16Array | null} levels the display's, of P-Values of 16 bits; null where nobody calibrated it
 */
export function fillTable(table, t, low, high, levels) {
  const { voi } = t;
  const shown =
    voi.kind === "lut"
      ? (/** @type {number} */ x) => lookUp(voi.lut, x) / (2 ** voi.lut.bits - 1)
      : windowFunction(voi.function, voi.center, voi.width);
  const [paddingLow, paddingHigh] = t.padding ?? [1, 0];
  for (let stored = low; stored <= high; stored += 1) {
    let level = shown(modalityValue(t, stored));
    if (t.inverse) level = 1 - level;
    if (stored >= paddingLow && stored <= paddingHigh) level = 0;
    const grey = levels ? /** @type {number} */ (levels[rint(level * 65535)]) : rint(level * 255);
    table[stored & 0xffff] = (OPAQUE | (grey << 16) | (grey << 8) | grey) >>> 0;
  }
}

/**
 * @param {Uint32Array} out RGBA words, one a pixel @param {Uint8Array | Uint16Array} pixels @param {Uint32Array} table
 */
export function applyTable(out, pixels, table) {
  const n = Math.min(out.length, pixels.length);
  for (let i = 0; i < n; i += 1) out[i] = /** @type {number} */ (table[/** @type {number} */ (pixels[i])]);
}

/**
 * The levels of a display for a picture whose greys are P-Values of 8 bits, as the server makes them. Colours stay.
 * @param {Uint32Array} words RGBA @param {Uint16Array} levels @param {boolean} inverted
 */
export function drivenGreys(words, levels, inverted) {
  for (let i = 0; i < words.length; i += 1) {
    const word = /** @type {number} */ (words[i]);
    const v = word & 0xff;
    if (((word >>> 8) & 0xff) === v && ((word >>> 16) & 0xff) === v) words[i] = (OPAQUE + /** @type {number} */ (levels[(inverted ? 255 - v : v) * 257]) * 0x010101) >>> 0;
    else if (inverted) words[i] = (OPAQUE | ~word) >>> 0;
  }
}

/**
 * Without a word from the header: the whole range of 8-bit values and of a table's output, else from the 0.5th to the
 * 99.5th percentile of the frame, so that metal or burnt-in text do not take the contrast of the rest.
 * @param {GreyTransform} t @param {import("./pixels.js").ValueFrame} frame @param {import("./image.js").Image} image
 * @returns {import("./image.js").Window}
 */
export function automaticWindow(t, frame, image) {
  let label = "Full range";
  /** @type {[number, number]} */
  let ends;
  if (image.largestSegment > 0) ends = [0, image.largestSegment];
  else if (t.modalityLut) ends = [0, 2 ** t.modalityLut.bits - 1];
  else if (!image.signed && image.bitsStored <= 8) ends = [modalityValue(t, 0), modalityValue(t, 2 ** image.bitsStored - 1)];
  else {
    const [a, b] = quantiles(frame, image, 0.005, 0.995);
    ends = [modalityValue(t, a), modalityValue(t, b)];
    label = "Automatic";
  }
  return { center: (ends[0] + ends[1]) / 2, width: Math.abs(ends[1] - ends[0]) || 1, function: "LINEAR_EXACT", label };
}
