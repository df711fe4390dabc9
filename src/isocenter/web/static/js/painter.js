// @ts-check
// Stored values to a picture of the image's own size: one table of greys or colours, applied to every pixel, and what
// covers them. The table is filled anew only when greys change, so that a drag of the window costs one pass.

import { display } from "./display/screen.js";
import { TABLE_SIZE, applyTable, drivenGreys, fillTable } from "./greys.js";
import { layCover } from "./planes.js";

/** @typedef {import("./loader.js").Entry} Entry */
/** @typedef {import("./pixels.js").Frame} Frame */

export class Painter {
  #source = document.createElement("canvas");
  #table = new Uint32Array(TABLE_SIZE);
  /** @type {ImageData | null} */
  #pixels = null;
  /** @type {Uint32Array} the words of #pixels */
  #words = new Uint32Array(0);
  /** Whether frame or greys are others than those of the last time. */
  dirty = true;
  /** Whether the picture is inverted already where it has to be. */
  turned = false;

  /** @param {import("./loader.js").FrameLoader} loader has the tables and the covers */
  constructor(loader) {
    this.loader = loader;
  }

  /**
   * @param {Frame} frame @param {Entry} entry @param {import("./greys.js").GreyTransform | null} greys null for colour
   * @param {boolean} [inverted] of what has no `greys`
   * @returns {HTMLCanvasElement | ImageBitmap}
   */
  picture(frame, entry, greys, inverted = false) {
    const driven = frame.kind === "bitmap" && display.levels !== null && entry.image.rendersGreys;
    this.turned = greys !== null || driven;
    if (frame.kind === "bitmap" && !driven) return frame.bitmap;
    const { columns, rows } = entry.image;
    const context = /** @type {CanvasRenderingContext2D} */ (this.#source.getContext("2d"));
    if (!this.#pixels || this.#pixels.width !== columns || this.#pixels.height !== rows) {
      this.#source.width = columns;
      this.#source.height = rows;
      this.#pixels = new ImageData(columns, rows);
      this.#words = new Uint32Array(this.#pixels.data.buffer);
      this.dirty = true;
    }
    if (!this.dirty) return this.#source;
    this.dirty = false;
    if (frame.kind === "bitmap") {
      context.drawImage(frame.bitmap, 0, 0, columns, rows);
      this.#pixels = context.getImageData(0, 0, columns, rows);
      this.#words = new Uint32Array(this.#pixels.data.buffer);
      drivenGreys(this.#words, /** @type {Uint16Array} */ (display.levels), inverted);
      context.putImageData(this.#pixels, 0, 0);
      return this.#source;
    }
    if (frame.kind === "colour") {
      this.#words.set(frame.pixels.subarray(0, this.#words.length));
    } else {
      this.#fill(frame, entry, greys);
      applyTable(this.#words, frame.pixels, this.#table);
    }
    const cover = this.loader.planes.cover(entry.image, entry.frame);
    if (cover) layCover(this.#words, cover, greys ? display.levels : null);
    context.putImageData(this.#pixels, 0, 0);
    return this.#source;
  }

  /** @param {import("./pixels.js").ValueFrame} frame @param {Entry} entry @param {import("./greys.js").GreyTransform | null} greys */
  #fill(frame, entry, greys) {
    if (greys) {
      fillTable(this.#table, greys, frame.low, frame.high, display.levels);
      return;
    }
    const palette = this.loader.tables.palette(entry.image);
    if (!palette) return;
    const { first, colours } = palette;
    for (let stored = frame.low; stored <= frame.high; stored += 1) {
      const i = Math.min(colours.length - 1, Math.max(0, stored - first));
      this.#table[stored & 0xffff] = /** @type {number} */ (colours[i]);
    }
  }
}
