// @ts-check
// Values of the standard as people read them. Nothing here guesses: what does not parse is shown as it came.

import { t } from "./words.js";

/** @typedef {import("./dataset.js").PersonName} PersonName */

/** @param {string} value DA @returns {string} 2024-05-14 */
export function date(value) {
  const m = /^(\d{4})\.?(\d{2})\.?(\d{2})$/.exec(value);
  return m ? `${m[1]}-${m[2]}-${m[3]}` : value;
}

/** @param {string} value TM @returns {string} 09:30 or 09:30:15 */
export function time(value, seconds = false) {
  const m = /^(\d{2}):?(\d{2})?:?(\d{2})?/.exec(value);
  if (!m) return value;
  return seconds && m[3] ? `${m[1]}:${m[2]}:${m[3]}` : `${m[1]}:${m[2] ?? "00"}`;
}

/** @param {number} n @returns {string} */
const two = (n) => String(n).padStart(2, "0");

/** @param {Date} at @returns {[string, string]} DA and TM, local */
export function stamp(at) {
  return [`${at.getFullYear()}${two(at.getMonth() + 1)}${two(at.getDate())}`, `${two(at.getHours())}${two(at.getMinutes())}${two(at.getSeconds())}`];
}

/** @param {number} days from today, where the browser stands @returns {string} DA */
export function dayFromNow(days) {
  const at = new Date();
  at.setDate(at.getDate() + days);
  return stamp(at)[0];
}

/** @param {Date} at @returns {string} 09:30:15 if it is of today, else 2024-05-14 09:30, local */
export function moment(at) {
  const [day, hour] = stamp(at);
  return day === dayFromNow(0) ? time(hour, true) : `${date(day)} ${time(hour)}`;
}

/** @param {Date} at @returns {string} all of it: 2024-05-14 09:30:15 UTC+09:00 */
export function wholeMoment(at) {
  const [day, hour] = stamp(at);
  const behind = at.getTimezoneOffset();
  const minutes = Math.abs(behind);
  return `${date(day)} ${time(hour, true)} UTC${behind > 0 ? "-" : "+"}${two(Math.trunc(minutes / 60))}:${two(minutes % 60)}`;
}

/** @param {string} value AS (054Y) @returns {string} 54 y */
export function age(value) {
  const m = /^(\d{3})([DWMY])$/.exec(value);
  return m ? `${Number(m[1])} ${m[2]?.toLowerCase()}` : value;
}

/** @param {string} group one component group of a PN @returns {string} "Hong, Gildong" */
function latin(group) {
  const [family = "", given = "", middle = "", prefix = "", suffix = ""] = group.split("^").map((part) => part.trim());
  const first = [given, middle].filter(Boolean).join(" ");
  return [family, first, prefix, suffix].filter(Boolean).join(", ");
}

/** @param {string} group @returns {string} family and given name without a comma, as CJK names are written */
function eastern(group) {
  const parts = group.split("^").map((part) => part.trim()).filter(Boolean);
  return parts.join(/[\u3040-\u30ff]/.test(group) ? " " : "");
}

const CJK = /[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]/;

/**
 * A person's name for display: `main` first, `other` are the remaining representations (PS3.5 section 6.2.1).
 * @param {PersonName} name @returns {{main: string, other: string[]}}
 */
export function person(name) {
  const groups = [name.alphabetic, name.ideographic, name.phonetic]
    .map((group) => (CJK.test(group) ? eastern(group) : latin(group)))
    .filter(Boolean);
  return { main: groups[0] ?? "", other: [...new Set(groups.slice(1))] };
}

/**
 * The language whose glyph forms fit: Han characters look different in Korean, Japanese and Chinese type.
 * @param {PersonName} name @param {string} characterSet first Specific Character Set term
 * @returns {"ko" | "ja" | "zh-Hans" | "zh-Hant" | ""}
 */
export function language(name, characterSet = "") {
  const all = name.alphabetic + name.ideographic + name.phonetic;
  if (/[\uac00-\ud7af\u1100-\u11ff]/.test(all) || characterSet.includes("149")) return "ko";
  if (/[\u3040-\u30ff\uff66-\uff9f]/.test(all) || /87|159|\b13\b/.test(characterSet)) return "ja";
  if (/GB|58/.test(characterSet)) return "zh-Hans";
  return CJK.test(all) ? "zh-Hant" : "";
}

/** @param {number} bytes @returns {string} */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let n = bytes;
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

const GROUPED = new Intl.NumberFormat("en-GB");

/** @param {number} n @returns {string} 12,345 */
export function count(n) {
  return GROUPED.format(n);
}

/** @param {number} n @param {string} one @param {string} many @returns {string} "1 study", "12 studies" */
export function plural(n, one, many) {
  return t(`{0} ${n === 1 ? one : many}`, count(n));
}

/** @param {{column: number, row: number, value: number | null, unit: string} | null} found under a pointer @returns {string} */
export function probeWords(found) {
  if (!found) return "";
  return `${found.column}, ${found.row}${found.value === null ? "" : `   ${valueWords(found.value, found.unit)}`}`;
}

/** @param {number} value measured @param {string} unit "" for none @returns {string} small ones, such as diffusion, by their first digits */
export function valueWords(value, unit) {
  return [Math.abs(value) < 0.1 ? Number(value.toPrecision(3)) : short(value), unit].filter((word) => word !== "").join(" ");
}

/** @param {number} n @returns {string} at most two decimals, none when whole */
export function short(n) {
  return Number.isInteger(n) ? String(n) : String(Math.round(n * 100) / 100);
}
