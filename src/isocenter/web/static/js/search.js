// @ts-check
// One box, many attributes: what is typed becomes QIDO-RS queries (PS3.18 section 8.3.4). QIDO can only say "and", the
// box means "or", so the driving word is asked of several attributes at once and the answers are merged.

import { Tag, number, personName, text, texts } from "./dataset.js";

/** @typedef {import("./dataset.js").DataSet} DataSet */
/** @typedef {readonly [string, string]} Term */
/** @typedef {{queries: Term[][], words: string[]}} Plan `words` are checked on the answers */
/** @typedef {{text: string, modality: string, from: string, to: string}} Criteria dates as YYYYMMDD or "" */

const MODALITIES = new Set(
  "AR ASMT AU BDUS BI BMD CR CT CTPROTOCOL DG DOC DX ECG EPS ES FID GM HC HD IO IOL IVOCT IVUS KER KO LEN LS MG MR M3D NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SC SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC".split(" "),
);

/** Prefix that asks one attribute only. @type {Record<string, string>} */
const PREFIXES = { id: "PatientID", name: "PatientName", acc: "AccessionNumber", desc: "StudyDescription", uid: "StudyInstanceUID" };

/** Asked for the driving word; names are matched without regard to case (PS3.4 C.2.2.2.4), the others as written. */
const NAME = "PatientName";
const AS_WRITTEN = ["PatientID", "AccessionNumber", "StudyDescription"];

/** @param {string} word @returns {string[]} the ways in which people write it: as typed, Capitalised, UPPER */
function writings(word) {
  const lower = word.toLowerCase();
  return [...new Set([word, lower.charAt(0).toUpperCase() + lower.slice(1), word.toUpperCase()])];
}

/** @param {string} word @returns {string} a wildcard pattern, unless the user made one */
function anywhere(word) {
  return /[*?]/.test(word) ? word : `*${word}*`;
}

/** @param {string} word @returns {string | null} DA value or range: a day, a month, a year */
export function dateRange(word) {
  const m = /^(\d{4})(?:[-.]?(\d{2}))?(?:[-.]?(\d{2}))?$/.exec(word);
  if (!m) return null;
  const [, year, month, day] = m;
  if (Number(year) < 1900 || Number(year) > 2100 || Number(month ?? 1) > 12 || Number(day ?? 1) > 31 || month === "00" || day === "00") return null;
  if (day) return `${year}${month}${day}`;
  return month ? `${year}${month}01-${year}${month}31` : `${year}0101-${year}1231`;
}

/** @param {string} input @returns {string[]} words; quotes keep spaces */
function split(input) {
  return [...input.normalize("NFC").matchAll(/(?:\w+:)?"([^"]*)"?|\S+/g)].map((m) => m[0].replaceAll('"', "")).filter(Boolean);
}

/** @param {Criteria} criteria @returns {Plan} */
export function planSearch(criteria) {
  /** @type {Term[]} */
  const fixed = [];
  /** @type {string[]} */
  const free = [];
  for (const word of split(criteria.text)) {
    const prefix = /^([a-z]+):(.+)$/i.exec(word);
    const attribute = prefix && PREFIXES[/** @type {string} */ (prefix[1]).toLowerCase()];
    if (attribute && attribute !== "StudyInstanceUID") fixed.push([attribute, anywhere(/** @type {string} */ (prefix[2]))]);
    else if (attribute) fixed.push([attribute, /** @type {string} */ (prefix[2])]);
    else if (MODALITIES.has(word.toUpperCase())) fixed.push(["ModalitiesInStudy", word.toUpperCase()]);
    else if (/^\d{4}-\d{2}(-\d{2})?$/.test(word) && dateRange(word)) fixed.push(["StudyDate", /** @type {string} */ (dateRange(word))]);
    else free.push(word);
  }
  if (criteria.modality) fixed.push(["ModalitiesInStudy", criteria.modality]);
  if (criteria.from || criteria.to) fixed.push(["StudyDate", `${criteria.from}-${criteria.to}`]);
  const [driver, ...words] = free.sort((a, b) => b.length - a.length);
  if (!driver) return { queries: [fixed], words: [] };
  /** @type {Term[]} */
  const terms = [[NAME, anywhere(driver)]];
  for (const name of AS_WRITTEN) for (const word of writings(driver)) terms.push([name, anywhere(word)]);
  const queries = terms.map((term) => [...fixed, term]);
  const day = dateRange(driver);
  if (day && !fixed.some(([name]) => name === "StudyDate")) queries.push([...fixed, ["StudyDate", day]]);
  return { queries, words: words.map((word) => word.toLowerCase()) };
}

/** @param {DataSet} study @param {string[]} words lower case @returns {boolean} whether each is in some searched attribute */
export function hasWords(study, words) {
  if (words.length === 0) return true;
  const name = personName(study, Tag.PatientName);
  const all = [name.alphabetic, name.ideographic, name.phonetic, text(study, Tag.PatientID), text(study, Tag.AccessionNumber), text(study, Tag.StudyDescription), text(study, Tag.StudyDate)]
    .join(" ")
    .toLowerCase();
  return words.every((word) => all.includes(word.replaceAll("*", "")));
}

/** @typedef {"name" | "id" | "date" | "modality" | "description" | "accession" | "series" | "images"} Column */

/** @type {Record<Column, (study: DataSet) => string | number>} */
const SORT_VALUES = {
  name: (ds) => personName(ds, Tag.PatientName).alphabetic.toLowerCase(),
  id: (ds) => text(ds, Tag.PatientID).toLowerCase(),
  date: (ds) => text(ds, Tag.StudyDate).replaceAll(".", "") + text(ds, Tag.StudyTime).replaceAll(":", ""),
  modality: (ds) => texts(ds, Tag.ModalitiesInStudy).join(),
  description: (ds) => text(ds, Tag.StudyDescription).toLowerCase(),
  accession: (ds) => text(ds, Tag.AccessionNumber).toLowerCase(),
  series: (ds) => number(ds, Tag.NumberOfStudyRelatedSeries) ?? 0,
  images: (ds) => number(ds, Tag.NumberOfStudyRelatedInstances) ?? 0,
};

const COLLATOR = new Intl.Collator(undefined, { numeric: true });

/** @param {DataSet[]} studies @param {Column} column @param {boolean} descending @returns {DataSet[]} empty values last */
export function sortStudies(studies, column, descending) {
  const value = SORT_VALUES[column];
  // Dates and times sort as they are written; a time of four digits must not count as a smaller number.
  const compare = column === "date" ? (/** @type {string} */ a, /** @type {string} */ b) => (a < b ? -1 : Number(a > b)) : COLLATOR.compare;
  const keyed = studies.map((study) => ({ study, key: value(study) }));
  keyed.sort((a, b) => {
    if (a.key === "" || b.key === "") return Number(a.key === "") - Number(b.key === "");
    const order = typeof a.key === "number" ? a.key - Number(b.key) : compare(a.key, String(b.key));
    return descending ? -order : order;
  });
  return keyed.map(({ study }) => study);
}

const PAGE = 200;

/**
 * Runs a plan page by page.
 * @param {import("./dicomweb.js").DicomWeb} client @param {Plan} plan @param {number} most studies fetched at most
 * @param {(studies: DataSet[]) => void} onpage everything found so far @param {AbortSignal} signal
 * @returns {Promise<{studies: DataSet[], complete: boolean}>}
 */
export async function runSearch(client, plan, most, onpage, signal) {
  /** @type {Map<string, DataSet>} */
  const found = new Map();
  let pending = plan.queries.map((terms) => ({ terms, offset: 0 }));
  while (pending.length > 0 && found.size < most) {
    const pages = await Promise.all(
      pending.map(({ terms, offset }) =>
        client.searchStudies([...terms, ["includefield", "StudyDescription"], ["limit", String(PAGE)], ["offset", String(offset)]], signal),
      ),
    );
    for (const study of pages.flat()) if (hasWords(study, plan.words)) found.set(text(study, Tag.StudyInstanceUID), study);
    pending = pending.filter((_, i) => (pages[i]?.length ?? 0) >= PAGE).map(({ terms, offset }) => ({ terms, offset: offset + PAGE }));
    onpage([...found.values()]);
  }
  return { studies: [...found.values()], complete: pending.length === 0 };
}
