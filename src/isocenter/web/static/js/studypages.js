// @ts-check
// Studies of a search by their place in its order: fetched a page at a time where they are looked at, and forgotten far
// from there, so that a hundred thousand cost no more than what is on the screen.

import { isAbort } from "./dicomweb.js";

/** @typedef {import("./dataset.js").DataSet} DataSet */
/** @typedef {readonly [string, string]} Term */

export const PAGE = 100;
/** Pages that are kept. */
const KEPT = 12;
/** Requests at a time: who drags the bar through the list passes many places and stays at one. */
const AT_ONCE = 2;

export class StudyPages {
  /** Studies of each page that is there. @type {Map<number, DataSet[]>} */
  #pages = new Map();
  /** @type {Set<number>} */
  #coming = new Set();
  /** Wanted, the first one first. @type {number[]} */
  #wanted = [];
  #stopped = new AbortController();
  total = 0;

  /**
   * @param {import("./dicomweb.js").DicomWeb} client @param {Term[]} terms the search, and its order
   * @param {{come: (first: number, count: number) => void, failed: (error: unknown) => void}} told
   */
  constructor(client, terms, told) {
    this.client = client;
    this.terms = terms;
    this.told = told;
  }

  /** The first page, and how many studies there are. Raises RequestError. */
  async begin() {
    await this.#fetch(0);
  }

  /** No request is wanted any more. */
  stop() {
    this.#stopped.abort();
  }

  /** @param {number} index @returns {DataSet | undefined} undefined as long as it is not there */
  at(index) {
    return this.#pages.get(Math.floor(index / PAGE))?.[index % PAGE];
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
    const query = new URLSearchParams([...this.terms.map(([name, value]) => [name, value]), ["limit", String(PAGE)], ["offset", String(page * PAGE)]]);
    const response = await this.client.ask(`${this.client.root}/studies?${query}`, { headers: { Accept: "application/dicom+json" }, signal: this.#stopped.signal });
    this.#pages.set(page, await response.json());
    this.total = Number(response.headers.get("x-total-count")) || 0;
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
