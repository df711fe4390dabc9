// @ts-check
// Files, folders and ZIP files into the archive by STOW-RS, a few megabytes a request so that progress is real and memory
// bounded: files are opened when their turn comes.

import { items, number } from "./dataset.js";
import { RequestError, isAbort } from "./dicomweb.js";
import { t } from "./words.js";
import { NotAZip, isZip, zipSources } from "./unzip.js";

/** @typedef {import("./unzip.js").Source} Source */

const BATCH_BYTES = 32 * 1024 * 1024;
const BATCH_FILES = 50;
const FAILED = "00081198";
const STORED = "00081199";
const FAILURE_REASON = "00081197";

/** Words for the Failure Reason values that happen (PS3.4 B.2.3, PS3.18 I.2.2). @type {Record<number, string>} */
const REASONS = {
  0xa700: "the archive is out of space",
  0xa900: "the object is not what it says it is",
  0xc000: "not a readable DICOM object",
  0xc001: "a UID is missing or malformed",
  0x0110: "the server could not process it",
  0x0111: "stored before with other content",
  0x0122: "SOP class not supported",
  0xc122: "transfer syntax not supported",
};

/**
 * @typedef {object} UploadState
 * @property {number} files @property {number} bytes all @property {number} sent bytes
 * @property {number} seen files before the one whose turn it is @property {string} name of that
 * @property {{sent: number, size: number}} part bytes of it
 * @property {number} stored @property {number} refused @property {number} known of those stored: already there
 * @property {Map<string, number>} reasons how many files each reason refused
 * @property {boolean} done
 * @property {string} error what ended the upload; "" if nothing
 */

/** @param {DataTransfer} transfer @returns {Promise<File[]>} dropped files, folders opened */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (entries.length === 0) return [...transfer.files];
  /** @type {File[]} */
  const files = [];
  /** @type {FileSystemEntry[]} */
  const open = [...entries];
  while (open.length > 0) {
    const entry = /** @type {FileSystemEntry} */ (open.pop());
    if (entry.name.startsWith(".")) continue;
    if (entry.isFile) files.push(await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject)));
    else open.push(...(await folder(/** @type {FileSystemDirectoryEntry} */ (entry))));
  }
  return files;
}

/** @param {FileSystemDirectoryEntry} directory @returns {Promise<FileSystemEntry[]>} */
async function folder(directory) {
  const reader = directory.createReader();
  /** @type {FileSystemEntry[]} */
  const all = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return all;
    all.push(...some);
  }
}

/** What ZIP files hold in their place, and nothing for the lists that media have. @param {File[]} files @param {(reason: string) => void} refuse @returns {Promise<Source[]>} */
async function sources(files, refuse) {
  /** @type {Source[]} */
  const found = [];
  for (const file of files) {
    try {
      if (!(await isZip(file))) found.push({ name: file.name, size: file.size, open: async () => file });
      else for (const one of await zipSources(file)) found.push(one);
    } catch (error) {
      refuse(error instanceof NotAZip ? t(error.message) : t("cannot be read"));
    }
  }
  return found.filter(({ name }) => !/(^|\/)(\.|__MACOSX\/|DICOMDIR$)/i.test(name));
}

/** @param {Source[]} files @returns {Source[][]} */
function batches(files) {
  /** @type {Source[][]} */
  const result = [];
  let bytes = Infinity;
  for (const file of files) {
    const last = result.at(-1);
    if (!last || bytes + file.size > BATCH_BYTES || last.length >= BATCH_FILES) {
      result.push([file]);
      bytes = file.size;
    } else {
      last.push(file);
      bytes += file.size;
    }
  }
  return result;
}

/** @param {Source[]} batch @param {(reason: string) => void} refuse @returns {Promise<File[]>} what could be opened */
async function contents(batch, refuse) {
  /** @type {File[]} */
  const found = [];
  for (const { name, open } of batch) {
    try {
      found.push(new File([await open()], name));
    } catch (error) {
      refuse(error instanceof NotAZip ? t(error.message) : t("cannot be read"));
    }
  }
  return found;
}

/**
 * @param {import("./dicomweb.js").DicomWeb} client @param {File[]} files
 * @param {(state: UploadState) => void} onstate @param {AbortSignal} signal @returns {Promise<UploadState>}
 */
export async function upload(client, files, onstate, signal) {
  /** @type {UploadState} */
  const state = { files: files.length, bytes: files.reduce((n, f) => n + f.size, 0), sent: 0, seen: 0, name: "", part: { sent: 0, size: 0 }, stored: 0, known: 0, refused: 0, reasons: new Map(), done: false, error: "" };
  const refuse = (/** @type {string} */ reason, /** @type {number} */ n) => {
    if (n <= 0) return;
    state.refused += n;
    state.reasons.set(reason, (state.reasons.get(reason) ?? 0) + n);
  };
  onstate(state);
  const all = await sources(files, (reason) => refuse(reason, 1));
  Object.assign(state, { files: all.length, bytes: all.reduce((n, f) => n + f.size, 0) });
  for (const batch of batches(all)) {
    const size = batch.reduce((n, f) => n + f.size, 0);
    const [before, seen] = [state.sent, state.seen];
    state.name = batch[0]?.name ?? "";
    /** @type {File[]} */
    let blobs = [];
    try {
      signal.throwIfAborted();
      blobs = await contents(batch, (reason) => refuse(reason, 1));
      const shown = (/** @type {number} */ at, /** @type {number} */ bytes) => {
        const file = /** @type {File} */ (blobs[at]);
        const sent = before + blobs.slice(0, at).reduce((n, one) => n + one.size, bytes);
        onstate(Object.assign(state, { sent: Math.min(before + size, sent), seen: seen + at, name: file.name, part: { sent: bytes, size: file.size } }));
      };
      /** @type {{answer: import("./dataset.js").DataSet, already: number}} */
      const { answer, already } = blobs.length === 0 ? { answer: {}, already: 0 } : await client.store(blobs, shown, signal);
      const stored = items(answer, STORED).length;
      const failed = items(answer, FAILED);
      state.stored += stored;
      state.known += already;
      for (const item of failed) {
        const code = number(item, FAILURE_REASON) ?? 0;
        refuse(REASONS[code] ? t(REASONS[code]) : t("refused ({0})", `${code.toString(16).toUpperCase().padStart(4, "0")}H`), 1);
      }
      refuse(t("not a DICOM file"), blobs.length - stored - failed.length);
    } catch (error) {
      // A request the server answered with a refusal costs its files only; without an answer there is no point in going on.
      if (error instanceof RequestError && error.status >= 400 && error.status < 500) refuse(error.message, blobs.length);
      else {
        state.error = isAbort(error) ? t("Upload cancelled.") : error instanceof Error ? error.message : String(error);
        break;
      }
    }
    state.sent = before + size;
    state.seen = seen + batch.length;
    onstate(state);
  }
  state.done = true;
  onstate(state);
  return state;
}
