// @ts-check
// Whether images can be cut into planes, and if not, why: geometry first (stacks.js), then what their pixels are.

import { t } from "../words.js";
import { readPlanes } from "./planes.js";
import { volumesOf } from "./stacks.js";

/** @typedef {import("../image.js").Image} Image */
/** @typedef {import("./stacks.js").Volume} Volume */
/** `reason` is "" for what can be shown; `notes` is what its viewer must know. @typedef {{volume: Volume, label: string, reason: string, notes: string[]}} Candidate */

/** @param {number} count @param {string} one @param {string} many */
const plural = (count, one, many) => t(count === 1 ? one : many, count);
/** @param {number} mm */
const told = (mm) => String(Number(mm.toPrecision(4)));

/**
 * @param {Image[]} images of one series
 * @returns {{candidates: Candidate[], reason: string}} the largest first; `reason` is "" when one can be shown
 */
export function judge(images) {
  const { planes, leftOut } = readPlanes(images.map(({ ds }) => ds));
  const { volumes, leftOut: more } = volumesOf(planes);
  const outside = new Set([...leftOut, ...more].flatMap(({ sources }) => sources)).size;
  const candidates = volumes
    .map((volume) => ({ volume, label: labelOf(volume), reason: refusal(volume, images), notes: notesOf(volume, outside) }))
    .sort((a, b) => Number(a.reason !== "") - Number(b.reason !== "") || b.volume.planes.length - a.volume.planes.length);
  const reasons = [...leftOut, ...more].map(({ reason }) => reason).concat(candidates.map(({ reason }) => reason));
  const usable = candidates.some(({ reason }) => reason === "");
  return { candidates, reason: usable ? "" : [...new Set(reasons)].filter(Boolean).map((one) => t(one)).join("; ") || t("there are no images") };
}

/** @param {Volume} volume @param {Image[]} images */
function refusal(volume, images) {
  const used = [...new Set(volume.planes.map(({ source }) => /** @type {Image} */ (images[source])))];
  const [first] = used;
  if (!first || used.some(({ samples, kind }) => samples !== 1 || kind === "palette")) return "its pixels are colours";
  if (used.some(({ kind }) => kind !== "grey")) return `its pixels are not greys of 8 or 16 bits (Bits Allocated ${first.bitsAllocated})`;
  if (used.some(({ bitsAllocated, signed }) => bitsAllocated !== first.bitsAllocated || signed !== first.signed)) return "its slices differ in Bits Allocated or sign";
  const [gap] = volume.gaps;
  if (!volume.regular) {
    return `its slices lie at irregular distances${gap ? `: after slice ${gap.after + 1} of ${volume.planes.length} come ${told(gap.distance)} mm` : ""}`;
  }
  return "";
}

/** @param {Volume} volume @param {number} outside images of the series in no volume @returns {string[]} */
function notesOf(volume, outside) {
  const missing = volume.gaps.reduce((sum, gap) => sum + gap.missing, 0);
  return [
    volume.tilt > 0 ? t("Slices tilted by {0}°", volume.tilt.toFixed(1)) : "",
    missing > 0 ? plural(missing, "{0} slice is missing and left empty", "{0} slices are missing and left empty") : "",
    volume.duplicates > 0 ? plural(volume.duplicates, "{0} copy left out", "{0} copies left out") : "",
    outside > 0 ? plural(outside, "{0} image of the series left out", "{0} images of the series left out") : "",
  ].filter(Boolean);
}

/** @param {Volume} volume */
function labelOf(volume) {
  const apart = Object.entries(volume.apart).map(([name, value]) => `${name.replace(/([a-z])([A-Z])/g, "$1 $2")} ${value || "none"}`);
  return [...apart, plural(volume.planes.length, "{0} slice", "{0} slices")].join(" · ");
}
