// @ts-check
// Marks as a measurement report (TID 1500 of PS3.16 in a Comprehensive SR), and back: the numbers with what they were
// measured on, for programs that read numbers. Pure: data sets in DICOM JSON in and out.

import { Tag, items, numbers, text } from "../dataset.js";
import { stamp } from "../format.js";
import { angle, area, cobb, distance, statistics } from "./shapes.js";
import { spacingAt } from "./spacing.js";
import { attribute, byFrame, graphics, newUid, ofPatient, placed, readShape, reference, wholeImage } from "./state.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("../loader.js").Entry} Entry */
/** @typedef {import("./shapes.js").Shape} Shape */
/** @typedef {import("./shapes.js").Values} Values */
/** @typedef {import("./state.js").Marked} Marked */
/** value, scheme, meaning @typedef {[string, string, string]} Code */

export const REPORT_CLASS = "1.2.840.10008.5.1.4.1.1.88.33";
/** @type {Record<string, Code>} PS3.16 Annex D, SNOMED CT and UCUM */
const CODES = {
  report: ["126000", "DCM", "Imaging Measurement Report"],
  language: ["121049", "DCM", "Language of Content Item and Descendants"],
  english: ["en", "RFC5646", "English"],
  observerType: ["121005", "DCM", "Observer Type"],
  device: ["121007", "DCM", "Device"],
  deviceUid: ["121012", "DCM", "Device Observer UID"],
  deviceName: ["121013", "DCM", "Device Observer Name"],
  procedure: ["121058", "DCM", "Procedure reported"],
  imaging: ["363679005", "SCT", "Imaging procedure"],
  measurements: ["126010", "DCM", "Imaging Measurements"],
  group: ["125007", "DCM", "Measurement Group"],
  tracking: ["112039", "DCM", "Tracking Identifier"],
  trackingUid: ["112040", "DCM", "Tracking Unique Identifier"],
  region: ["111030", "DCM", "Image Region"],
  source: ["111040", "DCM", "Original Source"],
  comment: ["121106", "DCM", "Comment"],
  derivation: ["121401", "DCM", "Derivation"],
  length: ["410668003", "SCT", "Length"],
  angle: ["1483009", "SCT", "Angle"],
  cobb: ["285285000", "SCT", "Cobb angle"],
  area: ["42798000", "SCT", "Area"],
  mean: ["373098007", "SCT", "Mean"],
  deviation: ["386136009", "SCT", "Standard Deviation"],
  least: ["255605001", "SCT", "Minimum"],
  most: ["56851009", "SCT", "Maximum"],
  attenuation: ["112031", "DCM", "Attenuation Coefficient"],
  signal: ["110852", "DCM", "MR signal intensity"],
  uptake: ["126401", "DCM", "SUVbw"],
  value: ["PIXEL_VALUE", "99ISOCENTER", "Pixel value"],
};
/** @type {Record<string, Code>} by what shapes say */
const UNITS = {
  mm: ["mm", "UCUM", "millimeter"],
  mm2: ["mm2", "UCUM", "square millimeter"],
  px: ["{pixels}", "UCUM", "pixels"],
  deg: ["deg", "UCUM", "degree"],
  HU: ["[hnsf'U]", "UCUM", "Hounsfield unit"],
  BQML: ["Bq/ml", "UCUM", "Becquerels/milliliter"],
  "Bq/ml": ["Bq/ml", "UCUM", "Becquerels/milliliter"],
  GML: ["g/ml", "UCUM", "grams/milliliter"],
};
/** @type {Code} */
const NO_UNIT = ["1", "UCUM", "no units"];

/** @param {Code | undefined} code */
const coded = (code) => attribute("SQ", { "00080100": attribute("SH", code?.[0]), "00080102": attribute("SH", code?.[1]), "00080104": attribute("LO", code?.[2]) });

/** @param {string} relation @param {string} type @param {Code | undefined} name @param {DataSet} value @param {DataSet[]} [inner] @returns {DataSet} a content item (PS3.3 C.17.3.2) */
const item = (relation, type, name, value, inner = []) => ({
  "0040A010": attribute("CS", relation),
  "0040A040": attribute("CS", type),
  "0040A043": coded(name),
  ...value,
  ...(inner.length > 0 ? { "0040A730": attribute("SQ", ...inner) } : {}),
});

/** @param {Code | undefined} name @param {number} found @param {Code} unit @param {DataSet[]} [inner] */
function measure(name, found, unit, inner) {
  // A DS has 16 characters.
  const value = Number(found.toPrecision(9));
  return item("CONTAINS", "NUM", name, { "0040A300": attribute("SQ", { "004008EA": coded(unit), "0040A30A": attribute("DS", value) }) }, inner);
}

/** Where it was measured, with the image that it is of. @param {string} relation @param {Entry[]} entries @param {Shape} shape @returns {DataSet[]} */
function places(relation, entries, shape) {
  return graphics(shape).map((graphic) =>
    item(relation, "SCOORD", CODES["region"], { "00700022": attribute("FL", ...numbers(graphic, "00700022")), "00700023": attribute("CS", text(graphic, "00700023")) }, [
      item("SELECTED FROM", "IMAGE", CODES["source"], { "00081199": attribute("SQ", reference(entries)) }),
    ]),
  );
}

/** @param {Entry[]} entries that it is on @param {Shape} shape @param {Values | null} values of the only one @returns {DataSet[]} what a shape says */
function findings(entries, shape, values) {
  const entry = /** @type {Entry} */ (entries[0]);
  const spacing = spacingAt(entry.image, entry.frame, shape.points[0] ?? [0, 0]);
  const [a = [0, 0], b = a] = shape.points;
  const from = places("INFERRED FROM", entries, shape);
  const name = values?.unit === "SUVbw" ? CODES["uptake"] : entry.image.modality === "CT" ? CODES["attenuation"] : entry.image.modality === "MR" ? CODES["signal"] : CODES["value"];
  const unit = values?.code ?? UNITS[values?.unit ?? ""] ?? NO_UNIT;
  switch (shape.kind) {
    case "length":
      return [measure(CODES["length"], distance(a, b, spacing), UNITS[spacing.unit] ?? NO_UNIT, from)];
    case "angle":
      return [measure(CODES["angle"], angle(shape.points, spacing), UNITS["deg"] ?? NO_UNIT, from)];
    case "cobb":
      return [measure(CODES["cobb"], cobb(shape.points, spacing), UNITS["deg"] ?? NO_UNIT, from)];
    case "arrow":
      return [item("CONTAINS", "TEXT", CODES["comment"], { "0040A160": attribute("UT", shape.text || "-") }, from)];
    case "probe": {
      const found = values?.at(Math.floor(a[0]), Math.floor(a[1]));
      return found === undefined || found === null ? [item("CONTAINS", "TEXT", CODES["comment"], { "0040A160": attribute("UT", "-") }, from)] : [measure(name, found, unit, from)];
    }
    default: {
      const found = values && statistics(shape, values);
      const size = spacing.unit === "mm" ? [measure(CODES["area"], area(shape, spacing), UNITS["mm2"] ?? NO_UNIT)] : [];
      if (!found) return [...places("CONTAINS", entries, shape), ...size];
      const derived = /** @type {[string, number][]} */ ([["mean", found.mean], ["deviation", found.deviation], ["least", found.least], ["most", found.most]]);
      const rows = derived.map(([how, value]) => measure(name, value, unit, [item("HAS CONCEPT MOD", "CODE", CODES["derivation"], { "0040A168": coded(CODES[how]) })]));
      return [...places("CONTAINS", entries, shape), ...size, ...rows];
    }
  }
}

/**
 * @param {{entry: Entry, shapes: readonly Shape[]}[]} marked of one series, at least one with a shape
 * @param {(entry: Entry) => Values | null} valuesOf
 * @param {{series: string, number: number, now?: Date}} where of the series that the report goes into
 * @returns {DataSet}
 */
export function makeReport(marked, valuesOf, where) {
  const { ds, path } = /** @type {Entry} */ (marked[0]?.entry).image;
  const [day, time] = stamp(where.now ?? new Date());
  const images = [...new Map(marked.map(({ entry }) => [entry.image.path.instance, entry])).values()];
  const groups = placed(marked).map(([shape, entries], index) => {
    const tracked = [
      item("HAS OBS CONTEXT", "TEXT", CODES["tracking"], { "0040A160": attribute("UT", `${shape.kind} ${index + 1}`) }),
      item("HAS OBS CONTEXT", "UIDREF", CODES["trackingUid"], { "0040A124": attribute("UI", newUid()) }),
    ];
    const values = entries.length === 1 ? valuesOf(/** @type {Entry} */ (entries[0])) : null;
    return item("CONTAINS", "CONTAINER", CODES["group"], container(), [...tracked, ...findings(entries, shape, values)]);
  });
  const content = [
    item("HAS CONCEPT MOD", "CODE", CODES["language"], { "0040A168": coded(CODES["english"]) }),
    item("HAS OBS CONTEXT", "CODE", CODES["observerType"], { "0040A168": coded(CODES["device"]) }),
    item("HAS OBS CONTEXT", "UIDREF", CODES["deviceUid"], { "0040A124": attribute("UI", newUid()) }),
    item("HAS OBS CONTEXT", "TEXT", CODES["deviceName"], { "0040A160": attribute("UT", "Isocenter") }),
    item("HAS CONCEPT MOD", "CODE", CODES["procedure"], { "0040A168": coded(CODES["imaging"]) }),
    item("CONTAINS", "CONTAINER", CODES["measurements"], container(), groups),
  ];
  return {
    ...ofPatient(ds),
    "00080016": attribute("UI", REPORT_CLASS),
    "00080018": attribute("UI", newUid()),
    "00080023": attribute("DA", day),
    "00080033": attribute("TM", time),
    "00080060": attribute("CS", "SR"),
    "00080070": attribute("LO", "Isocenter"),
    "0008103E": attribute("LO", "Measurements"),
    "00081111": attribute("SQ"),
    "0020000E": attribute("UI", where.series),
    "00200011": attribute("IS", where.number),
    "00200013": attribute("IS", 1),
    "0040A040": attribute("CS", "CONTAINER"),
    "0040A043": coded(CODES["report"]),
    ...container("1500"),
    "0040A372": attribute("SQ"),
    "0040A375": attribute("SQ", {
      "0020000D": attribute("UI", path.study),
      "00081115": attribute("SQ", { "0020000E": attribute("UI", path.series), "00081199": attribute("SQ", ...images.map(wholeImage)) }),
    }),
    "0040A491": attribute("CS", "COMPLETE"),
    "0040A493": attribute("CS", "UNVERIFIED"),
    "0040A730": attribute("SQ", ...content),
  };
}

/** @param {string} [template] @returns {DataSet} */
function container(template) {
  /** @type {DataSet} */
  const made = { "0040A050": attribute("CS", "SEPARATE") };
  if (template) made["0040A504"] = attribute("SQ", { "00080105": attribute("CS", "DCMR"), "0040DB00": attribute("CS", template) });
  return made;
}

// --- back

/** @param {DataSet} report @returns {string} when it was written, to be compared */
export function writtenAt(report) {
  return `${text(report, Tag.ContentDate)}${text(report, Tag.ContentTime)}`;
}

/** The marks of a report that are drawn here, for each frame. @param {DataSet} report @returns {Marked[]} */
export function readReport(report) {
  /** @type {[DataSet, Omit<Shape, "id">][]} */
  const found = [];
  const inside = (/** @type {DataSet} */ ds) => items(ds, "0040A730");
  const named = (/** @type {DataSet} */ ds, /** @type {string} */ name) => text(items(ds, "0040A043")[0], "00080100") === CODES[name]?.[0];
  const take = (/** @type {DataSet} */ holder) => {
    const drawn = inside(holder).filter((one) => text(one, "0040A040") === "SCOORD");
    const image = drawn.flatMap(inside).flatMap((one) => items(one, "00081199"))[0];
    if (!image) return;
    const said = text(holder, "0040A040") === "TEXT" ? text(holder, "0040A160") : "";
    const shape = readShape({
      "00700008": attribute("SQ", { "00700006": attribute("ST", said), ...(said ? { "00700014": attribute("FL", 0, 0) } : {}) }),
      "00700009": attribute("SQ", ...drawn.map((one) => ({ ...one, "00700005": attribute("CS", "PIXEL") }))),
    });
    if (shape) found.push([image, shape]);
  };
  for (const section of inside(report).filter((one) => named(one, "measurements"))) {
    for (const group of inside(section).filter((one) => named(one, "group"))) [group, ...inside(group)].forEach(take);
  }
  return byFrame(found);
}
