// @ts-check
// Frames in the patient (PS3.3 C.7.6.2.1.1): where one plane cuts another, and which frame of a stack lies where another
// does. Only frames of the same Frame of Reference have anything to do with each other.

import { Tag, text } from "./dataset.js";
import { dot, normal } from "./geometry.js";

/** @typedef {import("./loader.js").Entry} Entry */
/** @typedef {import("./stack.js").Stack} Stack */
/** @typedef {import("./measure/spacing.js").Point} Point */
/**
 * A frame in the patient; lengths in mm.
 * @typedef {object} Placed
 * @property {string} reference Frame of Reference UID
 * @property {number[]} origin corner of the first pixel, where column and row are 0
 * @property {number[]} across step from column to column
 * @property {number[]} down step from row to row
 * @property {number[]} normal of length 1
 * @property {number} columns
 * @property {number} rows
 */

/** Cosine from which on planes count as parallel: 18 degrees, more than a gantry's tilt differs between series. */
const PARALLEL = 0.95;
/** Planes that are nearly parallel cut each other at a place that tells nothing: 8 degrees. */
const CUTTING = 0.99;

/** @param {number[]} a @param {number[]} b @param {number} k @returns {number[]} a + k b */
const plus = (a, b, k) => a.map((v, i) => v + k * /** @type {number} */ (b[i]));

/** @type {WeakMap<Entry, Placed | null>} */
const known = new WeakMap();

/** @param {Entry} entry @returns {Placed | null} null where the header does not say */
export function placed(entry) {
  let found = known.get(entry);
  if (found === undefined) {
    found = place(entry);
    known.set(entry, found);
  }
  return found;
}

/** @param {Entry} entry @returns {Placed | null} */
function place({ image, frame }) {
  const { position, orientation, spacing } = image.plane(frame);
  const reference = text(image.ds, Tag.FrameOfReferenceUID);
  if (position.length !== 3 || orientation.length !== 6 || !spacing || !reference) return null;
  const across = orientation.slice(0, 3).map((v) => v * spacing[1]);
  const down = orientation.slice(3).map((v) => v * spacing[0]);
  const upright = normal(orientation);
  const length = Math.hypot(...upright);
  if (length < 0.5) return null;
  // Image Position (Patient) is the centre of the first pixel, which is at 0.5, 0.5 here.
  const origin = plus(plus(position, across, -0.5), down, -0.5);
  return { reference, origin, across, down, normal: upright.map((v) => v / length), columns: image.columns, rows: image.rows };
}

/** @param {Placed} plane @param {Point} point column and row, continuous @returns {number[]} x, y, z in mm */
export function inPatient(plane, [column, row]) {
  return plus(plus(plane.origin, plane.across, column), plane.down, row);
}

/** @param {Placed} plane @param {number[]} at in the patient @returns {{point: Point, distance: number}} on the plane, and how far off it, in mm */
export function onPlane(plane, at) {
  const from = plus(at, plane.origin, -1);
  const { across, down } = plane;
  return { point: [dot(from, across) / dot(across, across), dot(from, down) / dot(down, down)], distance: dot(from, plane.normal) };
}

/**
 * The line in which one frame cuts another, as far as both reach.
 * @param {Placed} cut @param {Placed} on @returns {[Point, Point] | null} in columns and rows of `on`
 */
export function crossing(cut, on) {
  if (cut.reference !== on.reference || Math.abs(dot(cut.normal, on.normal)) > CUTTING) return null;
  /** @param {Point} point how far it is off `cut` */
  const height = (point) => onPlane(cut, inPatient(on, point)).distance;
  /** @type {Point[]} */
  const corners = [[0, 0], [on.columns, 0], [on.columns, on.rows], [0, on.rows]];
  /** @type {Point[]} */
  const ends = [];
  corners.forEach((a, i) => {
    const b = /** @type {Point} */ (corners[(i + 1) % 4]);
    const [ha, hb] = [height(a), height(b)];
    if (ha === hb || ha < 0 === hb < 0) return;
    const k = ha / (ha - hb);
    ends.push([a[0] + k * (b[0] - a[0]), a[1] + k * (b[1] - a[1])]);
  });
  const [a, b] = ends;
  if (!a || !b) return null;
  const kept = within(onPlane(cut, inPatient(on, a)).point, onPlane(cut, inPatient(on, b)).point, cut.columns, cut.rows);
  if (!kept) return null;
  const along = (/** @type {number} */ k) => /** @type {Point} */ ([a[0] + k * (b[0] - a[0]), a[1] + k * (b[1] - a[1])]);
  return [along(kept[0]), along(kept[1])];
}

/** The part of a line inside of 0 to width and 0 to height (Liang and Barsky). @param {Point} a @param {Point} b @param {number} width @param {number} height @returns {[number, number] | null} */
function within(a, b, width, height) {
  let [first, last] = [0, 1];
  for (const [start, step, most] of /** @type {[number, number, number][]} */ ([[a[0], b[0] - a[0], width], [a[1], b[1] - a[1], height]])) {
    if (Math.abs(step) < 1e-9) {
      if (start < 0 || start > most) return null;
      continue;
    }
    const [one, other] = [-start / step, (most - start) / step];
    first = Math.max(first, Math.min(one, other));
    last = Math.min(last, Math.max(one, other));
  }
  return first < last ? [first, last] : null;
}

/**
 * The frame of a stack that lies nearest to the middle of another frame, among those parallel to it.
 * @param {Stack} stack @param {Placed} to @returns {number} place in the stack; -1 when there is none
 */
export function nearest(stack, to) {
  const middle = inPatient(to, [to.columns / 2, to.rows / 2]);
  let best = -1;
  let least = Infinity;
  stack.entries.forEach((entry, i) => {
    const plane = placed(entry);
    if (!plane || plane.reference !== to.reference || Math.abs(dot(plane.normal, to.normal)) < PARALLEL) return;
    const off = Math.abs(onPlane(plane, middle).distance);
    if (off < least) [best, least] = [i, off];
  });
  return best;
}
