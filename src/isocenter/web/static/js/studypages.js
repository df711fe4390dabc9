// @ts-check
// Studies of a search by their place in its order: fetched a page at a time where they are looked at, and forgotten far
// from there, so that a hundred thousand cost no more than what is on the screen. Studies that come and go meanwhile
// move all others: each page is asked for with the last study of the one before it, and where that is another than
// known, pages do not fit together any more, and a study between them would be shown twice or never.

import { Tag, text } from "./dataset.js";
import { isAbort } from "./dicomweb.js";

/** @typedef {import("./dataset.js").DataSet} DataSet */
/** @typedef {readonly [string, string]} Term */

export const PAGE = 100;
/** Pages that are kept. */
const KEPT = 12;
/** Requests at a time: who drags the bar through the list passes many places and stays at one. */
const AT_ONCE = 2;

export class StudyPages {
  /** What is there of each page, and the study before it. @type {Map<number, {studies: DataSet[], before: string}>} */
  #pages = new Map();
  /** @type {Set<number>} */
  #coming = new Set();
  /** Wanted, the first one first. @type {number[]} */
  #wanted = [];
  #stopped = new AbortController();
  total = 0;

  /**
   * @param {import("./dicomweb.js").DicomWeb} client @param {Term[]} terms the search, and its order
   * @param {{come: (first: number, count: number) => void, moved: () => void, failed: (error: unknown) => void}} told
   */
  constructor(client, terms, told) {
    this.client = client;
    this.terms = terms;
    this.told = told;
  }

  /** How many studies there are, and those from one place to another (exclusive); at least one page. Raises RequestError. @param {number} from @param {number} to */
  async begin(from, to) {
    const last = Math.floor(Math.max(from, to - 1) / PAGE);
    for (let page = Math.floor(from / PAGE); page <= last; page++) await this.#fetch(page);
    // Fewer than there were: what was looked at is gone.
    if (this.total > 0 && this.total <= from) await this.#fetch(Math.floor((this.total - 1) / PAGE));
  }

  /** No request is wanted any more. */
  stop() {
    this.#stopped.abort();
  }

  /** @param {number} index @returns {DataSet | undefined} undefined as long as it is not there */
  at(index) {
    return this.#pages.get(Math.floor(index / PAGE))?.studies[index % PAGE];
  }

  /** @param {string} study UID @returns {number} its place; -1 where it is not among those that are there */
  find(study) {
    for (const [page, { studies }] of this.#pages) {
      const at = studies.findIndex((one) => text(one, Tag.StudyInstanceUID) === study);
      if (at >= 0) return page * PAGE + at;
    }
    return -1;
  }

  /** The same search asked anew, where the screen is; undefined where that fails: whoever asks next is told why. @param {{from: number, to: number}} seen */
  async anew({ from, to }) {
    const nothing = () => undefined;
    const fresh = new StudyPages(this.client, this.terms, { come: nothing, moved: nothing, failed: nothing });
    return fresh.begin(from, to).then(() => fresh, nothing);
  }

  /**
   * Of the same search asked anew: takes over what studies say now, if they are the same ones in the same places.
   * @param {StudyPages} fresh @returns {number[] | null} the places where something is another; null where the list is
   */
  adopt(fresh) {
    if (fresh.total !== this.total) return null;
    /** @type {number[]} */
    const other = [];
    for (const [page, { studies }] of fresh.#pages) {
      const known = this.#pages.get(page);
      if (!known) continue;
      if (known.studies.length !== studies.length) return null;
      for (const [i, study] of studies.entries()) {
        const before = known.studies[i];
        if (text(before, Tag.StudyInstanceUID) !== text(study, Tag.StudyInstanceUID)) return null;
        if (JSON.stringify(before) !== JSON.stringify(study)) other.push(page * PAGE + i);
      }
    }
    for (const [page, one] of fresh.#pages) if (this.#pages.has(page)) this.#pages.set(page, one);
    return other;
  }

  /** What is on the screen, from one place to another (exclusive): asked for if need be. @param {number} from @param {number} to */
  look(from, to) {
    const [first, last] = [Math.floor(from / PAGE), Math.floor(Math.max(from, Math.min(to, this.total) - 1) / PAGE)];
    this.#wanted = [];
    for (let page = first; page <= last; page++) if (!this.#pages.has(page)) this.#wanted.push(page);
    const middle = (first + last) / 2;
    const far = [...this.#pages.keys()].sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle)).slice(KEPT);
    for (const page of far) this.#pages.delete(page);
    this.#next();
  }

  #next() {
    while (this.#coming.size < AT_ONCE && !this.#stopped.signal.aborted) {
      const page = this.#wanted.find((one) => !this.#coming.has(one));
      if (page === undefined) return;
      this.#coming.add(page);
      this.#fetch(page)
        .then(
          () => this.told.come(page * PAGE, PAGE),
          (error) => {
            // Asked for again when somebody looks there again.
            this.#wanted = this.#wanted.filter((one) => one !== page);
            if (!isAbort(error)) this.told.failed(error);
          },
        )
        .finally(() => {
          this.#coming.delete(page);
          this.#wanted = this.#wanted.filter((one) => !this.#pages.has(one));
          this.#next();
        });
    }
  }

  /** @param {number} page */
  async #fetch(page) {
    const before = page > 0 ? 1 : 0;
    const query = new URLSearchParams([...this.terms.map(([name, value]) => [name, value]), ["limit", String(PAGE + before)], ["offset", String(page * PAGE - before)]]);
    // The first page of the usual list is on its way already: web/pages.py names it, letter by letter and without header.
    const response = await this.client.ask(`${this.client.root}/studies?${query}`, { signal: this.#stopped.signal });
    /** @type {DataSet[]} */
    const studies = await response.json();
    const [last] = studies.splice(0, before);
    this.#pages.set(page, { studies, before: text(last, Tag.StudyInstanceUID) });
    this.total = Number(response.headers.get("x-total-count")) || 0;
    if (!this.#fits(page) || !this.#fits(page + 1)) this.told.moved();
  }

  /** Whether a page follows the one before it, as far as both are there. @param {number} page */
  #fits(page) {
    const [one, other] = [this.#pages.get(page - 1), this.#pages.get(page)];
    return !one || !other || text(one.studies[PAGE - 1], Tag.StudyInstanceUID) === other.before;
  }
}

/**
 * How many of the studies of a search have each modality.
 * @param {import("./dicomweb.js").DicomWeb} client @param {Term[]} terms @param {AbortSignal} signal
 * @returns {Promise<Record<string, number>>}
 */
export async function tally(client, terms, signal) {
  const query = new URLSearchParams(terms.map(([name, value]) => [name, value]));
  return (await (await client.ask(`${client.root}/tally?${query}`, { signal })).json()).modalities;
}
