// @ts-check
// One box, many attributes: what is typed becomes one search. What has a meaning of its own (a modality, a prefix) is a
// QIDO-RS parameter (PS3.18 section 8.3.4); the other words are looked for in all that the list shows, by the server.

/** @typedef {readonly [string, string]} Term */
/** @typedef {{text: string, modality: string, from: string, to: string, sort?: string}} Criteria dates as YYYYMMDD or ""; `sort` is a column, with - before it the other way */
/** @typedef {"name" | "id" | "date" | "modality" | "description" | "accession" | "series" | "images"} Column */

const MODALITIES = new Set(
  "AR ASMT AU BDUS BI BMD CR CT CTPROTOCOL DG DOC DX ECG EPS ES FID GM HC HD IO IOL IVOCT IVUS KER KO LEN LS MG MR M3D NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SC SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC".split(" "),
);

/** Prefix that asks one attribute only. @type {Record<string, string>} */
const PREFIXES = { id: "PatientID", name: "PatientName", acc: "AccessionNumber", desc: "StudyDescription", uid: "StudyInstanceUID" };

/** The columns of the list; some begin with the most. @type {{id: Column, label: string, descending?: boolean}[]} */
export const COLUMNS = [
  { id: "name", label: "Patient" },
  { id: "id", label: "Patient ID" },
  { id: "date", label: "Study date", descending: true },
  { id: "modality", label: "Modality" },
  { id: "description", label: "Description" },
  { id: "accession", label: "Accession" },
  { id: "series", label: "Series", descending: true },
  { id: "images", label: "Images", descending: true },
];

/** @type {Record<Column, string[]>} */
const SORTED_BY = {
  name: ["PatientName"],
  id: ["PatientID"],
  date: ["StudyDate", "StudyTime"],
  modality: ["ModalitiesInStudy"],
  description: ["StudyDescription"],
  accession: ["AccessionNumber"],
  series: ["NumberOfStudyRelatedSeries"],
  images: ["NumberOfStudyRelatedInstances"],
};

/** @param {string} word @returns {string} a wildcard pattern, unless the user made one */
function anywhere(word) {
  return /[*?]/.test(word) ? word : `*${word}*`;
}

/** @param {string} input @returns {string[]} words; quotes keep spaces */
function split(input) {
  return [...input.normalize("NFC").matchAll(/(?:\w+:)?"([^"]*)"?|\S+/g)].map((m) => m[0].replaceAll('"', "")).filter(Boolean);
}

/** @param {Criteria} criteria @returns {Term[]} */
export function searchTerms(criteria) {
  /** @type {Map<string, string>} a parameter may be given once: the last one counts */
  const terms = new Map();
  /** @type {string[]} */
  const words = [];
  for (const word of split(criteria.text)) {
    const prefix = /^([a-z]+):(.+)$/i.exec(word);
    const attribute = prefix && PREFIXES[/** @type {string} */ (prefix[1]).toLowerCase()];
    if (attribute) terms.set(attribute, attribute === "StudyInstanceUID" ? /** @type {string} */ (prefix[2]) : anywhere(/** @type {string} */ (prefix[2])));
    else if (MODALITIES.has(word.toUpperCase())) terms.set("ModalitiesInStudy", word.toUpperCase());
    else words.push(word);
  }
  if (words.length > 0) terms.set("words", words.join(" "));
  if (criteria.modality) terms.set("ModalitiesInStudy", criteria.modality);
  if (criteria.from || criteria.to) terms.set("StudyDate", `${criteria.from}-${criteria.to}`);
  return [...terms];
}

/** The newest study first. @type {{column: Column, descending: boolean}} */
const USUAL = { column: "date", descending: true };

/** The order as an address says it; "" for the usual one. @param {{column: Column, descending: boolean}} order @returns {string} */
export function sortWords({ column, descending }) {
  return column === USUAL.column && descending === USUAL.descending ? "" : `${descending ? "-" : ""}${column}`;
}

/** @param {string} words of an address @returns {{column: Column, descending: boolean}} */
export function readSort(words) {
  const descending = words.startsWith("-");
  const column = /** @type {Column[]} */ (Object.keys(SORTED_BY)).find((one) => one === words.slice(descending ? 1 : 0));
  return column ? { column, descending } : USUAL;
}

/** @param {Column} column @param {boolean} descending @returns {Term} */
export function sortTerm(column, descending) {
  return ["orderby", SORTED_BY[column].map((name) => (descending ? `-${name}` : name)).join()];
}
