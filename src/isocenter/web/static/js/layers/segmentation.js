// @ts-check
// A segmentation object (PS3.3 A.51) as coloured pictures over other images: which of its frames lies on a frame, where,
// and in which colours. Bits, fractions and label maps.

import { Tag, items, number, numbers, text } from "../dataset.js";
import { Image } from "../image.js";
import { dot } from "../geometry.js";
import { inPatient, onPlane, placed } from "../positions.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("../loader.js").Entry} Entry */
/** @typedef {[number, number, number]} Colour red, green, blue, 0 to 255 */
/** @typedef {{number: number, label: string, detail: string, colour: Colour, shown: boolean}} Segment */
/** A frame of the segmentation; `segment` is 0 in a label map, whose pixels name theirs. @typedef {{entry: Entry, segment: number, sources: Map<string, Set<number>>, thickness: number}} Part */
/** @typedef {import("../geometry.js").Matrix} Matrix */

export const SEGMENTATIONS = new Set(["1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"]);

/** For segments that recommend no colour: far from each other and from grey. @type {Colour[]} */
const COLOURS = [[230, 90, 80], [90, 190, 110], [90, 140, 245], [240, 190, 70], [190, 110, 230], [70, 200, 210], [240, 130, 180], [160, 200, 60]];
/** Planes within a degree and a half are the same way up. */
const PARALLEL = 0.9996;
const INSIDE = 0.35;

/** @param {number[]} lab L*, a* and b* as PS3.3 C.10.7.1.1 scales them @returns {Colour | null} */
export function fromLab(lab) {
  const [l, a, b] = lab;
  if (l === undefined || a === undefined || b === undefined) return null;
  const [light, green, blue] = [(l / 65535) * 100, (a / 65535) * 255 - 128, (b / 65535) * 255 - 128];
  const fy = (light + 16) / 116;
  const back = (/** @type {number} */ f) => (f > 6 / 29 ? f ** 3 : 3 * (6 / 29) ** 2 * (f - 4 / 29));
  // The white of DICOM's CIELab is D50, as that of ICC profiles; the matrix has Bradford's adaptation to sRGB's in it.
  const [x, y, z] = [0.9642 * back(fy + green / 500), back(fy), 0.8249 * back(fy - blue / 200)];
  const linear = [3.1338561 * x - 1.6168667 * y - 0.4906146 * z, -0.9787684 * x + 1.9161415 * y + 0.033454 * z, 0.0719453 * x - 0.2289914 * y + 1.4052427 * z];
  const [red = 0, middle = 0, last = 0] = linear.map((v) => {
    const u = Math.min(1, Math.max(0, v));
    return Math.round(255 * (u <= 0.0031308 ? 12.92 * u : 1.055 * u ** (1 / 2.4) - 0.055));
  });
  return [red, middle, last];
}

export class Segmentation {
  /** Pictures by frame; null while one is fetched. @type {Map<number, HTMLCanvasElement | null>} */
  #pictures = new Map();
  /** @type {WeakMap<Entry, {part: Part, matrix: Matrix}[]>} */
  #found = new WeakMap();
  shown = false;

  /** @param {DataSet} ds @param {import("../dicomweb.js").DicomWeb} client */
  constructor(ds, client) {
    this.client = client;
    this.image = new Image(ds);
    this.label = text(ds, Tag.SeriesDescription) || text(ds, "00700080") || "SEG";
    this.fractional = text(ds, "00620001") === "FRACTIONAL" ? (number(ds, "0062000E") ?? 255) : 0;
    const sequence = items(ds, "00620002");
    /** @type {Segment[]} */
    this.segments = sequence.map((item, i) => ({
      number: number(item, "00620004") ?? i + 1,
      label: text(item, "00620005") || `${i + 1}`,
      detail: text(items(item, "0062000F")[0], "00080104"),
      colour: fromLab(numbers(item, "0062000D")) ?? /** @type {Colour} */ (COLOURS[i % COLOURS.length]),
      shown: true,
    }));
    this.parts = this.#partsOf(ds);
  }

  /** @param {DataSet} ds @returns {Part[]} */
  #partsOf(ds) {
    const shared = items(ds, Tag.SharedFunctionalGroups)[0];
    const groups = items(ds, Tag.PerFrameFunctionalGroups);
    const frames = Math.max(1, number(ds, Tag.NumberOfFrames) ?? 1);
    return Array.from({ length: frames }, (_, i) => {
      const pick = (/** @type {string} */ tag) => (items(groups[i], tag).length > 0 ? items(groups[i], tag) : items(shared, tag));
      /** @type {Map<string, Set<number>>} */
      const sources = new Map();
      for (const source of pick("00089124").flatMap((item) => items(item, "00082112"))) sources.set(text(source, "00081155"), new Set(numbers(source, "00081160")));
      return {
        entry: { image: this.image, frame: i + 1 },
        segment: number(pick("0062000A")[0], "0062000B") ?? 0,
        sources,
        thickness: number(pick(Tag.PixelMeasuresSequence)[0], Tag.SliceThickness) ?? 1,
      };
    });
  }

  /** Whether it has anything to do with a stack. @param {import("../stack.js").Stack} stack */
  concerns(stack) {
    return stack.entries.some((entry) => this.over(entry).length > 0);
  }

  /** The parts that lie on a frame, with the way from their pixels to its. @param {Entry} entry */
  over(entry) {
    let found = this.#found.get(entry);
    if (!found) {
      found = this.#over(entry);
      this.#found.set(entry, found);
    }
    return found;
  }

  /** @param {Entry} entry @returns {{part: Part, matrix: Matrix}[]} */
  #over(entry) {
    const on = placed(entry);
    /** The nearest part of each segment. @type {Map<number, {part: Part, matrix: Matrix, off: number}>} */
    const best = new Map();
    for (const part of this.parts) {
      const own = placed(part.entry);
      let off = 0;
      /** @type {Matrix} */
      let matrix = [1, 0, 0, 1, 0, 0];
      if (on && own) {
        if (on.reference !== own.reference || Math.abs(dot(on.normal, own.normal)) < PARALLEL) continue;
        off = Math.abs(onPlane(own, inPatient(on, [on.columns / 2, on.rows / 2])).distance);
        if (off > Math.max(0.01, part.thickness / 2)) continue;
        const at = (/** @type {number} */ column, /** @type {number} */ row) => onPlane(on, inPatient(own, [column, row])).point;
        const [origin, across, down] = [at(0, 0), at(1, 0), at(0, 1)];
        matrix = [across[0] - origin[0], across[1] - origin[1], down[0] - origin[0], down[1] - origin[1], origin[0], origin[1]];
      } else {
        // Without places in a patient, only what it was made from tells.
        const frames = part.sources.get(entry.image.path.instance);
        if (!frames || (frames.size > 0 && !frames.has(entry.frame)) || this.image.rows !== entry.image.rows || this.image.columns !== entry.image.columns) continue;
      }
      const known = best.get(part.segment);
      if (!known || off < known.off) best.set(part.segment, { part, matrix, off });
    }
    return [...best.values()];
  }

  /** The picture of a part, if it is here; else `ready` is called when it is. @param {Part} part @param {() => void} ready */
  picture(part, ready) {
    const { frame } = part.entry;
    const here = this.#pictures.get(frame);
    if (here !== undefined) return here;
    this.#pictures.set(frame, null);
    this.client
      .frame(this.image.path, frame)
      .then(({ body }) => {
        this.#pictures.set(frame, this.#paint(part, body));
        ready();
      })
      // It is asked for again when the frame is shown the next time.
      .catch(() => this.#pictures.delete(frame));
    return null;
  }

  /** Colours and what is shown have changed. */
  forget() {
    this.#pictures.clear();
  }

  /** @param {Part} part @param {Uint8Array} bytes */
  #paint(part, bytes) {
    const { columns, rows } = this.image;
    const values = this.#values(bytes, columns * rows);
    const bySegment = new Map(this.segments.map((segment) => [segment.number, segment]));
    const own = part.segment ? bySegment.get(part.segment) : undefined;
    const pixels = new ImageData(columns, rows);
    for (let row = 0, i = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1, i += 1) {
        const value = /** @type {number} */ (values[i]);
        const segment = value === 0 ? undefined : part.segment ? own : bySegment.get(value);
        if (!segment?.shown) continue;
        const edge = column === 0 || row === 0 || column === columns - 1 || row === rows - 1 || values[i - 1] !== value || values[i + 1] !== value || values[i - columns] !== value || values[i + columns] !== value;
        const [red, green, blue] = segment.colour;
        const alpha = this.fractional ? (INSIDE * 2 * value) / this.fractional : edge ? 1 : INSIDE;
        pixels.data.set([red, green, blue, Math.round(255 * Math.min(1, alpha))], i * 4);
      }
    }
    const canvas = document.createElement("canvas");
    canvas.width = columns;
    canvas.height = rows;
    /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).putImageData(pixels, 0, 0);
    return canvas;
  }

  /** @param {Uint8Array} bytes @param {number} count @returns {Uint8Array | Uint16Array} */
  #values(bytes, count) {
    if (this.image.bitsAllocated === 16) return new Uint16Array(bytes.slice(0, count * 2).buffer);
    if (this.image.bitsAllocated === 8 || bytes.length >= count) return bytes.subarray(0, count);
    const values = new Uint8Array(count);
    for (let i = 0; i < count; i += 1) values[i] = (/** @type {number} */ (bytes[i >> 3]) >> (i & 7)) & 1;
    return values;
  }
}

/** What segmentations show over one viewport. */
export class SegmentLayer {
  element = document.createElement("canvas");

  /** @param {() => readonly Segmentation[]} shown @param {() => number} opacity 0 to 1 */
  constructor(shown, opacity) {
    this.shown = shown;
    this.opacity = opacity;
    this.element.className = "segment-cover";
    this.element.setAttribute("aria-hidden", "true");
  }

  /** @param {import("../viewport.js").Viewport} viewport */
  update(viewport) {
    const { painted, matrix } = viewport;
    const parts = painted && matrix ? this.shown().flatMap((one) => one.over(painted.entry).map((found) => ({ one, ...found }))) : [];
    this.element.hidden = parts.length === 0;
    if (parts.length === 0 || !matrix || !painted) return;
    const [width, height] = [Math.round(viewport.element.clientWidth * devicePixelRatio), Math.round(viewport.element.clientHeight * devicePixelRatio)];
    if (this.element.width !== width || this.element.height !== height) [this.element.width, this.element.height] = [width, height];
    const context = /** @type {CanvasRenderingContext2D} */ (this.element.getContext("2d"));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.globalAlpha = this.opacity();
    context.imageSmoothingEnabled = false;
    for (const { one, part, matrix: own } of parts) {
      const picture = one.picture(part, () => viewport.painted === painted && viewport.updateLayers());
      if (!picture) continue;
      context.setTransform(...matrix);
      context.transform(...own);
      context.drawImage(picture, 0, 0);
    }
  }
}
