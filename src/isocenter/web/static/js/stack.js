// @ts-check
// A series as stacks to scroll through: its single-frame images in order are one, every multi-frame object is another.

import { Tag, numbers, text } from "./dataset.js";
import { Image } from "./image.js";
import { sliceDistance } from "./geometry.js";

/** @typedef {import("./dataset.js").DataSet} DataSet */
/** @typedef {import("./loader.js").Entry} Entry */

/**
 * @typedef {object} Stack
 * @property {string} study
 * @property {string} series
 * @property {Image[]} images without pixels too; then `entries` is empty
 * @property {Entry[]} entries every frame in order
 * @property {string} label
 */

/**
 * Instance Number first, as the acquisition meant it; position along the slice normal where numbers tie or are missing.
 * @param {Image} a @param {Image} b @returns {number}
 */
function byOrder(a, b) {
  if (a.number !== b.number) return a.number - b.number;
  const da = sliceDistance(a.plane(1));
  const db = sliceDistance(b.plane(1));
  if (da !== null && db !== null && da !== db) return da - db;
  const [ta, tb] = [text(a.ds, Tag.ContentTime), text(b.ds, Tag.ContentTime)];
  if (ta !== tb) return ta < tb ? -1 : 1;
  return a.path.instance < b.path.instance ? -1 : 1;
}

/** @param {DataSet[]} metadata of one series @returns {Stack[]} */
export function stacksOf(metadata) {
  const images = metadata.map((ds) => new Image(ds)).sort(byOrder);
  const single = images.filter((image) => image.frames === 1);
  const multi = images.filter((image) => image.frames > 1);
  const empty = images.filter((image) => image.frames === 0);
  const stacks = multi.map((image) => stack([image]));
  if (single.length > 0) stacks.unshift(stack(single));
  stacks.push(...empty.map((image) => stack([image])));
  return stacks;
}

/** @param {Image[]} images @returns {Stack} */
function stack(images) {
  const first = /** @type {Image} */ (images[0]);
  const entries = images.flatMap((image) => Array.from({ length: image.frames }, (_, i) => ({ image, frame: i + 1 })));
  const many = first.frames > 1;
  return {
    study: first.path.study,
    series: first.path.series,
    images,
    entries,
    label: many ? `${first.frames} frames` : entries.length === 0 ? "no image" : entries.length === 1 ? "1 image" : `${entries.length} images`,
  };
}

/** Frames per second for cine: the header's, else 10. @param {Stack} stack @returns {number} */
export function cineRate(stack) {
  const rate = stack.images[0]?.frameRate;
  return rate && rate > 0 ? Math.min(120, Math.max(0.5, rate)) : 10;
}

/** Whether cine starts with the stack: moving pictures are meant to move. @param {Stack} stack */
export function isMovie(stack) {
  const image = stack.images[0];
  return !!image && image.frames > 1 && ["US", "XA", "RF", "ES", "IVUS", "GM", "XC"].includes(image.modality) && numbers(image.ds, Tag.ImageOrientationPatient).length === 0;
}
