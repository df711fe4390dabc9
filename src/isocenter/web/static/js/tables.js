// @ts-check
// Lookup tables out of a data set (PS3.3 C.11.1.1, C.7.6.3.1.5, C.7.6.3.1.6): inline, as numbers, or fetched.

import { Tag } from "./dataset.js";

/** @typedef {import("./dataset.js").Attribute} Attribute */
/** @typedef {import("./image.js").LutSource} LutSource */
/** @typedef {(uri: string) => Promise<Uint8Array>} FetchBulk */
/** `first` is the input that maps to values[0]; inputs outside take the first or last entry. @typedef {{first: number, bits: number, values: Uint16Array}} Lut */

/** @param {string} base64 @returns {Uint8Array} */
export function fromBase64(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

/**
 * @param {number[]} descriptor entries (0 means 65,536), first input mapped, bits per entry
 * @param {Attribute} attribute @param {FetchBulk} fetchBulk @returns {Promise<Lut>}
 */
async function resolve(descriptor, attribute, fetchBulk) {
  const entries = (descriptor[0] ?? 0) & 0xffff || 65536;
  const first = descriptor[1] ?? 0;
  const bits = Math.min(16, Math.max(1, descriptor[2] ?? 16));
  if (attribute.Value) {
    const values = Uint16Array.from(attribute.Value, Number);
    return check({ first, bits, values }, entries);
  }
  const bytes = attribute.InlineBinary ? fromBase64(attribute.InlineBinary) : await fetchBulk(attribute.BulkDataURI ?? "");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // 8-bit entries come packed two to a word, or each in a word of its own; the length tells which.
  const packed = bits <= 8 && bytes.byteLength < entries * 2;
  const length = Math.min(entries, packed ? bytes.byteLength : bytes.byteLength >> 1);
  const values = new Uint16Array(length);
  for (let i = 0; i < length; i += 1) values[i] = packed ? view.getUint8(i) : view.getUint16(i * 2, true);
  return check({ first, bits, values }, entries);
}

/** @param {Lut} lut @param {number} entries @returns {Lut} */
function check(lut, entries) {
  if (lut.values.length === 0) throw new Error("A lookup table of this image is empty.");
  return { ...lut, values: lut.values.subarray(0, entries) };
}

/**
 * @param {LutSource} source @param {boolean} signedInput whether the first mapped value is to be read as signed
 * @param {FetchBulk} fetchBulk @returns {Promise<Lut>}
 */
export async function grayLut(source, signedInput, fetchBulk) {
  const lut = await resolve(source.descriptor, source.data, fetchBulk);
  // Entries above their announced depth would leave the range of the display.
  const top = 2 ** lut.bits - 1;
  if (lut.bits < 16) lut.values = lut.values.map((v) => Math.min(v, top));
  return { ...lut, first: signedInput && lut.first > 32767 ? lut.first - 65536 : lut.first };
}

/**
 * Palette as RGBA words ready for ImageData (little endian), `first` as in Lut.
 * @param {import("./image.js").Image} image @param {FetchBulk} fetchBulk
 * @returns {Promise<{first: number, colours: Uint32Array}>}
 */
export async function palette(image, fetchBulk) {
  const { ds } = image;
  const channels = await Promise.all(
    /** @type {[string, string][]} */ ([
      [Tag.RedDescriptor, Tag.RedData],
      [Tag.GreenDescriptor, Tag.GreenData],
      [Tag.BlueDescriptor, Tag.BlueData],
    ]).map(([descriptor, data]) => {
      const attribute = ds[data];
      if (!attribute) throw new Error("The colour palette of this image is incomplete.");
      return resolve((ds[descriptor]?.Value ?? []).map(Number), attribute, fetchBulk);
    }),
  );
  const [red, green, blue] = /** @type {[Lut, Lut, Lut]} */ (channels);
  const colours = new Uint32Array(Math.min(red.values.length, green.values.length, blue.values.length));
  const [r8, g8, b8] = /** @type {[Uint16Array, Uint16Array, Uint16Array]} */ (channels.map(highBytes));
  for (let i = 0; i < colours.length; i += 1) {
    colours[i] = (255 << 24) | (/** @type {number} */ (b8[i]) << 16) | (/** @type {number} */ (g8[i]) << 8) | /** @type {number} */ (r8[i]);
  }
  const first = image.signed && red.first > 32767 ? red.first - 65536 : red.first;
  return { first, colours };
}

/** Entries of 16 bits are cut to their high byte; some writers say 16 and fill 8, and their largest entry tells. @param {Lut} lut */
function highBytes(lut) {
  const deep = lut.bits > 8 && lut.values.some((v) => v > 255);
  return lut.values.map((v) => (deep ? v >> 8 : Math.min(v, 255)));
}

/** The tables of the images in use, resolved before their first paint. */
export class TableStore {
  /** @type {WeakMap<LutSource["data"], Lut>} */
  #luts = new WeakMap();
  /** @type {WeakMap<import("./image.js").Image, {first: number, colours: Uint32Array}>} */
  #palettes = new WeakMap();

  /** @param {FetchBulk} fetchBulk */
  constructor(fetchBulk) {
    this.fetchBulk = fetchBulk;
  }

  /** @param {import("./image.js").Image} image @param {number} frame */
  async prepare(image, frame) {
    if (image.kind === "palette") {
      if (!this.#palettes.has(image)) this.#palettes.set(image, await palette(image, this.fetchBulk));
      return;
    }
    if (image.kind !== "grey") return;
    const { modality, luts } = image.values(frame);
    const jobs = luts.map((source) => this.#prepareLut(source, image.signed || modality.intercept < 0));
    if (modality.lut) jobs.push(this.#prepareLut(modality.lut, image.signed));
    await Promise.all(jobs);
  }

  /** What was read by another sign. @param {import("./image.js").Image} image @param {number} frame */
  forget(image, frame) {
    this.#palettes.delete(image);
    const { modality, luts } = image.values(frame);
    for (const source of [...luts, modality.lut]) if (source) this.#luts.delete(source.data);
  }

  /** @param {LutSource} source @param {boolean} signedInput */
  async #prepareLut(source, signedInput) {
    if (!this.#luts.has(source.data)) this.#luts.set(source.data, await grayLut(source, signedInput, this.fetchBulk));
  }

  /** @param {LutSource} source @returns {Lut | null} */
  lut(source) {
    return this.#luts.get(source.data) ?? null;
  }

  /** @param {import("./image.js").Image} image */
  palette(image) {
    return this.#palettes.get(image) ?? null;
  }
}
