// @ts-check
// What the pixels of a frame measure, where that is more than the Modality LUT's output: a real world value that the object
// maps to (PS3.3 C.7.6.16.2.11), or a standardized uptake value of PET. Pure: a header in, a function and words out.

import { Tag, items, number, text, texts } from "./dataset.js";

/** @typedef {import("./dataset.js").DataSet} DataSet */
/** value, scheme, meaning of the unit @typedef {[string, string, string]} Code */
/**
 * `of` takes the stored and the modality's value; null where the mapping does not reach. `factor` is what the modality's
 * value is multiplied by, where that is all; `mapping` makes a real world value of a stored one.
 * @typedef {{unit: string, code: Code | null, of: (stored: number, modality: number) => number | null, factor: number | null, mapping: {slope: number, intercept: number} | null, refused: string}} Quantity
 */

/** UCUM codes that people know by another name. @type {Record<string, string>} */
const NAMES = { "{SUVbw}g/ml": "SUVbw", "{SUVlbm}g/ml": "SUVlbm", "{SUVbsa}cm2/ml": "SUVbsa", "{SUVibw}g/ml": "SUVibw", "[hnsf'U]": "HU", "Bq/ml": "Bq/ml", 1: "" };
const SUV = /** @type {Code} */ (["{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight"]);
/** SUV Type (0054,1006) of objects whose values are SUV already, in g/ml; without one it is by body weight (C.8.9.1). @type {Record<string, [string, Code]>} */
const TYPES = {
  BW: ["SUVbw", SUV],
  LBM: ["SUVlbm", ["{SUVlbm}g/ml", "UCUM", "Standardized Uptake Value lean body mass"]],
  LBMJAMES128: ["SUVlbm", ["{SUVlbm}g/ml", "UCUM", "Standardized Uptake Value lean body mass"]],
  LBMJANMA: ["SUVlbm", ["{SUVlbm}g/ml", "UCUM", "Standardized Uptake Value lean body mass"]],
  IBW: ["SUVibw", ["{SUVibw}g/ml", "UCUM", "Standardized Uptake Value ideal body weight"]],
};

/** @type {WeakMap<import("./image.js").Image, Map<number, Quantity | null>>} */
const known = new WeakMap();

/**
 * Of a frame; null for those whose modality's values are all there is to say. Found once: pictures are painted often.
 * @param {import("./image.js").Image} image @param {number} frame 1-based @returns {Quantity | null}
 */
export function quantityOf(image, frame) {
  const found = known.get(image) ?? new Map();
  known.set(image, found);
  if (!found.has(frame)) found.set(frame, mapped(image, frame) ?? (image.modality === "PT" ? uptake(image.ds) : null));
  return found.get(frame) ?? null;
}

/** The first linear mapping of a frame. @param {import("./image.js").Image} image @param {number} frame @returns {Quantity | null} */
function mapped(image, frame) {
  for (const item of image.realWorld(frame)) {
    const [slope, intercept] = [number(item, Tag.RealWorldValueSlope), number(item, Tag.RealWorldValueIntercept)];
    const first = number(item, Tag.RealWorldValueFirst) ?? number(item, Tag.DoubleRealWorldValueFirst);
    const last = number(item, Tag.RealWorldValueLast) ?? number(item, Tag.DoubleRealWorldValueLast);
    const units = items(item, Tag.MeasurementUnits)[0];
    if (!slope || intercept === undefined || first === undefined || last === undefined || !units) continue;
    const code = /** @type {Code} */ ([text(units, "00080100"), text(units, "00080102"), text(units, "00080104")]);
    return { unit: NAMES[code[0]] ?? code[0], code, of: (stored) => (stored >= first && stored <= last ? stored * slope + intercept : null), factor: null, mapping: { slope, intercept }, refused: "" };
  }
  return null;
}

/** @param {DataSet} ds of a PET image @returns {Quantity} */
function uptake(ds) {
  try {
    const { factor, name, code } = suvFactor(ds);
    return { unit: name, code, of: (_, modality) => modality * factor, factor, mapping: null, refused: "" };
  } catch (error) {
    if (!(error instanceof NoUptake)) throw error;
    return { unit: units(ds), code: null, of: (_, modality) => modality, factor: null, mapping: null, refused: error.message };
  }
}

/** Why there is no standardized uptake value, in English: a key of words.js. */
export class NoUptake extends Error {}

/** @param {DataSet} ds @returns {string} */
const units = (ds) => ({ BQML: "Bq/ml", GML: "g/ml" })[text(ds, Tag.Units)] ?? text(ds, Tag.Units);

/**
 * What an image's rescaled values are multiplied by to be standardized uptake values, as the pseudo-code of QIBA has it
 * (FDG-PET/CT Profile, "vendor-neutral pseudo-code for SUV calculation"). NoUptake says what is missing for it.
 * @param {DataSet} ds @returns {{factor: number, name: string, code: Code}}
 */
export function suvFactor(ds) {
  switch (text(ds, Tag.Units)) {
    case "GML": {
      const type = TYPES[text(ds, Tag.SUVType) || "BW"];
      if (!type) throw new NoUptake("SUV Type is not known");
      return { factor: 1, name: type[0], code: type[1] };
    }
    case "CNTS": {
      // Philips: a factor to SUV, or one to activity, whose rest is as for all others.
      const own = privateNumber(ds, "7053", "Philips PET Private Group", "00");
      if (own) return { factor: own, name: "SUVbw", code: SUV };
      const activity = privateNumber(ds, "7053", "Philips PET Private Group", "09");
      if (!activity) throw new NoUptake("counts, and no factor to activity");
      return { factor: activity * byWeight(ds), name: "SUVbw", code: SUV };
    }
    case "BQML":
      return { factor: byWeight(ds), name: "SUVbw", code: SUV };
    default:
      throw new NoUptake(text(ds, Tag.Units) ? "Units are not of activity" : "Units are missing");
  }
}

/** g / Bq, from Bq/ml to g/ml. @param {DataSet} ds */
function byWeight(ds) {
  const corrected = texts(ds, Tag.CorrectedImage);
  if (!corrected.includes("ATTN")) throw new NoUptake("not corrected for attenuation");
  // DECY is the standard's term (PS3.3 C.8.9.1.1.3); the pseudo-code, and some objects, have the word.
  if (!corrected.includes("DECY") && !corrected.includes("DECAY")) throw new NoUptake("not corrected for decay");
  const given = items(ds, Tag.RadiopharmaceuticalInformationSequence);
  const [dose, ...others] = given;
  if (!dose) throw new NoUptake("Radiopharmaceutical Information is missing");
  if (others.length > 0) throw new NoUptake("more than one radiopharmaceutical");
  const weight = positive(ds, Tag.PatientWeight, "Patient's Weight is missing");
  const total = positive(dose, Tag.RadionuclideTotalDose, "Radionuclide Total Dose is missing");
  const halfLife = positive(dose, Tag.RadionuclideHalfLife, "Radionuclide Half Life is missing");
  const correction = text(ds, Tag.DecayCorrection);
  if (correction !== "START" && correction !== "ADMIN") throw new NoUptake("Decay Correction is neither START nor ADMIN");
  const decayed = correction === "ADMIN" ? 0 : elapsed(ds, dose, halfLife);
  return (weight * 1000) / (total * 2 ** (-decayed / halfLife));
}

/** @param {DataSet} ds @param {string} tag @param {string} missing */
function positive(ds, tag, missing) {
  const found = number(ds, tag);
  if (!found || found <= 0) throw new NoUptake(missing);
  return found;
}

/** Seconds from the injection to the time that values are corrected to. @param {DataSet} ds @param {DataSet} dose @param {number} halfLife s */
function elapsed(ds, dose, halfLife) {
  const scan = scanStart(ds, halfLife);
  const whole = moment(text(dose, Tag.RadiopharmaceuticalStartDateTime));
  if (whole !== null) return checked(scan - whole);
  const clock = /^\d{4}/.test(text(dose, Tag.RadiopharmaceuticalStartTime)) ? moment(`19700101${text(dose, Tag.RadiopharmaceuticalStartTime)}`) : null;
  if (clock === null) throw new NoUptake("Radiopharmaceutical Start Time is missing");
  // A time without a day is of the day of the scan, or of the evening before.
  const day = 86_400;
  const since = (((scan - clock) % day) + day) % day;
  return checked(since);
}

/** @param {number} seconds */
function checked(seconds) {
  if (seconds < 0) throw new NoUptake("the radiopharmaceutical was given after the scan");
  return seconds;
}

/** When the scan began, to which START corrects. @param {DataSet} ds @param {number} halfLife s @returns {number} seconds */
function scanStart(ds, halfLife) {
  const series = moment(text(ds, Tag.SeriesDate) + text(ds, Tag.SeriesTime));
  const acquisition = moment(text(ds, Tag.AcquisitionDate) + text(ds, Tag.AcquisitionTime));
  if (acquisition === null || !text(ds, Tag.AcquisitionTime)) throw new NoUptake("Acquisition Date or Time is missing");
  if (series !== null && text(ds, Tag.SeriesTime) && series <= acquisition) return series;
  // The series was made later, of other images: GE keeps the scan's time; else it follows from the frame's.
  const ge = moment(privateText(ds, "0009", "GEMS_PETD_01", "0D"));
  if (ge !== null) return ge;
  const [reference, duration] = [number(ds, Tag.FrameReferenceTime) ?? 0, (number(ds, Tag.ActualFrameDuration) ?? 0) / 1000];
  if (reference <= 0 || duration <= 0) throw new NoUptake("the series is younger than its images, and their frame's time is missing");
  const rate = Math.LN2 / halfLife;
  const decay = rate * duration;
  const average = Math.log(decay / (1 - Math.exp(-decay))) / rate;
  return acquisition - reference / 1000 + average;
}

/** A DA and TM, or DT, in seconds of no time zone: all of an object are of one (PS3.3 C.12.1). @param {string} said @returns {number | null} */
function moment(said) {
  const found = /^(\d{4})\.?(\d\d)\.?(\d\d)(\d\d)?:?(\d\d)?:?(\d\d)?(\.\d{1,6})?([+-]\d{4})?$/.exec(said.trim());
  if (!found) return null;
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = found.slice(1, 7).map((part) => Number(part ?? 0));
  return Date.UTC(year, month - 1, day, hour, minute, second) / 1000 + Number(`0${found[7] ?? ""}`);
}

/** @param {DataSet} ds @param {string} group @param {string} creator @param {string} element @returns {string} of a private element (PS3.5 section 7.8.1) */
function privateText(ds, group, creator, element) {
  for (let block = 0x10; block <= 0xff; block += 1) {
    const place = block.toString(16).padStart(2, "0").toUpperCase();
    if (text(ds, `${group}00${place}`) !== creator) continue;
    const tag = `${group}${place}${element}`;
    const inline = ds[tag]?.InlineBinary;
    return inline ? atob(inline).replace(/[\0 ]+$/, "") : text(ds, tag);
  }
  return "";
}

/** @param {DataSet} ds @param {string} group @param {string} creator @param {string} element @returns {number} 0 where there is none */
function privateNumber(ds, group, creator, element) {
  const found = Number(privateText(ds, group, creator, element) || 0);
  return Number.isFinite(found) && found > 0 ? found : 0;
}
