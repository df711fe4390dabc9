// @ts-check
// What is to be done, from two services into one form: scheduled procedure steps of modalities (PS3.18 section 14) and
// steps of the worklist (section 11).

import { Tag, items, personName, text } from "../dataset.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {"scheduled" | "started" | "done" | "canceled"} Progress what a state comes to, for its colour */
/**
 * @typedef {object} Step
 * @property {"modality" | "work"} kind @property {string} day YYYYMMDD, or "" @property {string} time TM
 * @property {DataSet} ds for whom @property {string} what @property {string} modality @property {string} station
 * @property {string} accession @property {string} state as the service says it @property {Progress} progress
 * @property {string} study UID, or "" @property {string} words all that is searched, lower case
 */

/** Steps of each kind that are fetched. */
export const MOST = 500;

const Scheduled = { sequence: "00400100", station: "00400001", day: "00400002", time: "00400003", what: "00400007", state: "00400020", requested: "00321060" };
const Work = { start: "00404005", state: "00741000", label: "00741204", list: "00741202", request: "0040A370", stations: "00404025" };

/** @type {Record<string, Progress>} States of PS3.3 C.4.10 and PS3.4 CC.1.1 */
const PROGRESS = { "IN PROGRESS": "started", STARTED: "started", ARRIVED: "scheduled", READY: "scheduled", SCHEDULED: "scheduled", DEPARTED: "done", COMPLETED: "done", CANCELED: "canceled", DISCONTINUED: "canceled" };

/** @param {Omit<Step, "words" | "progress">} step @returns {Step} */
function step(step) {
  const { alphabetic, ideographic, phonetic } = personName(step.ds, Tag.PatientName);
  const words = [alphabetic, ideographic, phonetic].flatMap((name) => [name.replaceAll("^", " "), name.replaceAll("^", "")]);
  words.push(text(step.ds, Tag.PatientID), step.what, step.modality, step.station, step.accession, step.state);
  return { ...step, progress: PROGRESS[step.state] ?? "scheduled", words: words.join("\n").normalize("NFC").toLowerCase() };
}

/** @param {DataSet} ds @returns {Step[]} */
function modalitySteps(ds) {
  return items(ds, Scheduled.sequence).map((item) =>
    step({
      ...{ kind: "modality", day: text(item, Scheduled.day), time: text(item, Scheduled.time), ds },
      ...{ what: text(item, Scheduled.what) || text(ds, Scheduled.requested), modality: text(item, Tag.Modality), station: text(item, Scheduled.station) },
      ...{ accession: text(ds, Tag.AccessionNumber), state: text(item, Scheduled.state) || "SCHEDULED", study: text(ds, Tag.StudyInstanceUID) },
    }),
  );
}

/** @param {DataSet} ds @returns {Step} */
function workStep(ds) {
  const start = text(ds, Work.start);
  const [request = {}] = items(ds, Work.request);
  const station = items(ds, Work.stations).map((code) => text(code, "00080104") || text(code, "00080100")).join(", ");
  return step({
    ...{ kind: "work", day: start.slice(0, 8), time: start.slice(8, 14), ds, what: text(ds, Work.label), modality: "", station: station || text(ds, Work.list) },
    ...{ accession: text(request, Tag.AccessionNumber), state: text(ds, Work.state), study: text(ds, Tag.StudyInstanceUID) || text(request, Tag.StudyInstanceUID) },
  });
}

/**
 * Steps that begin on some days, in the order of time. Raises RequestError.
 * @param {import("../dicomweb.js").DicomWeb} client @param {string} days YYYYMMDD-YYYYMMDD, or "" for all
 * @param {AbortSignal} signal @returns {Promise<{steps: Step[], complete: boolean}>}
 */
export async function fetchSteps(client, days, signal) {
  const most = /** @type {const} */ (["limit", String(MOST)]);
  const [modality, work] = await Promise.all([
    client.json("/modality-scheduled-procedure-steps", [...(days ? [/** @type {const} */ (["ScheduledProcedureStepSequence.ScheduledProcedureStepStartDate", days])] : []), most], signal),
    client.json("/workitems", [...(days ? [/** @type {const} */ (["ScheduledProcedureStepStartDateTime", days])] : []), ["includefield", "all"], most], signal),
  ]);
  const steps = [...modality.flatMap(modalitySteps), ...work.map(workStep)];
  steps.sort((a, b) => (a.day + a.time < b.day + b.time ? -1 : 1));
  return { steps, complete: modality.length < MOST && work.length < MOST };
}
