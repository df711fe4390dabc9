// @ts-check
// How long a step from pixel to pixel is, at a place of a frame, and what may be wrong with that (PS3.3 10.7.1.1).

import { Tag, items, number } from "../dataset.js";

/** @typedef {import("../image.js").Image} Image */
/** @typedef {[number, number]} Point column and row, continuous: the first pixel reaches from 0 to 1 */
/** Millimetres a row and a column, or 1 and 1 where nobody knows. @typedef {{row: number, column: number, unit: "mm" | "px", note: string}} Spacing */

/** @type {Spacing} */
const PIXELS = { row: 1, column: 1, unit: "px", note: "" };
/** Physical Units of a region's axes, C.8.5.5.1.15: centimetres. */
const CENTIMETRES = 3;

/** How much longer than the header says, by series: what the user told of a length, while the page is open. @type {Map<string, number>} */
const told = new Map();

/** @param {Image} image of the series @param {number} factor on what lengths are now */
export function calibrate(image, factor) {
  const { series } = image.path;
  told.set(series, (told.get(series) ?? 1) * factor);
}

/** @param {Image} image @param {number} frame 1-based @param {Point} at @returns {Spacing} */
export function spacingAt(image, frame, at) {
  const own = ofHeader(image, frame, at);
  const factor = told.get(image.path.series);
  if (!factor) return own;
  return { row: own.row * factor, column: own.column * factor, unit: "mm", note: "calibrated by hand" };
}

/** @param {Image} image @param {number} frame 1-based @param {Point} at @returns {Spacing} */
function ofHeader(image, frame, at) {
  const regions = items(image.ds, Tag.SequenceOfUltrasoundRegions);
  if (regions.length > 0) {
    const here = regions.find((region) => {
      const [x0, y0] = [number(region, Tag.RegionLocationMinX0) ?? 0, number(region, Tag.RegionLocationMinY0) ?? 0];
      const [x1, y1] = [number(region, Tag.RegionLocationMaxX1) ?? -1, number(region, Tag.RegionLocationMaxY1) ?? -1];
      return at[0] >= x0 && at[0] <= x1 + 1 && at[1] >= y0 && at[1] <= y1 + 1;
    });
    const [x, y] = [number(here, Tag.PhysicalDeltaX), number(here, Tag.PhysicalDeltaY)];
    const lengths = [Tag.PhysicalUnitsXDirection, Tag.PhysicalUnitsYDirection].every((tag) => number(here, tag) === CENTIMETRES);
    if (lengths && x && y) return { row: Math.abs(y) * 10, column: Math.abs(x) * 10, unit: "mm", note: "" };
    // A trace over time or of velocities, or a place outside of all regions: a length there means nothing.
    return PIXELS;
  }
  const { spacing, spacingNote } = image.plane(frame);
  return spacing ? { row: spacing[0], column: spacing[1], unit: "mm", note: spacingNote } : { ...PIXELS, row: image.aspect };
}
