// @ts-check
// Frame bytes to arrays the painter can index: unused bits removed, signs extended, planes interleaved.

/** @typedef {import("./image.js").Image} Image */
/**
 * Grey and palette pixels hold the stored value's low 16 bits (or 8); `low` and `high` are the stored values' range,
 * padding left out. Colour pixels are RGBA words.
 * @typedef {{kind: "values", pixels: Uint8Array | Uint16Array, low: number, high: number, dataLow: number, dataHigh: number, bytes: number}} ValueFrame
 * @typedef {{kind: "colour", pixels: Uint32Array, bytes: number}} ColourFrame
 * @typedef {{kind: "bitmap", bitmap: ImageBitmap, bytes: number}} BitmapFrame
 * @typedef {ValueFrame | ColourFrame | BitmapFrame} Frame
 */

/** @param {Uint8Array} bytes @param {Image} image @returns {Frame} */
export function unpack(bytes, image) {
  const pixels = image.rows * image.columns;
  const needed = pixels * image.samples * (image.bitsAllocated / 8);
  if (bytes.byteLength < needed) {
    throw new Error(`The frame has ${bytes.byteLength} bytes where ${needed} are needed.`);
  }
  if (image.kind === "rgb") return colour(bytes, pixels, image.planar === 1);
  const values = image.bitsAllocated === 8 ? bytes.subarray(0, pixels) : words(bytes, pixels);
  return range(normalise(values, image), image);
}

/** @param {Uint8Array} bytes @param {number} count @returns {Uint16Array} */
function words(bytes, count) {
  if (bytes.byteOffset % 2 === 0) return new Uint16Array(bytes.buffer, bytes.byteOffset, count);
  return new Uint16Array(bytes.slice(0, count * 2).buffer);
}

/**
 * Bits outside Bits Stored may hold overlays or rubbish (PS3.5 section 8.1.1).
 * @param {Uint8Array | Uint16Array} values @param {Image} image @returns {Uint8Array | Uint16Array}
 */
function normalise(values, image) {
  const { bitsStored, bitsAllocated, highBit, signed } = image;
  const shift = Math.max(0, highBit + 1 - bitsStored);
  if (bitsStored === bitsAllocated && !(signed && bitsAllocated === 8)) return values;
  const mask = 2 ** bitsStored - 1;
  const sign = signed ? 2 ** (bitsStored - 1) : 0;
  const out = signed ? new Uint16Array(values.length) : values.slice();
  for (let i = 0; i < values.length; i += 1) {
    const v = (/** @type {number} */ (values[i]) >> shift) & mask;
    out[i] = (v ^ sign) - sign;
  }
  return out;
}

/** @param {Uint8Array | Uint16Array} pixels @param {Image} image @returns {ValueFrame} */
function range(pixels, image) {
  const signed = image.signed;
  const view = signed && pixels instanceof Uint16Array ? new Int16Array(pixels.buffer, pixels.byteOffset, pixels.length) : pixels;
  const padding = image.padding;
  let low = Infinity;
  let high = -Infinity;
  let dataLow = Infinity;
  let dataHigh = -Infinity;
  for (let i = 0; i < view.length; i += 1) {
    const v = /** @type {number} */ (view[i]);
    if (v < low) low = v;
    if (v > high) high = v;
    if (padding && v >= padding[0] && v <= padding[1]) continue;
    if (v < dataLow) dataLow = v;
    if (v > dataHigh) dataHigh = v;
  }
  if (dataLow > dataHigh) [dataLow, dataHigh] = [low, high];
  return { kind: "values", pixels, low, high, dataLow, dataHigh, bytes: pixels.byteLength };
}

/** @param {Uint8Array} bytes @param {number} count @param {boolean} planar @returns {ColourFrame} */
function colour(bytes, count, planar) {
  const pixels = new Uint32Array(count);
  const step = planar ? 1 : 3;
  const green = planar ? count : 1;
  const blue = planar ? 2 * count : 2;
  for (let i = 0, at = 0; i < count; i += 1, at += step) {
    pixels[i] =
      (0xff000000 |
        (/** @type {number} */ (bytes[at + blue]) << 16) |
        (/** @type {number} */ (bytes[at + green]) << 8) |
        /** @type {number} */ (bytes[at])) >>>
      0;
  }
  return { kind: "colour", pixels, bytes: pixels.byteLength };
}
