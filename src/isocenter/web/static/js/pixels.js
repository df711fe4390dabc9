// @ts-check
// Frame bytes to arrays the painter can index: unused bits removed, signs extended.

/** @typedef {import("./image.js").Image} Image */
/**
 * Grey and palette pixels hold the stored value's low 16 bits (or 8); `low` and `high` are the stored values' range.
 * Colour pixels are RGBA words.
 * @typedef {{kind: "values", pixels: Uint8Array | Uint16Array, low: number, high: number, bytes: number}} ValueFrame
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
  if (image.kind === "rgb") return colour(bytes, pixels);
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
  const { bitsStored, bitsAllocated, signed } = image;
  if (bitsStored === bitsAllocated && !(signed && bitsAllocated === 8)) return values;
  const mask = 2 ** bitsStored - 1;
  const sign = signed ? 2 ** (bitsStored - 1) : 0;
  const out = signed ? new Uint16Array(values.length) : values.slice();
  for (let i = 0; i < values.length; i += 1) {
    const v = /** @type {number} */ (values[i]) & mask;
    out[i] = (v ^ sign) - sign;
  }
  return out;
}

/** @param {Uint8Array | Uint16Array} pixels @param {Image} image @returns {ValueFrame} */
function range(pixels, image) {
  const view = signedView(pixels, image);
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < view.length; i += 1) {
    const v = /** @type {number} */ (view[i]);
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return { kind: "values", pixels, low, high, bytes: pixels.byteLength };
}

/** @param {Uint8Array | Uint16Array} pixels @param {Image} image @returns {Uint8Array | Uint16Array | Int16Array} stored values */
function signedView(pixels, image) {
  return image.signed && pixels instanceof Uint16Array ? new Int16Array(pixels.buffer, pixels.byteOffset, pixels.length) : pixels;
}

/**
 * Reads a frame pixel by pixel: null outside of it, and where padding says that there is no image.
 * @param {ValueFrame} frame @param {Image} image @param {(stored: number) => number | null} meaning of a stored value
 * @returns {(column: number, row: number) => number | null}
 */
export function reader(frame, image, meaning) {
  const view = signedView(frame.pixels, image);
  const [low, high] = image.padding ?? [1, 0];
  return (column, row) => {
    const stored = column >= 0 && column < image.columns ? view[row * image.columns + column] : undefined;
    return stored === undefined || (stored >= low && stored <= high) ? null : meaning(stored);
  };
}

/** Values looked at to find a window. */
const SAMPLE = 1_000_000;

/**
 * Stored values at two fractions of the order from lowest to highest, between two values by interpolation. Padding is
 * left out unless there is nothing else.
 * @param {ValueFrame} frame @param {Image} image @param {number} lower 0 to 1 @param {number} upper 0 to 1
 * @returns {[number, number]}
 */
export function quantiles(frame, image, lower, upper) {
  const view = signedView(frame.pixels, image);
  const step = Math.max(1, Math.floor(view.length / SAMPLE));
  const counts = new Uint32Array(frame.high - frame.low + 1);
  const [paddingLow, paddingHigh] = image.padding ?? [1, 0];
  let n = 0;
  for (let i = 0; i < view.length; i += step) {
    const v = /** @type {number} */ (view[i]);
    if (v >= paddingLow && v <= paddingHigh) continue;
    const at = v - frame.low;
    counts[at] = /** @type {number} */ (counts[at]) + 1;
    n += 1;
  }
  if (n === 0) return [frame.low, frame.high];
  const at = (/** @type {number} */ fraction) => {
    const place = fraction * (n - 1);
    const before = frame.low + nth(counts, Math.floor(place));
    const after = frame.low + nth(counts, Math.ceil(place));
    return before + (after - before) * (place - Math.floor(place));
  };
  const [a, b] = [at(lower), at(upper)];
  return b > a ? [a, b] : [at(0), at(1)];
}

/** @param {Uint32Array} counts @param {number} place @returns {number} index of the place-th thing counted */
function nth(counts, place) {
  let seen = 0;
  for (let i = 0; i < counts.length; i += 1) {
    seen += /** @type {number} */ (counts[i]);
    if (seen > place) return i;
  }
  return counts.length - 1;
}

/** @param {Uint8Array} bytes @param {number} count @returns {ColourFrame} */
function colour(bytes, count) {
  const pixels = new Uint32Array(count);
  for (let i = 0, at = 0; i < count; i += 1, at += 3) {
    pixels[i] =
      (0xff000000 |
        (/** @type {number} */ (bytes[at + 2]) << 16) |
        (/** @type {number} */ (bytes[at + 1]) << 8) |
        /** @type {number} */ (bytes[at])) >>>
      0;
  }
  return { kind: "colour", pixels, bytes: pixels.byteLength };
}
