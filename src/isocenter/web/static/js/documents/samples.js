// @ts-check
// A multiplex group of a waveform (PS3.3 C.10.9) as numbers in the units of its channels. Pure.

import { items, number, text } from "../dataset.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** `scale` turns its values into millivolts, or is 0 where they are no voltage. @typedef {{label: string, unit: string, scale: number, values: Float32Array}} Channel */
/** @typedef {{label: string, frequency: number, channels: Channel[]}} Group */

/** Bytes and reader of each Waveform Sample Interpretation that is linear. @type {Record<string, [number, (view: DataView, at: number) => number]>} */
const KINDS = {
  SB: [1, (view, at) => view.getInt8(at)],
  UB: [1, (view, at) => view.getUint8(at)],
  SS: [2, (view, at) => view.getInt16(at, true)],
  US: [2, (view, at) => view.getUint16(at, true)],
  SL: [4, (view, at) => view.getInt32(at, true)],
  UL: [4, (view, at) => view.getUint32(at, true)],
};
/** UCUM codes of voltages, in millivolts. @type {Record<string, number>} */
const MILLIVOLTS = { nV: 1e-6, uV: 1e-3, "µV": 1e-3, mV: 1, V: 1000 };

/** The lead of a channel as it is written on paper, whatever scheme its code is from. @param {string} meaning */
function lead(meaning) {
  const found = /^(?:lead\s*)?(III|II|I|aVR|aVL|aVF|V[1-9]R?)\b/i.exec(meaning.trim());
  if (!found) return meaning;
  const name = /** @type {string} */ (found[1]);
  return /^av/i.test(name) ? `aV${name.slice(2).toUpperCase()}` : name.toUpperCase();
}

/**
 * Raises Error for samples that are not linear, and for data cut short.
 * @param {DataSet} group an item of the Waveform Sequence @param {Uint8Array} bytes its Waveform Data @returns {Group}
 */
export function samples(group, bytes) {
  const interpretation = text(group, "54001006");
  const kind = KINDS[interpretation];
  const count = number(group, "003A0005") ?? 0;
  const length = number(group, "003A0010") ?? 0;
  const frequency = number(group, "003A001A") ?? 0;
  if (!kind || !(frequency > 0) || count < 1) throw new Error(`Samples of the kind ${interpretation || "?"} are not drawn.`);
  const [size, read] = kind;
  if (bytes.byteLength < size * count * length) throw new Error("The waveform's data are cut short.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const definitions = items(group, "003A0200");
  const channels = Array.from({ length: count }, (_, i) => {
    const definition = definitions[i];
    const sensitivity = number(definition, "003A0210");
    const factor = (sensitivity ?? 1) * (number(definition, "003A0212") ?? 1);
    const baseline = number(definition, "003A0213") ?? 0;
    const unit = sensitivity === undefined ? "" : text(items(definition, "003A0211")[0], "00080100");
    const values = new Float32Array(length);
    for (let k = 0; k < length; k += 1) values[k] = read(view, (k * count + i) * size) * factor + baseline;
    const label = lead(text(items(definition, "003A0208")[0], "00080104") || text(definition, "003A0203") || `${i + 1}`);
    return { label, unit, scale: MILLIVOLTS[unit] ?? 0, values };
  });
  return { label: text(group, "003A0020"), frequency, channels };
}
