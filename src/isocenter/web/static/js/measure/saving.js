// @ts-check
// Marks into the archive, and those that lie there back onto their frames.

import { Tag, text } from "../dataset.js";
import { t } from "../words.js";
import { REPORT_CLASS, makeReport, readReport, writtenAt } from "./report.js";
import { STATE_CLASSES, madeAt, makeState, newUid, placed, readState } from "./state.js";

/** @typedef {import("../dicomweb.js").DicomWeb} DicomWeb */
/** @typedef {import("../viewport.js").Viewport} Viewport */
/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("./book.js").Book} Book */

/** Series of presentation states, and of reports, that are looked at when a study is opened. */
const MOST_SERIES = 20;
const SERIES_NUMBER = 9100;
const REPORT_NUMBER = 9200;

/**
 * Saves what is drawn on the frames of a viewport's stack. Returns how many marks that were; raises RequestError, or
 * Error for what cannot be saved.
 * @param {DicomWeb} client @param {Book} book @param {Viewport} viewport
 */
export async function saveMarks(client, book, viewport) {
  const { stack } = viewport;
  const entries = stack?.entries.filter((entry) => book.shapes(entry).length > 0 || book.wasSaved(entry)) ?? [];
  if (!stack || entries.length === 0) throw new Error(t("Nothing is drawn on these images."));
  const valuesOf = await readValues(viewport, book, entries);
  const greys = viewport.greys;
  const voi = viewport.chosen && greys?.transform.voi.kind === "window" ? greys.transform.voi : null;
  const state = makeState(
    entries.map((entry) => ({ entry, shapes: book.shapes(entry) })),
    { window: voi, inverse: greys?.transform.inverse ?? false },
    valuesOf,
    { series: newUid(), number: SERIES_NUMBER },
  );
  await client.storeData([state]);
  for (const entry of entries) book.markSaved(entry);
  return new Set(entries.flatMap((entry) => book.shapes(entry))).size;
}

/**
 * Writes what is measured on the frames of a viewport's stack as a report. Returns how many marks that were; raises as
 * `saveMarks` does.
 * @param {DicomWeb} client @param {Book} book @param {Viewport} viewport
 */
export async function saveReport(client, book, viewport) {
  const entries = viewport.stack?.entries.filter((entry) => book.shapes(entry).length > 0) ?? [];
  if (entries.length === 0) throw new Error(t("Nothing is drawn on these images."));
  const valuesOf = await readValues(viewport, book, entries);
  const marked = entries.map((entry) => ({ entry, shapes: book.shapes(entry) }));
  await client.storeData([makeReport(marked, valuesOf, { series: newUid(), number: REPORT_NUMBER })]);
  return new Set(marked.flatMap(({ shapes }) => shapes)).size;
}

/** What the frames say at their pixels where something is on one alone, fetched where they are not here. @param {Viewport} viewport @param {Book} book @param {import("../loader.js").Entry[]} marked */
async function readValues(viewport, book, marked) {
  const alone = placed(marked.map((entry) => ({ entry, shapes: book.shapes(entry) }))).flatMap(([, on]) => (on.length === 1 ? on : []));
  const entries = [...new Set(alone)];
  const frames = await Promise.all(entries.map((entry) => viewport.loader.get(entry)));
  return (/** @type {import("../loader.js").Entry} */ entry) => viewport.valuesOf(entry, /** @type {import("../pixels.js").Frame} */ (frames[entries.indexOf(entry)]));
}

/**
 * Puts the marks of a study's presentation states and measurement reports onto their frames; of several for a frame, the
 * newest counts.
 * @param {DicomWeb} client @param {Book} book @param {string} study @param {DataSet[]} series of the study
 */
export async function loadMarks(client, book, study, series) {
  const load = async (/** @type {string} */ modality) => {
    const uids = series.filter((ds) => text(ds, Tag.Modality) === modality).map((ds) => text(ds, Tag.SeriesInstanceUID));
    return (await Promise.all(uids.slice(-MOST_SERIES).map((uid) => client.seriesMetadata(study, uid)))).flat();
  };
  const [states, reports] = await Promise.all([load("PR"), load("SR")]);
  const found = [
    ...states.filter((ds) => STATE_CLASSES.has(text(ds, Tag.SOPClassUID))).map((ds) => ({ at: madeAt(ds), marked: readState(ds) })),
    ...reports.filter((ds) => text(ds, Tag.SOPClassUID) === REPORT_CLASS).map((ds) => ({ at: writtenAt(ds), marked: readReport(ds) })),
  ];
  found.sort((a, b) => (a.at < b.at ? -1 : 1));
  for (const { marked } of found) for (const { instance, frame, shapes } of marked) book.restore(instance, frame, shapes);
}
