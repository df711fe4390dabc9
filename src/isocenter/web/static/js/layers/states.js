// @ts-check
// Presentation states of a study: which are there for a stack, and the stack as one of them shows it. The server draws
// (pixels/state.py): a state may turn, cut, shut and mark, and there is one place that does.

import { Tag, items, number, personName, text } from "../dataset.js";
import { date, person, time } from "../format.js";
import { Image, displayedArea, isColourState, isState } from "../image.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("../stack.js").Stack} Stack */
/**
 * What a state is of: images of `instances`, or all of `series` where it names none of them.
 * @typedef {{ds: DataSet, label: string, detail: string, instances: Set<string>, series: string}} State
 */

/** Attributes that tell of the image as it was stored, and not as a state shows it. */
const GONE = [Tag.PatientOrientation, Tag.ImageOrientationPatient, Tag.ImagePositionPatient, Tag.PixelSpacing, Tag.ImagerPixelSpacing, Tag.PixelAspectRatio, Tag.SequenceOfUltrasoundRegions, Tag.SharedFunctionalGroups, Tag.PerFrameFunctionalGroups, Tag.FrameOfReferenceUID];

/** @param {DataSet[]} references a Referenced Image Sequence @returns {Set<string>} */
const named = (references) => new Set(references.map((one) => text(one, "00081155")));

/**
 * What is shown as a state says: of a blending state what others are laid over, which gives the picture its geometry
 * (PS3.3 C.11.14, C.11.33), else all that it refers to.
 * @param {DataSet} ds
 */
function shownBy(ds) {
  const inputs = items(ds, "00701B01");
  const input = inputs.find((one) => text(one, "00701B08") === "TRUE") ?? inputs[0];
  if (input) return { instances: named(items(input, "00081140")), series: text(input, Tag.SeriesInstanceUID) };
  const under = items(ds, "00700402").find((one) => text(one, "00700405") === "UNDERLYING") ?? ds;
  return { instances: named(items(under, "00081115").flatMap((series) => items(series, "00081140"))), series: "" };
}

/** @param {State} state @param {Image} image */
export function isOf({ instances, series }, { path }) {
  return instances.size > 0 ? instances.has(path.instance) : series !== "" && series === path.series;
}

/** @param {DataSet[]} metadata of series of presentation states @returns {State[]} the newest first */
export function statesOf(metadata) {
  const states = metadata.filter(isState).map((ds) => ({
    ds,
    label: text(ds, "00700081") || text(ds, "00700080") || text(ds, Tag.SeriesDescription),
    detail: [date(text(ds, "00700082")), time(text(ds, "00700083")), person(personName(ds, "00700084")).main].filter(Boolean).join(" "),
    ...shownBy(ds),
  }));
  const made = (/** @type {State} */ { ds }) => `${text(ds, "00700082")}${text(ds, "00700083")}`;
  return states.sort((a, b) => (made(a) < made(b) ? 1 : -1));
}

/**
 * An image under a state. Its pixels are the state's: marks and lengths of the image do not fit them.
 * @param {Image} image @param {State} state @returns {Image}
 */
function presentedImage(image, { ds: state, label }) {
  const ds = { ...image.ds };
  for (const tag of GONE) delete ds[tag];
  const made = new Image(ds);
  made.kind = "rendered";
  made.frames = image.frames;
  made.state = { series: text(state, Tag.SeriesInstanceUID), instance: text(state, Tag.SOPInstanceUID), label, coloured: isColourState(state) };
  const turned = (number(state, Tag.ImageRotation) ?? 0) % 180 !== 0;
  [made.rows, made.columns] = displayedArea(state, image.path.instance) ?? (turned ? [image.columns, image.rows] : [image.rows, image.columns]);
  return made;
}

/** @param {Stack} stack @param {State} state @returns {Stack} its images that the state is of, as it shows them */
export function presented(stack, state) {
  const images = stack.images.filter((image) => isOf(state, image)).map((image) => presentedImage(image, state));
  const entries = images.flatMap((image) => Array.from({ length: image.frames }, (_, i) => ({ image, frame: i + 1 })));
  return { ...stack, images, entries };
}
