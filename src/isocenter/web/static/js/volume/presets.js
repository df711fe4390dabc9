// @ts-check
// How values become colour and opacity when a volume is rendered. Those for CT are in HU; the others go by the window, so
// that they fit images whose numbers have no unit.

/** Value, then red, green and blue from 0 to 1, then how opaque a millimetre of it is. @typedef {[number, number, number, number, number]} Stop */
/** `relative`: values are places in the window, 0 at its lower end and 1 at its upper. @typedef {{name: string, label: string, relative: boolean, projection: boolean, shaded: boolean, stops: Stop[]}} Preset */

const SKIN = /** @type {const} */ ([0.86, 0.66, 0.55]);

/** @type {Preset[]} */
const CT = [
  { name: "bone", label: "Bone", relative: false, projection: false, shaded: true, stops: [[120, 0.72, 0.36, 0.27, 0], [240, 0.86, 0.6, 0.45, 0.22], [420, 0.95, 0.87, 0.74, 0.75], [1200, 1, 0.99, 0.95, 1]] },
  { name: "soft", label: "Soft tissue and bone", relative: false, projection: false, shaded: true, stops: [[-160, ...SKIN, 0], [-60, ...SKIN, 0.006], [30, 0.8, 0.42, 0.34, 0.012], [100, 0.85, 0.36, 0.28, 0.03], [190, 0.9, 0.4, 0.3, 0.22], [320, 0.94, 0.83, 0.68, 0.6], [1000, 1, 0.98, 0.93, 1]] },
  { name: "vessels", label: "Vessels", relative: false, projection: false, shaded: true, stops: [[110, 0.5, 0.08, 0.07, 0], [180, 0.82, 0.16, 0.12, 0.35], [320, 0.93, 0.42, 0.28, 0.6], [600, 0.97, 0.9, 0.78, 0.85]] },
  { name: "lung", label: "Lungs and airways", relative: false, projection: false, shaded: true, stops: [[-1000, 0.3, 0.5, 0.7, 0], [-980, 0.35, 0.6, 0.8, 0.015], [-900, 0.5, 0.72, 0.85, 0.03], [-750, 0.85, 0.72, 0.62, 0.06], [-550, 0.9, 0.6, 0.5, 0.03], [-400, 0.9, 0.6, 0.5, 0]] },
  { name: "skin", label: "Skin", relative: false, projection: false, shaded: true, stops: [[-500, ...SKIN, 0], [-260, ...SKIN, 0.6], [-50, 0.9, 0.7, 0.6, 1]] },
];
/** @type {Preset[]} */
const ANY = [
  { name: "surface", label: "Surface", relative: true, projection: false, shaded: true, stops: [[0.1, 0.6, 0.62, 0.66, 0], [0.35, 0.8, 0.8, 0.8, 0.35], [0.8, 1, 0.98, 0.95, 0.9]] },
  { name: "glass", label: "Translucent", relative: true, projection: false, shaded: false, stops: [[0.02, 0.2, 0.3, 0.5, 0], [0.4, 0.5, 0.65, 0.85, 0.01], [0.8, 1, 0.9, 0.7, 0.08], [1, 1, 1, 1, 0.3]] },
  { name: "mip", label: "Brightest (MIP)", relative: true, projection: true, shaded: false, stops: [[0, 0, 0, 0, 1], [1, 1, 1, 1, 1]] },
];

/** @param {string} modality @returns {Preset[]} those that fit, the best first */
export function scenePresets(modality) {
  return modality === "CT" ? [...CT, ...ANY] : ANY;
}

export const COLOURS = 1024;

/**
 * Colours over a volume's range, for a texture: RGBA, not premultiplied, alpha as the opacity of a millimetre.
 * @param {Preset} preset @param {number} low @param {number} high modality values of the ends
 * @param {{center: number, width: number}} window @returns {Uint8Array} COLOURS x 4
 */
export function coloursOf(preset, low, high, window) {
  const stops = preset.stops.map(([value, ...rest]) => /** @type {Stop} */ ([preset.relative ? window.center + (value - 0.5) * window.width : value, ...rest]));
  const out = new Uint8Array(COLOURS * 4);
  for (let i = 0; i < COLOURS; i += 1) {
    const colour = between(stops, low + ((high - low) * i) / (COLOURS - 1));
    for (let j = 0; j < 4; j += 1) out[4 * i + j] = Math.round(255 * (colour[j + 1] ?? 0));
  }
  return out;
}

/** @param {Stop[]} stops ascending @param {number} value @returns {number[]} */
function between(stops, value) {
  const next = stops.findIndex(([at]) => at > value);
  if (next < 0) return /** @type {Stop} */ (stops.at(-1));
  if (next === 0) return /** @type {Stop} */ (stops[0]);
  const [a, b] = [/** @type {Stop} */ (stops[next - 1]), /** @type {Stop} */ (stops[next])];
  const part = (value - a[0]) / (b[0] - a[0]);
  return a.map((v, i) => v + part * ((b[i] ?? 0) - v));
}
