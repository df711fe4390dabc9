// @ts-check
// Test patterns, made from numbers for the pixels that there are, so that nothing is scaled: after AAPM TG18-QC and SMPTE
// RP 133 what one looks at, after TG18-LN what a photometer is held to.

/** 5 % and 95 % of 255, which have to be told from 0 and 255. */
export const FIVE = 13;
export const NINETY_FIVE = 242;
const GREY = 128;
/** By how many levels the corners of a patch differ from it (TG18-QC). */
const CORNER = 4;
const STEPS = 18;
/** The surround of the field that is measured: a fifth of the greatest luminance where the function is followed (TG18-LN). */
const SURROUND = 153;

const LETTERS = "ISOCENTER";
/** Seven rows of five bits of each letter. @type {Record<string, number[]>} */
const GLYPHS = {
  I: [14, 4, 4, 4, 4, 4, 14],
  S: [15, 16, 16, 14, 1, 1, 30],
  O: [14, 17, 17, 17, 17, 17, 14],
  C: [14, 17, 16, 16, 16, 17, 14],
  E: [31, 16, 16, 30, 16, 16, 31],
  N: [17, 25, 21, 19, 17, 17, 17],
  T: [31, 4, 4, 4, 4, 4, 4],
  R: [30, 17, 17, 30, 20, 18, 17],
};

/** 8-bit levels of a picture. */
class Sheet {
  /** @param {number} width @param {number} height @param {number} level */
  constructor(width, height, level) {
    this.width = width;
    this.height = height;
    this.levels = new Uint8Array(width * height).fill(level);
  }

  /** @param {Box} box @param {(x: number, y: number) => number} level of a pixel, from the corner of the box */
  draw([x0, y0, width, height], level) {
    for (let y = Math.max(0, y0); y < Math.min(this.height, y0 + height); y += 1) {
      for (let x = Math.max(0, x0); x < Math.min(this.width, x0 + width); x += 1) this.levels[y * this.width + x] = level(x - x0, y - y0);
    }
  }

  /** @param {Box} box @param {number} level */
  fill(box, level) {
    this.draw(box, () => level);
  }

  /** The whole pixels of a box given in hundredths of width and height. @param {number} x0 @param {number} y0 @param {number} x1 @param {number} y1 @returns {Box} */
  box(x0, y0, x1, y1) {
    const [left, top] = [Math.round((x0 * this.width) / 100), Math.round((y0 * this.height) / 100)];
    return [left, top, Math.round((x1 * this.width) / 100) - left, Math.round((y1 * this.height) / 100) - top];
  }
}

/** Left, top, width, height. @typedef {[number, number, number, number]} Box */

/** A box in the middle of another. @param {Box} box @param {number} part of its smaller side @returns {Box} */
function inner([x, y, width, height], part) {
  const side = Math.round(Math.min(width, height) * part);
  return [x + ((width - side) >> 1), y + ((height - side) >> 1), side, side];
}

/**
 * What shows most of a display at a glance: 18 steps with corners that differ a little, 0 and 5 %, 95 and 100 %, line
 * pairs of one and two pixels, continuous ramps, letters that fade, and a frame that has to be whole.
 * @param {number} width device pixels @param {number} height @returns {Uint8Array} levels
 */
export function qualityPattern(width, height) {
  const sheet = new Sheet(width, height, GREY);
  const pitch = Math.max(8, Math.round(height / 12));
  const [left, top] = [Math.round((width % pitch) / 2), Math.round((height % pitch) / 2)];
  sheet.draw([0, 0, width, height], (x, y) => ((x - left) % pitch === 0 || (y - top) % pitch === 0 ? 160 : GREY));
  sheet.draw([0, 0, width, height], (x, y) => (x === 0 || y === 0 || x === width - 1 || y === height - 1 ? 255 : /** @type {number} */ (sheet.levels[y * width + x])));
  steps(sheet);
  ramps(sheet);
  extremes(sheet);
  linePairs(sheet);
  letters(sheet);
  return sheet.levels;
}

/** @param {Sheet} sheet 18 steps, from left to right above and on from right to left below */
function steps(sheet) {
  for (let i = 0; i < STEPS; i += 1) {
    const level = i * 15;
    const column = i < STEPS / 2 ? i : STEPS - 1 - i;
    const box = sheet.box(12 + column * 8.5, i < STEPS / 2 ? 6 : 72, 12 + column * 8.5 + 8, i < STEPS / 2 ? 26 : 92);
    sheet.fill(box, level);
    const [x, y, w, h] = box;
    const [cw, ch] = [Math.round(w / 5), Math.round(h / 5)];
    sheet.fill([x, y, cw, ch], Math.min(255, level + CORNER));
    sheet.fill([x + w - cw, y + h - ch, cw, ch], Math.max(0, level - CORNER));
  }
}

/** @param {Sheet} sheet all levels, one after the other: a band means that some are lost */
function ramps(sheet) {
  const level = (/** @type {number} */ y, /** @type {number} */ h) => Math.min(255, Math.floor((256 * y) / h));
  for (const [x0, up] of /** @type {const} */ ([[4, false], [92, true]])) {
    const box = sheet.box(x0, 6, x0 + 4, 92);
    sheet.draw(box, (_, y) => level(up ? box[3] - 1 - y : y, box[3]));
  }
}

/** @param {Sheet} sheet */
function extremes(sheet) {
  for (const [x0, outer, within] of /** @type {const} */ ([[12, 0, FIVE], [74, 255, NINETY_FIVE]])) {
    const box = sheet.box(x0, 36, x0 + 14, 62);
    sheet.fill(box, outer);
    sheet.fill(inner(box, 0.5), within);
  }
}

/** @param {Sheet} sheet one pixel on, one off, and two by two; full contrast above, little below */
function linePairs(sheet) {
  for (let i = 0; i < 4; i += 1) {
    const wide = 1 + (i >> 1);
    for (const [row, dark, bright] of /** @type {const} */ ([[36, 0, 255], [49.5, GREY - 8, GREY + 8]])) {
      const box = sheet.box(29 + i * 11, row, 29 + i * 11 + 10, row + 12.5);
      sheet.draw(box, (x, y) => (Math.floor((i % 2 ? y : x) / wide) % 2 ? bright : dark));
    }
  }
}

/** @param {Sheet} sheet letters, each one level fainter than the one before: brighter than their ground above, darker below */
function letters(sheet) {
  for (const [y, sign] of /** @type {const} */ ([[28, 1], [64.5, -1]])) {
    for (const [i, ground] of [26, GREY, 229].entries()) {
      const box = sheet.box(12 + i * 25.5, y, 12 + i * 25.5 + 25, y + 5.5);
      sheet.fill(box, ground);
      const size = Math.max(1, Math.floor(Math.min(box[3] / 8, box[2] / (6 * LETTERS.length + 1))));
      const [x0, y0] = [box[0] + ((box[2] - (6 * LETTERS.length - 1) * size) >> 1), box[1] + ((box[3] - 7 * size) >> 1)];
      for (const [at, letter] of [...LETTERS].entries()) {
        const rows = /** @type {number[]} */ (GLYPHS[letter]);
        const level = ground + sign * (LETTERS.length - at);
        for (let bit = 0; bit < 35; bit += 1) {
          const on = ((rows[Math.floor(bit / 5)] ?? 0) >> (4 - (bit % 5))) & 1;
          if (on) sheet.fill([x0 + (at * 6 + (bit % 5)) * size, y0 + Math.floor(bit / 5) * size, size, size], level);
        }
      }
    }
  }
}

/**
 * What is measured: a field of a tenth of the area in the middle of its surround.
 * @param {number} width device pixels @param {number} height @param {number} level of the field @returns {Uint8Array} levels
 */
export function luminancePattern(width, height, level) {
  const sheet = new Sheet(width, height, SURROUND);
  const side = Math.round(Math.sqrt(0.1 * width * height));
  sheet.fill([(width - side) >> 1, (height - side) >> 1, side, side], level);
  return sheet.levels;
}

/**
 * @param {HTMLCanvasElement} canvas filled as large as it is on the screen, a pixel for a pixel
 * @param {(width: number, height: number) => Uint8Array} pattern
 * @param {Uint16Array | null} levels the display's, of P-Values of 16 bits; null drives the display with the pattern's own
 */
export function paintPattern(canvas, pattern, levels) {
  const { width: w, height: h } = canvas.getBoundingClientRect();
  const [width, height] = [Math.max(1, Math.round(w * devicePixelRatio)), Math.max(1, Math.round(h * devicePixelRatio))];
  canvas.width = width;
  canvas.height = height;
  const picture = new ImageData(width, height);
  const words = new Uint32Array(picture.data.buffer);
  const greys = Uint32Array.from({ length: 256 }, (_, v) => 0xff000000 + (levels ? /** @type {number} */ (levels[v * 257]) : v) * 0x010101);
  const values = pattern(width, height);
  for (let i = 0; i < words.length; i += 1) words[i] = /** @type {number} */ (greys[/** @type {number} */ (values[i])]);
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false })).putImageData(picture, 0, 0);
}
