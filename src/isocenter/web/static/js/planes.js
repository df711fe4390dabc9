// @ts-check
// What lies over an image's pixels: the display shutter (PS3.3 C.7.6.11) and overlay planes (C.9.2), as one cover of
// P-Values that is laid over the picture after every look-up of greys. The server's pixels/shutter.py and pixels/overlay.py
// do the same.

import { Tag, number, numbers, text, texts } from "./dataset.js";
import { fromBase64 } from "./tables.js";

/** @typedef {import("./dataset.js").DataSet} DataSet */
/** @typedef {import("./image.js").Image} Image */
/** P-Values of 16 bits that cover pixels, made opaque by the bit above; 0 lets a pixel through. @typedef {Uint32Array} Cover */
/** @typedef {{rows: number, columns: number, graphic: boolean, origin: [number, number], first: number, frames: number, data: import("./dataset.js").Attribute}} Plane */

const OPAQUE = 0x10000;
const WHITE = OPAQUE | 0xffff;
const GROUPS = Array.from({ length: 16 }, (_, i) => (0x6000 + 2 * i).toString(16).toUpperCase());

/**
 * Whether there are overlays or shutters that only the server shows: bits among those of pixels, colours in CIELab, an
 * overlay that is a shutter.
 * @param {DataSet} ds
 */
export function needsServer(ds) {
  const embedded = GROUPS.some((group) => ds[`${group}0010`] && !ds[`${group}3000`] && (number(ds, `${group}0100`) ?? 1) > 1);
  return embedded || ds[Tag.ShutterPresentationColor] !== undefined || texts(ds, Tag.ShutterShape).includes("BITMAP");
}

/** The packed overlays of an image that cover a frame. @param {Image} image @param {number} frame from 1 @returns {Plane[]} */
function planesOf({ ds }, frame) {
  return GROUPS.flatMap((group) => {
    const data = ds[`${group}3000`];
    const rows = number(ds, `${group}0010`);
    const columns = number(ds, `${group}0011`);
    if (!data || !rows || !columns) return [];
    const all = !ds[`${group}0015`];
    const first = all ? frame : (number(ds, `${group}0051`) ?? 1);
    const frames = all ? 1 : (number(ds, `${group}0015`) ?? 1);
    if (frame < first || frame >= first + frames) return [];
    const [row = 1, column = 1] = numbers(ds, `${group}0050`);
    return [{ rows, columns, graphic: text(ds, `${group}0040`) !== "R", origin: [row, column], first, frames, data }];
  });
}

/** @param {Cover} cover @param {Image} image @param {Plane} plane @param {number} index of the plane @param {Uint8Array} bytes */
function layPlane(cover, image, plane, index, bytes) {
  const { rows, columns, graphic } = plane;
  const start = index * rows * columns;
  if (bytes.length * 8 < start + rows * columns) return; // cut off: the image is shown without it
  const [top, left] = [plane.origin[0] - 1, plane.origin[1] - 1];
  /** @param {number} y @param {number} x in the image */
  const set = (y, x) => {
    const [r, c] = [y - top, x - left];
    if (r < 0 || c < 0 || r >= rows || c >= columns || y < 0 || x < 0 || y >= image.rows || x >= image.columns) return 0;
    const bit = start + r * columns + c;
    return (/** @type {number} */ (bytes[bit >> 3]) >> (bit & 7)) & 1;
  };
  for (let y = Math.max(0, top); y < Math.min(image.rows, top + rows); y += 1) {
    for (let x = Math.max(0, left); x < Math.min(image.columns, left + columns); x += 1) {
      if (!set(y, x)) continue;
      // A region of interest is shown by its edge, or nobody would see what it is about.
      if (graphic || !(set(y - 1, x) && set(y + 1, x) && set(y, x - 1) && set(y, x + 1))) cover[y * image.columns + x] = WHITE;
    }
  }
}

/** @param {DataSet} ds @param {string} shape @param {number} aspect @returns {((row: number, column: number) => boolean) | null} whether a pixel (from 1) is shown */
function opening(ds, shape, aspect) {
  if (shape === "RECTANGULAR") {
    const [upper, lower, left, right] = [Tag.ShutterUpperHorizontalEdge, Tag.ShutterLowerHorizontalEdge, Tag.ShutterLeftVerticalEdge, Tag.ShutterRightVerticalEdge].map((tag) => number(ds, tag));
    if (upper === undefined || lower === undefined || left === undefined || right === undefined) return null;
    return (row, column) => row >= upper && row <= lower && column >= left && column <= right;
  }
  if (shape === "CIRCULAR") {
    const [y, x] = numbers(ds, Tag.CenterOfCircularShutter);
    const radius = number(ds, Tag.RadiusOfCircularShutter);
    if (y === undefined || x === undefined || radius === undefined) return null;
    return (row, column) => ((row - y) * aspect) ** 2 + (column - x) ** 2 <= radius ** 2;
  }
  const points = numbers(ds, Tag.VerticesOfThePolygonalShutter);
  if (shape !== "POLYGONAL" || points.length < 6 || points.length % 2) return null;
  return (row, column) => inPolygon(points, row, column);
}

/** The even-odd rule, edges included. @param {number[]} points row, column, row, ... @param {number} row @param {number} column */
function inPolygon(points, row, column) {
  // With one end of each edge counted, and with the other: the row on which the polygon ends is in it too.
  return [0, 1].some((end) => {
    const crossed = [];
    for (let i = 0; i < points.length; i += 2) {
      const [y0, x0] = [/** @type {number} */ (points[i]), /** @type {number} */ (points[i + 1])];
      const [y1, x1] = [/** @type {number} */ (points[(i + 2) % points.length]), /** @type {number} */ (points[(i + 3) % points.length])];
      const [low, high] = [Math.min(y0, y1), Math.max(y0, y1)];
      if (end ? low < row && row <= high : low <= row && row < high) crossed.push(x0 + ((row - y0) / (y1 - y0)) * (x1 - x0));
    }
    crossed.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossed.length; i += 2) {
      if (column >= /** @type {number} */ (crossed[i]) - 1e-9 && column <= /** @type {number} */ (crossed[i + 1]) + 1e-9) return true;
    }
    return false;
  });
}

/** @param {Cover} cover @param {Image} image @param {DataSet} ds where the shutter stands */
function layShutter(cover, image, ds) {
  const shapes = texts(ds, Tag.ShutterShape);
  const openings = shapes.map((shape) => opening(ds, shape, image.aspect));
  if (openings.some((one) => one === null)) return; // not complete: nothing is hidden
  const word = OPAQUE | (number(ds, Tag.ShutterPresentationValue) ?? 0);
  for (let y = 0; y < image.rows; y += 1) {
    for (let x = 0; x < image.columns; x += 1) {
      if (!openings.every((one) => one?.(y + 1, x + 1))) cover[y * image.columns + x] = word;
    }
  }
}

/** The covers of the images in use, made before their first paint. */
export class PlaneStore {
  /** @type {WeakMap<Plane["data"], Uint8Array>} */
  #bytes = new WeakMap();
  /** @type {WeakMap<Image, Map<number, Cover | null>>} */
  #covers = new WeakMap();

  /** @param {import("./tables.js").FetchBulk} fetchBulk */
  constructor(fetchBulk) {
    this.fetchBulk = fetchBulk;
  }

  /** @param {Image} image @param {number} frame from 1 */
  async prepare(image, frame) {
    const covers = this.#covers.get(image) ?? new Map();
    this.#covers.set(image, covers);
    if (covers.has(frame)) return;
    const planes = planesOf(image, frame);
    const shutter = image.shutter(frame);
    if (planes.length === 0 && !shutter) {
      covers.set(frame, null);
      return;
    }
    const cover = new Uint32Array(image.rows * image.columns);
    if (shutter) layShutter(cover, image, shutter);
    for (const plane of planes) layPlane(cover, image, plane, frame - plane.first, await this.#fetch(plane.data));
    covers.set(frame, cover);
  }

  /** @param {Plane["data"]} data */
  async #fetch(data) {
    const here = this.#bytes.get(data);
    if (here) return here;
    const bytes = data.InlineBinary ? fromBase64(data.InlineBinary) : await this.fetchBulk(data.BulkDataURI ?? "");
    this.#bytes.set(data, bytes);
    return bytes;
  }

  /** @param {Image} image @param {number} frame from 1 @returns {Cover | null} */
  cover(image, frame) {
    return this.#covers.get(image)?.get(frame) ?? null;
  }
}

/** @param {Uint32Array} words of a picture @param {Cover} cover @param {Uint16Array | null} levels of a calibrated display, under greys */
export function layCover(words, cover, levels) {
  for (let i = 0; i < words.length; i += 1) {
    const laid = /** @type {number} */ (cover[i]);
    if (laid === 0) continue;
    const p = laid & 0xffff;
    words[i] = 0xff000000 + (levels ? /** @type {number} */ (levels[p]) : Math.round(p / 257)) * 0x010101;
  }
}

