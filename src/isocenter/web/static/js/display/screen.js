// @ts-check
// Whether this screen is calibrated, and the last link of the table of greys. No browser tells screens of one size apart:
// a calibration has the name that its user gave it, and is used on screens of the size it was chosen for.

/** @typedef {import("./curve.js").Label} Label */

const CURVE = "isocenter-calibration:";
const YEAR = 365.25 * 24 * 3600 * 1000;

/** By what the screen is known. */
const key = () => `isocenter-display:${screen.width}x${screen.height}@${devicePixelRatio}`;

/** @template T @param {() => T} what @param {T} otherwise where storage is forbidden @returns {T} */
function stored(what, otherwise) {
  try {
    return what();
  } catch {
    return otherwise;
  }
}

/** @returns {string[]} the names of all that are kept */
export function kept() {
  return stored(() => Object.keys(localStorage).filter((one) => one.startsWith(CURVE)).map((one) => one.slice(CURVE.length)).sort(), []);
}

/** @param {string} name @returns {string | null} the curve, as text */
export function curveText(name) {
  return stored(() => localStorage.getItem(CURVE + name), null);
}

/** Tells "change" when the screen, or what is known of it, is another. */
class Screen extends EventTarget {
  /** From P-Values of 16 bits to levels of the display; null where nobody calibrated it. @type {Uint16Array | null} */
  levels = null;
  /** @type {Label | null} */
  label = null;
  #text = "";

  constructor() {
    super();
    // A window that goes to another screen, and another window that calibrates this one.
    for (const what of ["resize", "focus", "storage"]) addEventListener(what, () => void this.load());
    /** @type {any} */ (screen).addEventListener?.("change", () => void this.load());
  }

  /** The name of the calibration used here; "" for none. */
  get name() {
    return stored(() => localStorage.getItem(key()), null) ?? "";
  }

  /** Looks for what is kept of this screen. To be awaited before the first picture: its greys would change under the eye. */
  async load() {
    const { name } = this;
    const text = name ? (curveText(name) ?? "") : "";
    if (text === this.#text) return;
    this.#text = text;
    if (text) {
      const { read } = await import("./curve.js");
      if (text !== this.#text) return;
      try {
        const { curve, label } = read(text);
        [this.levels, this.label] = [curve.ddls, { ...label, name }];
      } catch (error) {
        console.warn("isocenter: the kept calibration cannot be read", error);
        [this.levels, this.label] = [null, null];
      }
    } else {
      [this.levels, this.label] = [null, null];
    }
    this.dispatchEvent(new Event("change"));
  }

  /** Raises Error where it cannot be kept. @param {string} name @param {string} text */
  async keep(name, text) {
    localStorage.setItem(CURVE + name, text);
    await this.use(name);
  }

  /** @param {string} name of a kept calibration; "" for none */
  async use(name) {
    if (name) localStorage.setItem(key(), name);
    else localStorage.removeItem(key());
    await this.load();
  }

  /** @param {string} name */
  async forget(name) {
    localStorage.removeItem(CURVE + name);
    await this.load();
  }

  /** Whether the calibration is so old that displays have changed since, or nobody knows how old it is. */
  get isOld() {
    return this.label !== null && !(Date.now() - Date.parse(this.label.day) < YEAR);
  }
}

export const display = new Screen();
