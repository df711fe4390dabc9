// @ts-check
// Which planes of a series make a volume, and where it lies (PS3.3 C.7.6.2, C.7.6.16.2). The rules and the words are
// those of the server's pixels/geometry.py, rule for rule: only geometry decides what belongs together and in which order,
// and attributes are asked only where planes lie on one another, as few of them as tell the planes apart.

import { dot } from "../geometry.js";
import { normalOf } from "./planes.js";

/** @typedef {import("./planes.js").Plane} Plane */
/** @typedef {import("./planes.js").LeftOut} LeftOut */
/** More than one step between slice `after` (from 0) and the next. @typedef {{after: number, distance: number, missing: number}} Gap */
/**
 * @typedef {object} Volume planes that make a volume, ordered along row direction x column direction
 * @property {Plane[]} planes
 * @property {number[]} places of each plane on the common grid: 0, 1, 2, 4 where one slice is missing
 * @property {number[][]} affine 3 x 4: takes (place, row, column, 1) to LPS mm
 * @property {number} thickness between slices along their normal, mm
 * @property {number} tilt degrees between the line of slices and their normal; the affine has it as a shear
 * @property {number} deviation how far at most a slice lies from where the affine puts it, mm
 * @property {boolean} regular
 * @property {Gap[]} gaps
 * @property {number} duplicates
 * @property {Record<string, string>} apart what tells it from others of its series
 */

/** What tells planes in one place apart, the most telling first. */
const DISCRIMINATORS = [
  "StackID", "TemporalPosition", "EchoNumbers", "EchoTime", "DiffusionBValue", "DiffusionGradientOrientation",
  "CardiacPhase", "RespiratoryPhase", "InversionTime", "FlipAngle", "ComplexImageComponent", "FrameType",
  "FrameReferenceTime", "ConvolutionKernel", "ReconstructionDiameter", "AcquisitionNumber", "TriggerTime",
  "EnergyWindow", "TimeSlot", "AcquisitionDateTime",
];
/** Difference of two cosines that is rounding. */
const DIRECTION = 1e-3;
const MOST_ORIENTATIONS = 64;
/** To which a gap may divide a series. */
const MOST_PARTS = 8;
/** Of a pixel: in one place; beside the line of slices. */
const SAME_PLACE = 0.01;
const OFF_LINE = 0.25;
/** Of a step, by which a slice may lie before or behind its place. */
const OFF_GRID = 0.05;
const MOST_HOLES = 1000;
/** Degrees that are rounding. */
const NO_TILT = 0.05;
const BESIDE = "the slices lie beside each other, on no common line";
const IN_PLANE = "the slices lie in one plane";

/** @param {Plane} plane distance from the origin along its normal, mm */
const locationOf = (plane) => dot(plane.position, normalOf(plane.orientation));
/** @param {Plane} plane @returns {number} the finer of its two spacings */
const finest = (plane) => Math.min(...plane.spacing);
/** @template T @param {T[]} list @returns {T} of a list that is not empty */
const first = (list) => /** @type {T} */ (list[0]);

/** @template T @param {Iterable<T>} all @param {(one: T) => string} key @returns {Map<string, T[]>} */
function grouped(all, key) {
  /** @type {Map<string, T[]>} */
  const groups = new Map();
  for (const one of all) {
    const name = key(one);
    const group = groups.get(name);
    if (group) group.push(one);
    else groups.set(name, [one]);
  }
  return groups;
}

/** @param {number[]} values @returns {number} */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** Halves to the even number, as numpy does. @param {number} x */
function rint(x) {
  const up = Math.floor(x + 0.5);
  return up - x === 0.5 && up % 2 !== 0 ? up - 1 : up;
}

/** As Python's %g with `digits` significant ones. @param {number} x @param {number} [digits] */
function shortest(x, digits = 6) {
  return String(Number(x.toPrecision(digits)));
}

/**
 * The volumes that planes make, and what makes none, in the order of the planes.
 * @param {Plane[]} planes @returns {{volumes: Volume[], leftOut: LeftOut[]}}
 */
export function volumesOf(planes) {
  /** @type {Volume[]} */
  const volumes = [];
  /** @type {LeftOut[]} */
  const leftOut = [];
  for (const series of grouped(planes, (plane) => plane.series).values()) {
    const { unique, copies } = withoutCopies(series);
    for (const { apart, planes: group } of rigid(unique, leftOut)) {
      for (const part of split(group, DISCRIMINATORS)) {
        if (part.reason) {
          leftOut.push(leaving(part.planes, part.reason));
          continue;
        }
        const held = new Set(part.planes.map(nameOf));
        const duplicates = copies.filter((plane) => held.has(nameOf(plane))).length;
        volumes.push({ ...stackOf(part.planes), duplicates, apart: { ...apart, ...part.apart } });
      }
    }
  }
  return { volumes, leftOut };
}

/** @param {Plane} plane */
const nameOf = (plane) => `${plane.instance}/${plane.frame}`;

/** @param {Plane[]} planes @param {string} reason @returns {LeftOut} */
function leaving(planes, reason) {
  return { sources: [...new Set(planes.map((plane) => plane.source))], reason };
}

/** @param {Plane[]} planes */
function withoutCopies(planes) {
  const seen = new Set();
  /** @type {Plane[]} */
  const unique = [];
  /** @type {Plane[]} */
  const copies = [];
  for (const plane of planes) {
    (plane.instance && seen.has(nameOf(plane)) ? copies : unique).push(plane);
    seen.add(nameOf(plane));
  }
  return { unique, copies };
}

// --- what can never be one volume

/** Planes with equal size, spacing, direction and kind. @param {Plane[]} planes @param {LeftOut[]} leftOut */
function rigid(planes, leftOut) {
  /** @type {[string, (plane: Plane) => string][]} */
  const keys = [
    ["FrameOfReferenceUID", (plane) => plane.frameOfReference],
    ["Rows and Columns", (plane) => plane.shape.join(" x ")],
    ["PixelSpacing", (plane) => plane.spacing.map((mm) => shortest(mm, 5)).join(" x ")],
    ["ReferencedSegmentNumber", (plane) => plane.segment],
  ];
  const groups = [...grouped(planes, (plane) => JSON.stringify(keys.map(([, key]) => key(plane)))).values()];
  const varying = keys.filter(([, key]) => new Set(groups.map((group) => key(first(group)))).size > 1);
  /** @type {{apart: Record<string, string>, planes: Plane[]}[]} */
  const result = [];
  for (const group of groups) {
    const apart = Object.fromEntries(varying.map(([name, key]) => [name, key(first(group))]));
    const clusters = directions(group);
    if (!clusters) {
      leftOut.push(leaving(group, `the planes have more than ${MOST_ORIENTATIONS} orientations`));
      continue;
    }
    clusters.forEach((cluster, at) => {
      /** @type {Record<string, string>} */
      const more = clusters.length > 1 ? { orientation: `${at + 1} of ${clusters.length}` } : {};
      result.push({ apart: { ...apart, ...more }, planes: cluster });
    });
  }
  return result;
}

/** The planes by orientation; null if there are too many to be several volumes. @param {Plane[]} planes */
function directions(planes) {
  /** @type {Plane[][]} */
  const clusters = [];
  for (const plane of planes) {
    const cluster = clusters.find((one) => plane.orientation.every((v, i) => Math.abs(v - (first(one).orientation[i] ?? 0)) <= DIRECTION));
    if (cluster) cluster.push(plane);
    else if (clusters.length === MOST_ORIENTATIONS) return null;
    else clusters.push([plane]);
  }
  return clusters;
}

// --- several in one place

/** @typedef {{planes: Plane[], apart: Record<string, string>, reason: string}} Part */

/** @param {Plane[]} planes @param {string} reason @returns {Part} */
const part = (planes, reason = "") => ({ planes, apart: {}, reason });
/** @param {string} name @param {Plane} plane */
const markOf = (name, plane) => JSON.stringify(plane.marks[name] ?? "");

/** Parts of parallel planes that are volumes, or have a reason why they are none. @param {Plane[]} planes @param {string[]} names @returns {Part[]} */
function split(planes, names) {
  if (planes.length === 1) return [part(planes, "a single slice")];
  const places = placesOf(planes);
  const most = Math.max(...places.map((here) => here.length));
  const flaw = most > 1 ? "" : flawOf(planes);
  if (most === 1 && !flaw) return [part(planes)];
  for (const [at, name] of names.entries()) {
    const groups = [...grouped(planes, (plane) => markOf(name, plane)).values()];
    if (groups.length < 2) continue;
    // Each value is in one place with another: an attribute that follows the slices would have more values.
    const useful =
      most > 1
        ? groups.length <= most && places.some((here) => new Set(here.map((plane) => markOf(name, plane))).size > 1)
        : groups.length <= MOST_PARTS && groups.every((group) => group.length > 1 && !flawOf(group));
    if (!useful) continue;
    return groups.flatMap((group) => split(group, names.slice(at + 1)).map((one) => ({ ...one, apart: { [name]: shown(first(group).marks[name] ?? ""), ...one.apart } })));
  }
  if (most === 1) return [part(planes, flaw === BESIDE || flaw === IN_PLANE ? flaw : "")];
  if (places.every((here) => here.length === most)) {
    // Nothing but their order tells them apart, as dynamic series of older scanners.
    const ranked = places.map((here) => [...here].sort((a, b) => a.number - b.number || a.source - b.source || a.frame - b.frame));
    return Array.from({ length: most }, (_, rank) => {
      const one = first(split(ranked.map((here) => /** @type {Plane} */ (here[rank])), []));
      return { ...one, apart: { order: `${rank + 1} of ${most}` } };
    });
  }
  const crowded = places.filter((here) => here.length > 1).length;
  return [part(planes, `${crowded} of ${places.length} places have several planes that no attribute tells apart`)];
}

/** @param {import("./planes.js").Mark} mark */
const shown = (mark) => (Array.isArray(mark) ? mark.map((value) => shortest(value)).join("\\") : mark);

/** Planes that have the same place, along the normal. @param {Plane[]} planes @returns {Plane[][]} */
function placesOf(planes) {
  const tolerance = SAME_PLACE * finest(first(planes));
  /** @type {Plane[][]} */
  const places = [];
  // By cells as wide as the tolerance, so that only neighbouring cells have to be looked at.
  /** @type {Map<string, Plane[][]>} */
  const cells = new Map();
  for (const plane of [...planes].sort((a, b) => locationOf(a) - locationOf(b))) {
    const [x = 0, y = 0, z = 0] = plane.position.map((mm) => Math.floor(mm / tolerance));
    const here = around(cells, x, y, z).find((one) => distance(plane.position, first(one).position) <= tolerance);
    if (here) {
      here.push(plane);
      continue;
    }
    const made = [plane];
    places.push(made);
    const key = `${x},${y},${z}`;
    cells.set(key, [...(cells.get(key) ?? []), made]);
  }
  return places;
}

/** @param {Map<string, Plane[][]>} cells @param {number} x @param {number} y @param {number} z */
function around(cells, x, y, z) {
  const near = [-1, 0, 1];
  return near.flatMap((i) => near.flatMap((j) => near.flatMap((k) => cells.get(`${x + i},${y + j},${z + k}`) ?? [])));
}

/** @param {number[]} a @param {number[]} b */
const distance = (a, b) => Math.hypot(...a.map((v, i) => v - (b[i] ?? 0)));

/** What keeps planes in different places from being one gapless regular volume; "" if nothing does. @param {Plane[]} planes */
function flawOf(planes) {
  const stack = stackOf(planes);
  const pixel = finest(first(planes));
  if (!(stack.thickness > SAME_PLACE * pixel)) return IN_PLANE;
  if (besideTheLine(stack) > OFF_LINE * pixel) return BESIDE;
  return stack.regular && stack.gaps.length === 0 ? "" : "gaps";
}

// --- one volume

/** Origin and step of the line nearest to the points, at the numbers `along`. @param {number[]} along @param {number[][]} points */
function lineOf(along, points) {
  const n = along.length;
  const centre = along.reduce((sum, v) => sum + v, 0) / n;
  const squares = along.reduce((sum, v) => sum + (v - centre) ** 2, 0);
  const axes = first(points).map((_, axis) => {
    const mean = points.reduce((sum, point) => sum + (point[axis] ?? 0), 0) / n;
    const step = along.reduce((sum, v, i) => sum + (v - centre) * ((points[i]?.[axis] ?? 0) - mean), 0) / squares;
    return { origin: mean - centre * step, step };
  });
  return { origin: axes.map(({ origin }) => origin), step: axes.map(({ step }) => step) };
}

/** How far, in mm, a slice lies at most from the line of all. @param {Volume} stack */
function besideTheLine({ planes }) {
  return farthest(planes.map(locationOf), planes.map((plane) => plane.position));
}

/** @param {number[]} along @param {number[][]} points @returns {number} the greatest distance of a point from its place on their line */
function farthest(along, points) {
  const { origin, step } = lineOf(along, points);
  return Math.max(...points.map((point, i) => distance(point, origin.map((v, axis) => v + (along[i] ?? 0) * (step[axis] ?? 0)))));
}

/** Two or more planes in different places, ordered and put on a grid. @param {Plane[]} planes @returns {Volume} */
function stackOf(planes) {
  const ordered = [...planes].sort((a, b) => locationOf(a) - locationOf(b));
  const positions = ordered.map((plane) => plane.position);
  const locations = ordered.map(locationOf);
  const distances = locations.slice(1).map((at, i) => at - (locations[i] ?? 0));
  // The step is the common distance; where slices are missing the others are multiples of it.
  const smallest = Math.min(...distances);
  let step = smallest > 0 ? median(distances.filter((mm) => mm <= 1.25 * smallest)) : 0;
  const grid = gridOf(locations, step, first(ordered).segment !== "");
  const regular = grid !== null;
  const places = grid ?? ordered.map((_, i) => i);
  if (!regular) step = median(distances);
  const line = lineOf(places, positions);
  const { orientation, spacing } = first(ordered);
  const affine = line.origin.map((origin, axis) => [line.step[axis] ?? 0, (orientation[axis + 3] ?? 0) * spacing[0], (orientation[axis] ?? 0) * spacing[1], origin]);
  return {
    planes: ordered,
    places,
    affine,
    thickness: Math.abs(dot(line.step, normalOf(orientation))),
    tilt: tiltOf(line.step, normalOf(orientation)),
    deviation: farthest(places, positions),
    regular,
    gaps: distances.flatMap((mm, after) => {
      const steps = (places[after + 1] ?? 0) - (places[after] ?? 0);
      return (regular ? steps > 1 : Math.abs(mm - step) > OFF_GRID * step) ? [{ after, distance: mm, missing: steps - 1 }] : [];
    }),
    duplicates: 0,
    apart: {},
  };
}

/** Degrees between the line of slices and their normal; 0 for what is rounding. @param {number[]} line @param {number[]} normal */
function tiltOf(line, normal) {
  const lengths = Math.hypot(...line) * Math.hypot(...normal);
  const tilt = lengths ? (Math.acos(Math.min(1, Math.abs(dot(line, normal)) / lengths)) * 180) / Math.PI : 0;
  return tilt > NO_TILT ? tilt : 0;
}

/** On which places of a grid of about `step` the slices lie; null if on none. @param {number[]} locations @param {number} step @param {boolean} segmented */
function gridOf(locations, step, segmented) {
  if (!(step > 0)) return null;
  const places = [0];
  const steps = locations.slice(1).map((at, i) => rint((at - (locations[i] ?? 0)) / step));
  for (const count of steps) places.push((places.at(-1) ?? 0) + count);
  const holes = (places.at(-1) ?? 0) + 1 - locations.length;
  const sparse = segmented && holes <= MOST_HOLES && 2 * steps.filter((count) => count === 1).length >= steps.length;
  // It is by chance that they fit: a much finer grid fits anything.
  if (holes > locations.length && !sparse) return null;
  return farthest(places, locations.map((at) => [at])) <= OFF_GRID * step ? places : null;
}
