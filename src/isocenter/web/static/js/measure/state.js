// @ts-check
// Marks as a Grayscale or Color Softcopy Presentation State (PS3.3 A.33.1, A.33.2), and back: what was drawn is an object like any other,
// which other makers' viewers show. Pure: data sets in DICOM JSON in and out.

import { Tag, items, number, numbers, text, texts } from "../dataset.js";
import { stamp } from "../format.js";
import { srgbProfile } from "./profile.js";
import { lines } from "./shapes.js";
import { spacingAt } from "./spacing.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("../loader.js").Entry} Entry */
/** @typedef {import("./shapes.js").Shape} Shape */
/** @typedef {import("./shapes.js").ShapeKind} ShapeKind */
/** @typedef {import("./spacing.js").Point} Point */
/** What a state says of a frame, or of all frames that it does not say anything else of (`frame` 0). @typedef {{instance: string, frame: number, shapes: Omit<Shape, "id">[]}} Marked */
/** How the frames are shown. @typedef {{window: {center: number, width: number, function: string} | null, inverse: boolean}} Shown */

const GRAY = "1.2.840.10008.5.1.4.1.1.11.1";
const COLOR = "1.2.840.10008.5.1.4.1.1.11.2";
export const STATE_CLASSES = new Set([GRAY, COLOR]);
const LAYER = "MARKS";
const POINTS = new Set(["POINT", "POLYLINE", "ELLIPSE"]);
/** Modules of the patient and the study, which are those of the images (PS3.3 C.7.1.1, C.7.2.1); type 2 may be empty. */
const COPIED = /** @type {[string, string][]} */ ([
  ["00100010", "PN"], ["00100020", "LO"], ["00100021", "LO"], ["00100030", "DA"], ["00100040", "CS"],
  ["0020000D", "UI"], ["00080020", "DA"], ["00080030", "TM"], ["00080050", "SH"], ["00080090", "PN"], ["00200010", "SH"], ["00081030", "LO"],
]);
const OPTIONAL = new Set(["00100021", "00081030"]);

/** @param {string} vr @param {...any} values */
export const attribute = (vr, ...values) => (values.length > 0 ? { vr, Value: values } : { vr });

/** @returns {string} a UID from random bits (PS3.5 section B.2) */
export function newUid() {
  return `2.25.${BigInt(`0x${crypto.randomUUID().replaceAll("-", "")}`)}`;
}

/**
 * An item of an Image SOP Instance Reference Macro: frames are named unless it is about all of them (PS3.3 Table 10-3).
 * @param {readonly Entry[]} entries frames of one image @returns {DataSet}
 */
export function reference(entries) {
  const { image } = /** @type {Entry} */ (entries[0]);
  return {
    "00081150": attribute("UI", text(image.ds, Tag.SOPClassUID)),
    "00081155": attribute("UI", image.path.instance),
    ...(entries.length < image.frames ? { "00081160": attribute("IS", ...entries.map(({ frame }) => frame)) } : {}),
  };
}

/** @param {Entry} entry @returns {DataSet} the same for all frames of its image */
export const wholeImage = ({ image }) => ({
  "00081150": attribute("UI", text(image.ds, Tag.SOPClassUID)),
  "00081155": attribute("UI", image.path.instance),
});

/** Each shape with the frames that it is on: one that was read for all frames is on many. @param {{entry: Entry, shapes: readonly Shape[]}[]} marked @returns {[Shape, Entry[]][]} */
export function placed(marked) {
  /** @type {Map<Shape, Entry[]>} */
  const found = new Map();
  for (const { entry, shapes } of marked) for (const shape of shapes) found.set(shape, [...(found.get(shape) ?? []), entry]);
  return [...found];
}

/** Patient and study of what is made from an image. @param {DataSet} ds of the image @returns {DataSet} */
export function ofPatient(ds) {
  /** @type {DataSet} */
  const made = { "00080005": attribute("CS", "ISO_IR 192") };
  for (const [tag, vr] of COPIED) {
    const values = ds[tag]?.Value ?? [];
    if (values.length > 0 || !OPTIONAL.has(tag)) made[tag] = attribute(vr, ...values);
  }
  return made;
}

/**
 * @param {{entry: Entry, shapes: readonly Shape[]}[]} marked of one series, at least one; without shapes: these are gone
 * @param {Shown} shown @param {(entry: Entry) => import("./shapes.js").Values | null} valuesOf for what is written beside
 * @param {{series: string, number: number, now?: Date}} where of the series that the state goes into
 * @returns {DataSet}
 */
export function makeState(marked, shown, valuesOf, where) {
  const first = /** @type {Entry} */ (marked[0]?.entry);
  const { ds, path } = first.image;
  const [day, time] = stamp(where.now ?? new Date());
  const state = ofPatient(ds);
  const grey = first.image.photometric.startsWith("MONOCHROME");
  const images = [...new Map(marked.map(({ entry }) => [entry.image.path.instance, entry])).values()];
  Object.assign(state, {
    "00080016": attribute("UI", grey ? GRAY : COLOR),
    "00080018": attribute("UI", newUid()),
    "00080060": attribute("CS", "PR"),
    "00080070": attribute("LO", "Isocenter"),
    "0008103E": attribute("LO", "Marks"),
    "0020000E": attribute("UI", where.series),
    "00200011": attribute("IS", where.number),
    [Tag.Laterality]: attribute("CS", ...(ds[Tag.Laterality]?.Value ?? [])),
    "00200013": attribute("IS", 1),
    "00700080": attribute("CS", LAYER),
    "00700081": attribute("LO", "Marks and measures"),
    "00700082": attribute("DA", day),
    "00700083": attribute("TM", time),
    "00700084": attribute("PN"),
    "00081115": attribute("SQ", { "0020000E": attribute("UI", path.series), "00081140": attribute("SQ", ...images.map(wholeImage)) }),
    "0070005A": attribute("SQ", ...images.map(displayedArea)),
    "00700060": attribute("SQ", { "00700002": attribute("CS", LAYER), "00700062": attribute("IS", 1) }),
    ...(grey ? { "20500020": attribute("CS", shown.inverse ? "INVERSE" : "IDENTITY") } : { "00282000": { vr: "OB", InlineBinary: btoa(String.fromCharCode(...srgbProfile())) } }),
  });
  const annotations = placed(marked).map(([shape, entries]) => annotation(entries, shape, valuesOf));
  if (annotations.length > 0) state["00700001"] = attribute("SQ", ...annotations);
  else delete state["00700060"];
  if (grey) greysOf(state, images, shown);
  return state;
}

/** The window, with the modality's values that it is of; without these for all images it would mean nothing. @param {DataSet} state @param {Entry[]} images @param {Shown} shown */
function greysOf(state, images, shown) {
  const rescales = images.map(({ image, frame }) => image.values(frame).modality);
  const one = rescales[0];
  if (!one || rescales.some(({ slope, intercept, lut }) => lut || slope !== one.slope || intercept !== one.intercept)) return;
  state["00281052"] = attribute("DS", one.intercept);
  state["00281053"] = attribute("DS", one.slope);
  state["00281054"] = attribute("LO", one.unit || "US");
  if (!shown.window) return;
  const { center, width, function: shape } = shown.window;
  const voi = { "00281050": attribute("DS", decimal(center)), "00281051": attribute("DS", decimal(width)), ...(shape === "LINEAR" ? {} : { "00281056": attribute("CS", shape) }) };
  state["00283110"] = attribute("SQ", voi);
}

/** @param {number} n @returns {number} with no more characters than a DS has */
const decimal = (n) => Number(n.toPrecision(10));

/** The whole image, as large as fits (PS3.3 C.10.4). @param {Entry} entry @returns {DataSet} */
function displayedArea(entry) {
  const { image, frame } = entry;
  const { spacing } = image.plane(frame);
  return {
    "00081140": attribute("SQ", wholeImage(entry)),
    "00700052": attribute("SL", 1, 1),
    "00700053": attribute("SL", image.columns, image.rows),
    "00700100": attribute("CS", "SCALE TO FIT"),
    ...(spacing ? { "00700101": attribute("DS", ...spacing.map(decimal)) } : { "00700102": attribute("IS", 1, 1) }),
  };
}

/** Values are written beside what is on one frame only. @param {Entry[]} entries @param {Shape} shape @param {(entry: Entry) => import("./shapes.js").Values | null} valuesOf @returns {DataSet} */
function annotation(entries, shape, valuesOf) {
  const entry = /** @type {Entry} */ (entries[0]);
  const values = entries.length === 1 ? valuesOf(entry) : null;
  const beside = lines(shape, spacingAt(entry.image, entry.frame, shape.points[0] ?? [0, 0]), values).join("\r\n");
  // An arrow's words belong to what it points at; what was measured stands beside the shape.
  const arrow = shape.kind === "arrow";
  const corner = shape.points[1] ?? shape.points[0] ?? [0, 0];
  const words = {
    "00700006": attribute("ST", beside || " "),
    ...(arrow
      ? { "00700004": attribute("CS", "PIXEL"), "00700014": attribute("FL", ...(shape.points[0] ?? [0, 0])), "00700015": attribute("CS", "Y") }
      : {}),
    "00700003": attribute("CS", "PIXEL"),
    "00700010": attribute("FL", ...corner),
    "00700011": attribute("FL", corner[0] + entry.image.columns / 4, corner[1] + entry.image.rows / 16),
    "00700012": attribute("CS", "LEFT"),
  };
  return {
    "00081140": attribute("SQ", reference(entries)),
    "00700002": attribute("CS", LAYER),
    "00700008": attribute("SQ", words),
    "00700009": attribute("SQ", ...graphics(shape)),
  };
}

/** @param {Shape} shape @returns {DataSet[]} */
export function graphics({ kind, points }) {
  const graphic = (/** @type {string} */ type, /** @type {Point[]} */ at) => ({
    "00700005": attribute("CS", "PIXEL"),
    "00700020": attribute("US", 2),
    "00700021": attribute("US", at.length),
    "00700022": attribute("FL", ...at.flat()),
    "00700023": attribute("CS", type),
    ...(type === "POINT" ? {} : { "00700024": attribute("CS", "N") }),
  });
  const [a = [0, 0], b = a] = points;
  const [x0, y0, x1, y1] = [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
  switch (kind) {
    case "probe":
      return [graphic("POINT", [a])];
    case "rectangle":
      return [graphic("POLYLINE", [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]])];
    case "ellipse": {
      /** @type {Point[]} */
      const across = [[x0, (y0 + y1) / 2], [x1, (y0 + y1) / 2]];
      /** @type {Point[]} */
      const down = [[(x0 + x1) / 2, y0], [(x0 + x1) / 2, y1]];
      // The major axis comes first (C.10.5.1.2).
      return [graphic("ELLIPSE", x1 - x0 >= y1 - y0 ? [...across, ...down] : [...down, ...across])];
    }
    case "cobb":
      return [graphic("POLYLINE", points.slice(0, 2)), graphic("POLYLINE", points.slice(2))];
    default:
      return [graphic("POLYLINE", points)];
  }
}

// --- back

/** @param {DataSet} state @returns {string} when it was made, to be compared */
export function madeAt(state) {
  return `${text(state, "00700082")}${text(state, "00700083")}`;
}

/** The marks of a state on all that it refers to: none, where it has none. @param {DataSet} state @returns {Marked[]} */
export function readState(state) {
  const shown = items(state, "00081115").flatMap((series) => items(series, "00081140"));
  /** @type {[DataSet, Omit<Shape, "id"> | null][]} */
  const found = shown.map((image) => [image, null]);
  for (const one of items(state, "00700001")) {
    const shape = readShape(one);
    // Without images of its own an annotation is of all that the state is of (C.10.5).
    const own = items(one, "00081140");
    if (shape) for (const image of own.length > 0 ? own : shown) found.push([image, shape]);
  }
  return byFrame(found);
}

/**
 * What belongs to each frame that is named, and to all others (`frame` 0): a reference that names no frames is about all
 * of them (PS3.3 Table 10-3), so that its shapes are also on those that are named elsewhere.
 * @param {[image: DataSet, shape: Omit<Shape, "id"> | null][]} found references with what is drawn there @returns {Marked[]}
 */
export function byFrame(found) {
  /** @type {Map<string, Map<number, Omit<Shape, "id">[]>>} */
  const images = new Map();
  const framesOf = (/** @type {DataSet} */ image) => numbers(image, "00081160");
  for (const [image] of found) {
    const uid = text(image, "00081155");
    const frames = images.get(uid) ?? new Map();
    for (const frame of framesOf(image).length > 0 ? framesOf(image) : [0]) frames.set(frame, []);
    images.set(uid, frames);
  }
  for (const [image, shape] of found) {
    const named = framesOf(image);
    if (shape) for (const [frame, shapes] of images.get(text(image, "00081155")) ?? []) if (named.length === 0 || named.includes(frame)) shapes.push(shape);
  }
  // All frames first: whoever is told replaces them by what is of one.
  return [...images].flatMap(([instance, frames]) => [...frames].sort(([a], [b]) => a - b).map(([frame, shapes]) => ({ instance, frame, shapes })));
}

/** @param {DataSet} one annotation @returns {Omit<Shape, "id"> | null} null for what is not drawn in this viewer */
export function readShape(one) {
  const drawn = items(one, "00700009").filter((graphic) => POINTS.has(text(graphic, "00700023")) && text(graphic, "00700005") === "PIXEL");
  const at = drawn.map((graphic) => {
    const data = numbers(graphic, "00700022");
    return Array.from({ length: data.length >> 1 }, (_, i) => /** @type {Point} */ ([data[2 * i], data[2 * i + 1]]));
  });
  const [first, second] = at;
  if (!first || first.length === 0) return null;
  const said = items(one, "00700008")[0];
  const type = text(drawn[0], "00700023");
  const shape = (/** @type {ShapeKind} */ kind, /** @type {Point[]} */ points, words = "") => ({ kind, points, text: words });
  if (type === "POINT") return shape("probe", first.slice(0, 1));
  const [xs, ys] = [first.map(([x]) => x), first.map(([, y]) => y)];
  const corners = /** @type {Point[]} */ ([[Math.min(...xs), Math.min(...ys)], [Math.max(...xs), Math.max(...ys)]]);
  if (type === "ELLIPSE") return first.length === 4 && upright(first) ? shape("ellipse", corners) : null;
  if (first.length === 2 && second?.length === 2) return shape("cobb", [...first, ...second]);
  if (first.length === 2 && number(said, "00700014") !== undefined) return shape("arrow", first, texts(said, "00700006").join("\\"));
  if (first.length === 2) return shape("length", first);
  if (first.length === 3) return shape("angle", first);
  const [a, , c, , e] = first;
  const closed = first.length === 5 && a && c && e && a[0] === e[0] && a[1] === e[1];
  return closed && new Set(xs).size === 2 && new Set(ys).size === 2 ? shape("rectangle", corners) : null;
}

/** Whether the axes of an ellipse lie along the image's. @param {Point[]} points */
function upright([a, b, c, d]) {
  if (!a || !b || !c || !d) return false;
  const along = (/** @type {Point} */ p, /** @type {Point} */ q) => Math.abs(p[0] - q[0]) < 0.01 || Math.abs(p[1] - q[1]) < 0.01;
  return along(a, b) && along(c, d);
}
