// @ts-check
// Marks into the archive, and those that lie there back onto their frames.

import { Tag, text } from "../dataset.js";
import { STATE_CLASS, madeAt, makeState, newUid, readState } from "./state.js";

/** @typedef {import("../dicomweb.js").DicomWeb} DicomWeb */
/** @typedef {import("../viewport.js").Viewport} Viewport */
/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("./book.js").Book} Book */

/** Series of presentation states that are looked at when a study is opened. */
const MOST_SERIES = 20;
const SERIES_NUMBER = 9100;

/**
 * Saves what is drawn on the frames of a viewport's stack. Returns how many marks that were; raises RequestError, or
 * Error for what cannot be saved.
 * @param {DicomWeb} client @param {Book} book @param {Viewport} viewport
 */
export async function saveMarks(client, book, viewport) {
  const { stack } = viewport;
  const entries = stack?.entries.filter((entry) => book.shapes(entry).length > 0 || book.wasSaved(entry)) ?? [];
  if (!stack || entries.length === 0) throw new Error("Nothing is drawn on these images.");
  if (entries.some(({ image }) => !image.photometric.startsWith("MONOCHROME"))) throw new Error("Marks on colour images cannot be saved yet.");
  const frames = await Promise.all(entries.map((entry) => viewport.loader.get(entry)));
  const greys = viewport.greys;
  const voi = viewport.chosen && greys?.transform.voi.kind === "window" ? greys.transform.voi : null;
  const state = makeState(
    entries.map((entry) => ({ entry, shapes: book.shapes(entry) })),
    { window: voi, inverse: greys?.transform.inverse ?? false },
    (entry) => viewport.valuesOf(entry, /** @type {import("../pixels.js").Frame} */ (frames[entries.indexOf(entry)])),
    { series: newUid(), number: SERIES_NUMBER },
  );
  await client.storeData([state]);
  for (const entry of entries) book.markSaved(entry);
  return entries.reduce((sum, entry) => sum + book.shapes(entry).length, 0);
}

/**
 * Puts the marks of a study's presentation states onto their frames; of several for a frame, the newest counts.
 * @param {DicomWeb} client @param {Book} book @param {string} study @param {DataSet[]} series of the study
 */
export async function loadMarks(client, book, study, series) {
  const uids = series.filter((ds) => text(ds, Tag.Modality) === "PR").map((ds) => text(ds, Tag.SeriesInstanceUID));
  const found = await Promise.all(uids.slice(-MOST_SERIES).map((uid) => client.seriesMetadata(study, uid)));
  const states = found.flat().filter((ds) => text(ds, Tag.SOPClassUID) === STATE_CLASS);
  states.sort((a, b) => (madeAt(a) < madeAt(b) ? -1 : 1));
  for (const state of states) for (const { instance, frame, shapes } of readState(state)) book.restore(instance, frame, shapes);
}
