// @ts-check
// The greys of a volume: the header of its middle slice speaks for all, and the table is the stack's (greys.js).

import { display } from "../display/screen.js";
import { automaticWindow, draggedWindow, fillTable, TABLE_SIZE } from "../greys.js";
import { quantityOf } from "../quantity.js";
import { t } from "../words.js";

/** @typedef {import("../viewport.js").ChosenWindow} ChosenWindow */
/** @typedef {import("../viewport.js").ChosenLut} ChosenLut */
/** @typedef {import("../greys.js").GreyTransform} GreyTransform */

export class Greying {
  table = new Uint32Array(TABLE_SIZE);
  /** @type {ChosenWindow | ChosenLut | null} null: as the header says */
  chosen = null;
  inverted = false;
  /** @type {ChosenWindow | null} found for images whose header names no window */
  #automatic = null;
  /** @type {[number, number]} stored values the table is filled for */
  #filled = [0, 0];

  /** @param {import("./data.js").VolumeData} data */
  constructor(data) {
    this.data = data;
  }

  /** The image and frame whose header counts. */
  get entry() {
    const { image, frame } = this.data.middle;
    return { image, frame };
  }

  /** What values are multiplied by to be what is shown: uptake, in PET. */
  get factor() {
    return this.#quantity?.factor ?? 1;
  }

  get unit() {
    return this.#quantity?.factor ? this.#quantity.unit : this.greys.unit;
  }

  get #quantity() {
    return quantityOf(this.entry.image, this.entry.frame);
  }

  /** @returns {{transform: GreyTransform, label: string, unit: string}} */
  get greys() {
    const { data, chosen } = this;
    const { image, frame } = this.entry;
    const { modality, windows, luts } = image.values(frame);
    const { tables } = data.loader;
    /** @type {GreyTransform} */
    const transform = {
      slope: data.slope,
      intercept: data.intercept,
      modalityLut: null,
      voi: { kind: "window", center: 0, width: 1, function: "LINEAR" },
      inverse: image.inverse !== this.inverted,
      padding: data.padding,
    };
    const source = chosen === null ? luts[0] : "lut" in chosen ? luts[chosen.lut] : undefined;
    const lut = source && tables.lut(source);
    if (lut) return { transform: { ...transform, voi: { kind: "lut", lut } }, label: source.label || "VOI LUT", unit: modality.unit };
    const window = chosen && "center" in chosen ? chosen : (windows[0] ?? this.#found());
    transform.voi = { kind: "window", center: window.center, width: window.width, function: window.function };
    return { transform, label: window.label, unit: modality.unit };
  }

  /** @returns {ChosenWindow} */
  #found() {
    if (this.#automatic) return this.#automatic;
    const { data } = this;
    const { image, frame } = this.entry;
    const { slope, intercept, lut } = image.values(frame).modality;
    const here = data.loader.peek(this.entry);
    if (here?.kind === "values") {
      const own = { slope, intercept, modalityLut: lut && data.loader.tables.lut(lut), voi: /** @type {any} */ (null), inverse: false, padding: image.padding };
      this.#automatic = automaticWindow(own, here, image);
      return this.#automatic;
    }
    const [low, high] = [data.value(data.low), data.value(data.high)];
    return { center: (low + high) / 2, width: Math.abs(high - low) || 1, function: "LINEAR_EXACT", label: "Automatic" };
  }

  /** Makes the table anew, for what has been loaded. */
  fill() {
    const { low, high } = this.data;
    this.#filled = [low, high];
    fillTable(this.table, this.greys.transform, low, high, display.levels);
  }

  /** Whether values have come that the table does not know yet. */
  get stale() {
    return this.#filled[0] !== this.data.low || this.#filled[1] !== this.data.high;
  }

  /** @param {number} dx @param {number} dy CSS pixels */
  drag(dx, dy) {
    this.chosen = draggedWindow(this.greys.transform, dx, dy);
  }

  /** @returns {string[]} for the corner of a plane */
  words() {
    const { transform, label } = this.greys;
    const { voi } = transform;
    const level = (/** @type {number} */ v) => (Math.abs(v) >= 20 || Number.isInteger(v) ? String(Math.round(v)) : v.toFixed(1));
    const { factor, unit } = this;
    const window = voi.kind === "window" ? `W ${level(voi.width * factor)}  L ${level(voi.center * factor)}${factor === 1 ? "" : ` ${unit}`}` : "";
    return [[t(label), this.inverted && t("inverted")].filter(Boolean).join(" · "), window].filter(Boolean);
  }
}
