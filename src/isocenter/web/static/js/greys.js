// @ts-check
// Stored value to screen grey in one step. Modality LUT, VOI LUT and Presentation LUT are folded into a single table of
// 65,536 RGBA words (PS3.4 N.2, PS3.3 C.11), so a repaint is one lookup a pixel whatever the transforms were.

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
 */

export const TABLE_SIZE = 65536;
const OPAQUE = 0xff000000;

/** @param {Lut} lut @param {number} x @returns {number} */
function lookUp(lut, x) {
  const i = Math.min(lut.values.length - 1, Math.max(0, Math.trunc(x) - lut.first));
  return /** @type {number} */ (lut.values[i]);
}

/**
 * VOI LUT function of PS3.3 C.11.2.1.2 and C.11.2.1.3, to the range 0..255, not rounded.
 * @param {VoiFunction} name @param {number} center @param {number} width
 * @returns {(x: number) => number}
 */
export function windowFunction(name, center, width) {
  if (name === "SIGMOID") return (x) => 255 / (1 + Math.exp((-4 * (x - center)) / width));
  if (name === "LINEAR_EXACT") {
    const low = center - width / 2;
    return (x) => (x <= low ? 0 : x > center + width / 2 ? 255 : ((x - center) / width + 0.5) * 255);
  }
  const c = center - 0.5;
  const w = width - 1;
  return (x) => (x <= c - w / 2 ? 0 : x > c + w / 2 ? 255 : ((x - c) / w + 0.5) * 255);
}

/** @param {GreyTransform} t @param {number} stored @returns {number} modality value */
export function modalityValue(t, stored) {
  return t.modalityLut ? lookUp(t.modalityLut, stored) : stored * t.slope + t.intercept;
}

/**
 * Fills the entries for stored values low..high (both inclusive); entry index is the value's low 16 bits, so negative
 * values lie at the upper end and pixel arrays are used as they are, without an offset.
 * @param {Uint32Array} table TABLE_SIZE RGBA words @param {GreyTransform} t @param {number} low @param {number} high
 */
export function fillTable(table, t, low, high) {
  const { voi } = t;
  const shown =
    voi.kind === "lut"
      ? (/** @type {number} */ x) => (lookUp(voi.lut, x) * 255) / (2 ** voi.lut.bits - 1)
      : windowFunction(voi.function, voi.center, voi.width);
  for (let stored = low; stored <= high; stored += 1) {
    const y = Math.min(255, Math.floor(shown(modalityValue(t, stored)) + 0.5));
    const grey = t.inverse ? 255 - y : y;
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
