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

/** @param {Image} image @param {number} frame 1-based @param {Point} at @returns {Spacing} */
export function spacingAt(image, frame, at) {
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
  return spacing ? { row: spacing[0], column: spacing[1], unit: "mm", note: spacingNote } : PIXELS;
}
