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
  /** undefined: not looked for yet @type {import("../quantity.js").Quantity | null | undefined} */
  #agreed;
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

  /** What the slices measure, where it is one thing in all of them. */
  get #quantity() {
    if (this.#agreed === undefined) this.#agreed = agreed(this.data.slices);
    return this.#agreed;
  }

  /**
   * What a value of the volume measures. A mapping may reach as far as some stored values only (PS3.3 C.7.6.16.2.11):
   * those of the slice nearest to the plane, also where a slab has the value from another.
   * @param {number} modality value @param {number} place of the plane, in slices
   * @returns {{value: number | null, unit: string}} null where the mapping does not reach
   */
  measured(modality, place) {
    const { slices } = this.data;
    const near = (/** @type {import("./data.js").Slice} */ slice) => Math.abs(slice.place - place);
    const { image, frame } = slices.reduce((best, slice) => (near(slice) < near(best) ? slice : best));
    const quantity = this.#quantity && quantityOf(image, frame);
    if (!quantity) return { value: modality, unit: this.greys.unit };
    const { slope, intercept } = image.values(frame).modality;
    const stored = (modality - intercept) / slope;
    const whole = Math.round(stored);
    return { value: quantity.of(Math.abs(stored - whole) < 1e-6 ? whole : stored, modality), unit: quantity.unit };
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

  /** @returns {string[]} for the corner of a plane, as the stack has it in its own */
  words() {
    const { transform, label } = this.greys;
    const quantity = this.#quantity;
    const { voi } = transform;
    const level = (/** @type {number} */ v) => (Math.abs(v) >= 20 || Number.isInteger(v) ? String(Math.round(v)) : v.toFixed(1));
    const factor = quantity?.factor ?? 1;
    const named = quantity?.factor ? ` ${quantity.unit}` : "";
    const window = voi.kind === "window" ? `W ${level(voi.width * factor)}  L ${level(voi.center * factor)}${named}` : "";
    const refused = quantity?.refused ? t("no SUV: {0}", t(quantity.refused)) : "";
    return [[t(label), this.inverted && t("inverted")].filter(Boolean).join(" · "), window, refused].filter(Boolean);
  }
}

/** Of the factors of slices that are one: times in headers are rounded to seconds, and activity decays meanwhile. */
const ALIKE = 1e-3;

/**
 * The quantity of all slices; null where they have none, or where the same modality value measures something else in
 * each: a plane is a mixture of slices.
 * @param {import("./data.js").Slice[]} slices @returns {import("../quantity.js").Quantity | null}
 */
function agreed(slices) {
  const [first = null, ...others] = slices.map(({ image, frame }) => {
    const quantity = quantityOf(image, frame);
    const { slope, intercept, lut } = image.values(frame).modality;
    if (!quantity || (quantity.mapping && lut)) return null; // of a table's output nobody knows the stored value
    const { mapping, factor } = quantity;
    const rise = mapping ? mapping.slope / slope : (factor ?? 1);
    return { quantity, rise, zero: mapping ? mapping.intercept - rise * intercept : 0 };
  });
  if (!first) return null;
  const { quantity, rise, zero } = first;
  const same = (/** @type {number} */ a, /** @type {number} */ b) => Math.abs(a - b) <= ALIKE * Math.abs(b);
  const alike = others.every((one) => one && one.quantity.unit === quantity.unit && one.quantity.refused === quantity.refused && same(one.rise, rise) && Math.abs(one.zero - zero) <= ALIKE * Math.max(Math.abs(zero), Math.abs(rise)));
  return alike ? quantity : null;
}
