// @ts-check
// The planes of objects, read from their metadata: where each frame lies, and what tells it from others there. The same
// rules as the server's pixels/planes.py, with the same words, so that both say the same of a series: classic objects
// have Image Plane attributes (PS3.3 C.7.6.2), multi-frame ones functional groups (C.7.6.16.2), RT doses offsets of their
// frames (C.8.8.3.2), NM reconstructions a step (C.8.4.15).

import { items, number, numbers, text, texts } from "../dataset.js";
import { dot } from "../geometry.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {string | number[]} Mark */
/**
 * The place of one frame. `source` counts objects from 0, `frame` from 1. `position` is the centre of the first pixel,
 * `orientation` the direction of rows and then of columns, `spacing` between rows and between columns, all in mm (LPS).
 * @typedef {object} Plane
 * @property {number} source
 * @property {number} frame
 * @property {number[]} position
 * @property {number[]} orientation
 * @property {[number, number]} spacing
 * @property {[number, number]} shape rows, columns
 * @property {string} series
 * @property {string} frameOfReference
 * @property {string} instance
 * @property {number} number
 * @property {string} segment
 * @property {Record<string, Mark>} marks
 */
/** Objects (or frames of one) that are in no volume, and why. @typedef {{sources: number[], reason: string}} LeftOut */

const SHARED = "52009229";
const PER_FRAME = "52009230";
const POSITION = "00200032";
const ORIENTATION = "00200037";
const SPACING = "00280030";
const PLANE_POSITION = "00209113";
const PLANE_ORIENTATION = "00209116";
const PIXEL_MEASURES = "00289110";
const DETECTORS = "00540022";
const OFFSETS = "3004000C";
const STEP = "00180088";
const SLICES = "00540080";
const IMAGE_TYPE = "00080008";
const SEGMENT_IDENTIFICATION = "0062000A";
const SEGMENT = "0062000B";
/** What old scanners' decimals leave. */
const ORTHONORMAL = 1e-2;
/** mm: positions and spacings beyond are no patient's. */
const FARTHEST = 1e7;
const FINEST = 1e-6;

/**
 * Where a mark is: its tag, in which functional group ("": in the data set itself), in which sequence of that, and
 * whether it is text. The first that has a value counts.
 * @type {[name: string, tag: string, group?: string, inner?: string][]}
 */
const MARKS = [
  ["StackID", "00209056", "00209111"],
  ["TemporalPosition", "00209128", "00209111"],
  ["TemporalPosition", "00200100"],
  ["EchoNumbers", "00180086"],
  ["EchoTime", "00189082", "00189114"],
  ["EchoTime", "00180081"],
  ["DiffusionBValue", "00189087", "00189117"],
  ["DiffusionBValue", "00189087"],
  ["DiffusionGradientOrientation", "00189089", "00189117", "00189076"],
  ["DiffusionGradientOrientation", "00189089"],
  ["CardiacPhase", "00209153", "00189118"],
  ["CardiacPhase", "00209241", "00189118"],
  ["RespiratoryPhase", "00209255", "00209253"],
  ["InversionTime", "00189079", "00189115"],
  ["InversionTime", "00180082"],
  ["FlipAngle", "00181314", "00189112"],
  ["FlipAngle", "00181314"],
  ["ComplexImageComponent", "00089208", "00189226"],
  ["FrameType", "00089007", "00189226"],
  ["FrameType", "00089007", "00189329"],
  ["FrameType", "00089007", "00189751"],
  ["FrameType", IMAGE_TYPE],
  ["FrameReferenceTime", "00541300"],
  ["ConvolutionKernel", "00181210", "00189314"],
  ["ConvolutionKernel", "00181210"],
  ["ReconstructionDiameter", "00181100"],
  ["AcquisitionNumber", "00209156", "00209111"],
  ["AcquisitionNumber", "00200012"],
  ["TriggerTime", "00181060"],
  ["AcquisitionDateTime", "00189074", "00209111"],
  ["AcquisitionDateTime", "0008002A"],
  ["AcquisitionDateTime", "00080032"],
];
const TEXT = new Set(["StackID", "ComplexImageComponent", "FrameType", "ConvolutionKernel", "AcquisitionDateTime"]);
/** Vectors with one value a frame (C.8.4.8). */
const VECTORS = Object.entries({ EnergyWindow: "00540010", TimeSlot: "00540070" });

/** Why an object has no place in a volume: a fact about it, and no fault of its own. */
class NoPlanes extends Error {}

/** @param {number[]} o six cosines @returns {[number, number, number]} row direction x column direction */
export function normalOf([rx = 0, ry = 0, rz = 0, cx = 0, cy = 0, cz = 0]) {
  return [ry * cz - rz * cy, rz * cx - rx * cz, rx * cy - ry * cx];
}

/**
 * @param {DataSet[]} metadata of objects, in any order
 * @returns {{planes: Plane[], leftOut: LeftOut[]}}
 */
export function readPlanes(metadata) {
  /** @type {Plane[]} */
  const planes = [];
  /** @type {Map<string, number[]>} */
  const reasons = new Map();
  metadata.forEach((ds, source) => {
    try {
      planes.push(...planesOf(ds, source));
    } catch (error) {
      if (!(error instanceof NoPlanes)) throw error;
      reasons.set(error.message, [...(reasons.get(error.message) ?? []), source]);
    }
  });
  return { planes, leftOut: [...reasons].map(([reason, sources]) => ({ sources, reason })) };
}

/** @param {DataSet} ds @param {number} source @returns {Plane[]} */
function planesOf(ds, source) {
  if (number(ds, "00280010") === undefined || number(ds, "00280011") === undefined) throw new NoPlanes("it is no image");
  const kinds = texts(ds, IMAGE_TYPE).slice(2);
  if (kinds.includes("LOCALIZER")) throw new NoPlanes("a localizer");
  if (kinds.includes("MOSAIC")) throw new NoPlanes("a mosaic: many slices in one picture, whose position is that of none of them");
  const frames = Math.trunc(number(ds, "00280008") ?? 1) || 1;
  if (items(ds, PER_FRAME).length > 0 || items(ds, SHARED).length > 0) return ofGroups(ds, source, frames);
  const marks = marksOf((group) => (group ? undefined : ds));
  const place = ds[POSITION]?.Value ? ds : (items(ds, DETECTORS)[0] ?? ds);
  if (frames === 1) return [plane(ds, source, 1, { position: place, orientation: place, measures: ds, marks })];
  return ofSteps(ds, source, frames, marks, place);
}

/**
 * @param {DataSet} ds @param {number} source @param {number} frame
 * @param {{position: DataSet, orientation: DataSet, measures: DataSet, marks: Record<string, Mark>, segment?: string}} where
 * @returns {Plane}
 */
function plane(ds, source, frame, where) {
  const position = numbers(where.position, POSITION);
  const orientation = numbers(where.orientation, ORIENTATION);
  const [between, along] = numbers(where.measures, SPACING);
  if (position.length !== 3 || orientation.length !== 6) throw new NoPlanes("it has no Image Position and Orientation (Patient)");
  if (between === undefined || along === undefined) throw new NoPlanes("it has no Pixel Spacing");
  if (!(Math.min(between, along) > 0)) throw new NoPlanes("its position, orientation or spacing is not finite, or the spacing not positive");
  if (Math.max(...position.map(Math.abs), between, along) > FARTHEST || Math.min(between, along) < FINEST) {
    throw new NoPlanes("its position or spacing is no patient's");
  }
  const [rows, columns] = [orientation.slice(0, 3), orientation.slice(3)];
  const off = Math.max(Math.abs(Math.hypot(...rows) - 1), Math.abs(Math.hypot(...columns) - 1), Math.abs(dot(rows, columns)));
  if (off > ORTHONORMAL) throw new NoPlanes("its orientation is not of two unit vectors at a right angle");
  return {
    source,
    frame,
    position,
    orientation,
    spacing: [between, along],
    shape: [number(ds, "00280010") ?? 0, number(ds, "00280011") ?? 0],
    series: text(ds, "0020000E"),
    frameOfReference: text(ds, "00200052"),
    instance: text(ds, "00080018"),
    number: number(ds, "00200013") ?? 0,
    segment: where.segment ?? "",
    marks: where.marks,
  };
}

/** @param {(group: string) => DataSet | undefined} place the data set or item to look in @returns {Record<string, Mark>} */
function marksOf(place) {
  /** @type {Record<string, Mark>} */
  const marks = {};
  for (const [name, tag, group = "", inner = ""] of MARKS) {
    if (name in marks) continue;
    const found = place(group);
    const ds = inner ? items(found, inner)[0] : found;
    if (!ds?.[tag]) continue;
    marks[name] = TEXT.has(name) ? texts(ds, tag).join("\\") : numbers(ds, tag);
  }
  return marks;
}

/** @param {DataSet} ds @param {number} source @param {number} frames @returns {Plane[]} */
function ofGroups(ds, source, frames) {
  const shared = items(ds, SHARED)[0];
  const own = items(ds, PER_FRAME);
  if (own.length === 0) throw new NoPlanes("its frames have no positions of their own");
  if (own.length !== frames) throw new NoPlanes(`${own.length} items of per-frame functional groups for ${frames} frames`);
  return own.map((item, at) => {
    /** The functional group of this frame, else the shared one, else the data set. @param {string} tag */
    const group = (tag) => items(item, tag)[0] ?? items(shared, tag)[0] ?? ds;
    const segmented = group(SEGMENT_IDENTIFICATION);
    return plane(ds, source, at + 1, {
      position: group(PLANE_POSITION),
      orientation: group(PLANE_ORIENTATION),
      measures: group(PIXEL_MEASURES),
      marks: marksOf((tag) => (tag ? group(tag) : ds)),
      segment: segmented !== ds && segmented[SEGMENT] ? String(number(segmented, SEGMENT)) : "",
    });
  });
}

/**
 * Frames of which only the first has a position, and the others a distance from it.
 * @param {DataSet} ds @param {number} source @param {number} frames @param {Record<string, Mark>} marks
 * @param {DataSet} place @returns {Plane[]}
 */
function ofSteps(ds, source, frames, marks, place) {
  const first = plane(ds, source, 1, { position: place, orientation: place, measures: ds, marks });
  /** @type {number[]} */
  let direction = normalOf(first.orientation);
  let offsets = numbers(ds, OFFSETS);
  if (offsets.length > 0) {
    if (offsets.length !== frames) throw new NoPlanes(`${offsets.length} Grid Frame Offsets for ${frames} frames`);
    const start = offsets[0] ?? 0;
    if (start !== 0) {
      // Not relative, but the planes' own z (C.8.8.3.2).
      if (Math.abs(start - (first.position[2] ?? 0)) > 1e-3 || Math.abs(direction[2] ?? 0) < 1 - ORTHONORMAL) {
        throw new NoPlanes("Grid Frame Offset Vector is neither relative nor absolute");
      }
      direction = [0, 0, 1];
      offsets = offsets.map((offset) => offset - start);
    }
  } else {
    // The sign of the step says to which side of the first slice the others are (C.8.4.15).
    const step = numbers(ds, STEP);
    const slices = numbers(ds, SLICES);
    if (step.length !== 1 || slices.length !== frames) throw new NoPlanes("nothing says where its frames lie");
    offsets = slices.map((slice) => (slice - 1) * (step[0] ?? 0));
  }
  const vectors = VECTORS.map(([name, tag]) => /** @type {[string, number[]]} */ ([name, numbers(ds, tag)])).filter(([, values]) => values.length === frames);
  return offsets.map((offset, at) => {
    if (!(Math.abs(offset) <= FARTHEST)) throw new NoPlanes("a distance between its frames is no patient's");
    const more = Object.fromEntries(vectors.map(([name, values]) => [name, [values[at] ?? 0]]));
    return { ...first, frame: at + 1, position: first.position.map((p, i) => p + offset * (direction[i] ?? 0)), marks: { ...marks, ...more } };
  });
}
