// @ts-check
// What one display does with the levels it is given, and the table that makes it follow the standard function: the
// server's display/calibration.py, rule for rule. Kept and exchanged in the text form of DCMTK's monitor files, which
// `isocenter render --display` reads; what only the viewer wants to know stands in its comments.

import { t } from "../words.js";
import { jndIndex, luminance, search } from "./gsdf.js";

export const P_VALUES = 65536;
const MOST_LEVELS = 65536;
/** Patches of AAPM TG18-LN and IEC 62563-1, in equal steps of level or P-Value. */
export const PATCHES = 18;
/** AAPM TG18: contrast within these of the function's, least luminance (cd/m2) and ratio, of displays for diagnosis and for others. */
export const CLASSES = /** @type {const} */ ({ primary: { deviation: 0.1, white: 170, ratio: 250 }, secondary: { deviation: 0.2, white: 100, ratio: 100 } });

/** `kind`: how the luminances came. `day` as YYYY-MM-DD. @typedef {{name: string, day: string, kind: "measured" | "typed" | ""}} Label */
/** @typedef {{deviation: number, white: number, ratio: number, jnds: number, deviations: number[]}} Judgement */

export class Curve {
  /** @type {Uint16Array | null} */
  #ddls = null;
  /** @type {Float64Array | null} */
  #seen = null;

  /**
   * Raises Error, in English words of the interface, for what is no characteristic curve (PS3.14 section 6.2).
   * @param {number[]} levels digital driving levels, from 0 up @param {number[]} measured cd/m2 of each, in the dark
   * @param {number} [ambient] cd/m2 that the room adds
   */
  constructor(levels, measured, ambient = 0) {
    if (levels.length < 2 || levels.length !== measured.length) throw new Error("A curve needs the luminance of at least two levels.");
    const ascending = levels.every((level, i) => Number.isInteger(level) && (i === 0 ? level === 0 : level > /** @type {number} */ (levels[i - 1])));
    if (!ascending || /** @type {number} */ (levels.at(-1)) >= MOST_LEVELS) throw new Error("Levels ascend from 0 to at most 65,535.");
    if (![...measured, ambient].every((v) => Number.isFinite(v) && v >= 0)) throw new Error("Luminances are numbers, and not negative.");
    const grows = measured.every((v, i) => i === 0 || v >= /** @type {number} */ (measured[i - 1]));
    if (!grows || /** @type {number} */ (measured.at(-1)) <= /** @type {number} */ (measured[0])) throw new Error("The luminance has to grow with the level: measure again.");
    this.levels = levels;
    this.measured = measured;
    this.ambient = ambient;
    if (this.range.some(Number.isNaN)) throw new Error("The function is defined for luminances of 0.05 to 3,993 cd/m², with the light of the room.");
  }

  /** An unmeasured display of 256 levels. @param {number} black cd/m2 @param {number} white cd/m2 @param {number} gamma @param {number} ambient */
  static ofGamma(black, white, gamma, ambient) {
    const levels = Array.from({ length: 256 }, (_, i) => i);
    return new Curve(levels, levels.map((level) => black + (white - black) * (level / 255) ** gamma), ambient);
  }

  /** The greatest level. */
  get top() {
    return /** @type {number} */ (this.levels.at(-1));
  }

  /** cd/m2 of every level, with the room's light, as the eye gets it. @returns {Float64Array} */
  get seen() {
    return (this.#seen ??= this.#everyLevel());
  }

  #everyLevel() {
    const known = this.measured.map((v) => v + this.ambient);
    if (this.levels.length === this.top + 1) return Float64Array.from(known);
    // Between measurements the eye's scale is nearly straight, luminance is not.
    const jnds = known.map(jndIndex);
    let i = 0;
    return Float64Array.from({ length: this.top + 1 }, (_, level) => {
      while (i + 2 < this.levels.length && level >= /** @type {number} */ (this.levels[i + 1])) i += 1;
      const [x0, x1] = [/** @type {number} */ (this.levels[i]), /** @type {number} */ (this.levels[i + 1])];
      const [y0, y1] = [/** @type {number} */ (jnds[i]), /** @type {number} */ (jnds[i + 1])];
      return luminance(level === x1 ? y1 : ((y1 - y0) / (x1 - x0)) * (level - x0) + y0);
    });
  }

  /** JND indices of the darkest and the brightest level. @returns {[number, number]} */
  get range() {
    return [jndIndex(/** @type {number} */ (this.measured[0]) + this.ambient), jndIndex(/** @type {number} */ (this.measured.at(-1)) + this.ambient)];
  }

  /** What a display of this range has to show. @param {number} steps of P-Value @returns {number[]} cd/m2 */
  standard(steps) {
    const [first, last] = this.range;
    const step = (last - first) / (steps - 1);
    return Array.from({ length: steps }, (_, i) => luminance(i === steps - 1 ? last : i * step + first));
  }

  /** For each P-Value of 16 bits the level whose luminance is nearest to the wanted one; of equally bright levels the first. @returns {Uint16Array} */
  get ddls() {
    return (this.#ddls ??= this.#table());
  }

  #table() {
    const { seen } = this;
    const distinct = [...seen.keys()].filter((level) => level === 0 || seen[level] !== seen[level - 1]);
    const luminances = Float64Array.from(distinct, (level) => /** @type {number} */ (seen[level]));
    return Uint16Array.from(this.standard(P_VALUES), (wanted) => {
      const above = Math.min(distinct.length - 1, Math.max(1, search(luminances, wanted)));
      const nearer = wanted - /** @type {number} */ (luminances[above - 1]) <= /** @type {number} */ (luminances[above]) - wanted ? above - 1 : above;
      return /** @type {number} */ (distinct[nearer]);
    });
  }

  /** The luminances of 18 equal steps of level, without the table. */
  get asItIs() {
    return patches(this.top).map((level) => /** @type {number} */ (this.seen[level]));
  }

  /** Those of 18 equal steps of P-Value, through the table. */
  get corrected() {
    return patches(P_VALUES - 1).map((p) => /** @type {number} */ (this.seen[/** @type {number} */ (this.ddls[p])]));
  }
}

/** @param {number} top @returns {number[]} the levels of the patches */
export function patches(top) {
  return Array.from({ length: PATCHES }, (_, i) => Math.round((i * top) / (PATCHES - 1)));
}

/**
 * How well 18 luminances follow the function: by how much the contrast of neighbours is off (IEC 62563-1, AAPM TG18).
 * @param {number[]} shown cd/m2, ambient light included @returns {Judgement}
 */
export function assess(shown) {
  const [black, white] = [/** @type {number} */ (shown[0]), /** @type {number} */ (shown.at(-1))];
  const [first, last] = [jndIndex(black), jndIndex(white)];
  const contrast = (/** @type {number[]} */ values) => values.slice(1).map((v, i) => (2 * (v - /** @type {number} */ (values[i]))) / (v + /** @type {number} */ (values[i])));
  const wanted = contrast(Array.from({ length: PATCHES }, (_, i) => luminance(first + ((last - first) * i) / (PATCHES - 1))));
  const deviations = contrast(shown).map((c, i) => c / /** @type {number} */ (wanted[i]) - 1);
  return { deviation: Math.max(...deviations.map(Math.abs)), white, ratio: white / black, jnds: last - first, deviations };
}

/** @param {Judgement} judged @returns {"primary" | "secondary" | ""} the display class whose limits are kept */
export function classOf(judged) {
  for (const name of /** @type {const} */ (["primary", "secondary"])) {
    const limit = CLASSES[name];
    if (judged.deviation <= limit.deviation && judged.white >= limit.white && judged.ratio >= limit.ratio) return name;
  }
  return "";
}

/** @param {Curve} curve @param {Label} label @returns {string} */
export function write(curve, label) {
  const lines = curve.levels.map((level, i) => `${String(level).padStart(5)}  ${/** @type {number} */ (curve.measured[i]).toFixed(6)}`);
  return [
    "# Characteristic curve of a display: digital driving level, luminance in cd/m2 without ambient light",
    // A line break would end the comment.
    `# name: ${label.name.replace(/\s+/g, " ")}`,
    `# date: ${label.day}`,
    `# luminances: ${label.kind}`,
    `max  ${curve.top}`,
    `amb  ${curve.ambient}`,
    ...lines,
    "",
  ].join("\n");
}

/** Raises Error for what is no curve of a display of at most 256 levels. @param {string} text @returns {{curve: Curve, label: Label}} */
export function read(text) {
  /** @type {Map<number, number>} */
  const rows = new Map();
  /** @type {Label} */
  const label = { name: "", day: "", kind: "" };
  let greatest = null;
  let ambient = 0;
  for (const [i, line] of text.split(/\r\n?|\n/).entries()) {
    const told = /^\s*#\s*(name|date|luminances):\s*(.*?)\s*$/.exec(line);
    if (told?.[1] === "name") label.name = /** @type {string} */ (told[2]).slice(0, 64);
    else if (told?.[1] === "date") label.day = /^\d{4}-\d{2}-\d{2}$/.test(told[2] ?? "") ? /** @type {string} */ (told[2]) : "";
    else if (told) label.kind = told[2] === "measured" || told[2] === "typed" ? told[2] : "";
    const words = /** @type {string} */ (line.split("#")[0]).split(/\s+/).filter(Boolean);
    if (words.length === 0) continue;
    const [name, value] = [/** @type {string} */ (words[0]), Number(words[1])];
    if (words.length !== 2 || Number.isNaN(value) || !/^(max|amb|ord|\d+)$/.test(name)) throw new Error(t("This line is no level and its luminance: {0}", i + 1));
    if (name === "max") greatest = value;
    else if (name === "amb") ambient = value;
    else if (name !== "ord") rows.set(Number(name), value);
  }
  const levels = [...rows.keys()].sort((a, b) => a - b);
  if (greatest !== null && levels.at(-1) !== greatest) throw new Error("The luminance of the greatest level is missing.");
  if ((levels.at(-1) ?? 0) > 255) throw new Error("A browser's canvas has 256 levels, and the curve has more.");
  return { curve: new Curve(levels, levels.map((level) => /** @type {number} */ (rows.get(level))), ambient), label };
}
