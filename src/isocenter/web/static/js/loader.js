// @ts-check
// Frames: asked for by the viewport at once, fetched ahead from the shown slice outwards, kept up to a number of bytes.

import { isAbort } from "./dicomweb.js";
import { unpack } from "./pixels.js";
import { PlaneStore } from "./planes.js";
import { TableStore } from "./tables.js";

/** @typedef {import("./pixels.js").Frame} Frame */
/** @typedef {import("./image.js").Image} Image */
/** One place in a stack. @typedef {{image: Image, frame: number}} Entry */

const MEGABYTE = 1024 * 1024;

/** @param {Entry} entry */
const keyOf = ({ image, frame }) => `${image.path.instance}/${frame}/${image.state?.instance ?? ""}`;

export class FrameLoader {
  /** @type {Map<string, Frame>} least recently used first */
  #cache = new Map();
  #bytes = 0;
  /** @type {Map<string, Promise<Frame>>} */
  #running = new Map();
  /** @type {Entry[]} next first */
  #queue = [];
  #prefetching = 0;
  /** @type {Set<string>} frames that failed: not fetched ahead again */
  #failed = new Set();
  /** Frames whose tables and covers are here. @type {WeakMap<Image, Set<number>>} */
  #ready = new WeakMap();
  /** What the server said of the samples of instances whose header says otherwise. @type {Map<string, string>} */
  #said = new Map();
  /** @type {(() => void) | null} called when a frame has arrived by prefetch */
  onprogress = null;

  /**
   * @param {import("./dicomweb.js").DicomWeb} client
   * @param {{maxBytes?: number, concurrency?: number}} [options] concurrency leaves connections free for the shown frame
   */
  constructor(client, { maxBytes = 384 * MEGABYTE, concurrency = 4 } = {}) {
    this.client = client;
    this.tables = new TableStore((uri) => client.bulk(uri));
    this.planes = new PlaneStore((uri) => client.bulk(uri));
    this.maxBytes = maxBytes;
    this.concurrency = concurrency;
  }

  /**
   * Whether tables and covers of a frame are here: those of an image whose metadata were read once more are not.
   * @param {Entry} entry
   */
  #isReady({ image, frame }) {
    return image.kind === "rendered" || (this.#ready.get(image)?.has(frame) ?? false);
  }

  /** @param {Entry} entry @returns {Frame | undefined} the frame, if it is here already, with all that it takes to paint it */
  peek(entry) {
    const key = keyOf(entry);
    const frame = this.#cache.get(key);
    if (frame && !this.#isReady(entry)) return undefined;
    if (frame) {
      this.#cache.delete(key);
      this.#cache.set(key, frame);
    }
    return frame;
  }

  /** @param {Entry} entry */
  has(entry) {
    return this.#cache.has(keyOf(entry));
  }

  /**
   * @param {Entry} entry
   * @param {AbortSignal} [signal] gives up the request, if it is this one that made it
   * @returns {Promise<Frame>}
   */
  get(entry, signal) {
    const here = this.peek(entry);
    if (here) return Promise.resolve(here);
    const key = keyOf(entry);
    const running = this.#running.get(key);
    if (running) return running;
    const promise = this.#again(entry, key, signal)
      .then((frame) => {
        this.#keep(key, frame);
        return frame;
      })
      .finally(() => this.#running.delete(key));
    this.#running.set(key, promise);
    return promise;
  }

  /** @param {Entry} entry @param {string} key @param {AbortSignal} [signal] @returns {Promise<Frame>} */
  async #again(entry, key, signal) {
    const frame = this.#cache.get(key);
    if (!frame) return this.#fetch(entry, signal);
    entry.image.readAs(this.#said.get(entry.image.path.instance) ?? "");
    await this.#prepare(entry);
    this.#forget(key);
    return frame;
  }

  /** @param {Entry} entry */
  async #prepare({ image, frame }) {
    await Promise.all([this.tables.prepare(image, frame), this.planes.prepare(image, frame)]);
    const ready = this.#ready.get(image) ?? new Set();
    this.#ready.set(image, ready.add(frame));
  }

  /** @param {Entry} entry @param {AbortSignal} [signal] @returns {Promise<Frame>} */
  async #fetch({ image, frame }, signal) {
    if (image.kind === "rendered") {
      const picture = image.state ? this.client.presented(image.path, frame, image.state, signal) : this.client.rendered(image.path, frame, signal);
      const bitmap = await createImageBitmap(await picture);
      return { kind: "bitmap", bitmap, bytes: bitmap.width * bitmap.height * 4 };
    }
    const [part] = await Promise.all([this.client.frame(image.path, frame, signal), this.#prepare({ image, frame })]);
    if (image.readAs(part.contentType)) {
      this.#said.set(image.path.instance, part.contentType);
      if (/** @type {string} */ (image.kind) === "rendered") return this.#fetch({ image, frame }, signal);
      this.tables.forget(image, frame);
      await this.tables.prepare(image, frame);
    }
    return unpack(part.body, image);
  }

  /** @param {string} key @param {Frame} frame */
  #keep(key, frame) {
    this.#cache.set(key, frame);
    this.#bytes += frame.bytes;
    for (const old of this.#cache.keys()) {
      if (this.#bytes <= this.maxBytes || old === key) break;
      // Bitmaps are not closed here: one may still be on screen; the collector knows.
      this.#forget(old);
    }
  }

  /** @param {string} key */
  #forget(key) {
    this.#bytes -= this.#cache.get(key)?.bytes ?? 0;
    this.#cache.delete(key);
  }

  /**
   * Replaces the plan: `entries` in the order in which they are wanted. Only as many as fit the cache are fetched, or
   * fetching ahead would push out what was fetched before it.
   * @param {Entry[]} entries
   */
  plan(entries) {
    this.#queue = entries;
    this.#pump();
  }

  #pump() {
    while (this.#prefetching < this.concurrency && this.#queue.length > 0) {
      const entry = /** @type {Entry} */ (this.#queue.shift());
      const key = keyOf(entry);
      if (this.#cache.has(key) || this.#running.has(key) || this.#failed.has(key)) continue;
      this.#prefetching += 1;
      this.get(entry)
        .then(() => this.onprogress?.())
        .catch((error) => {
          // The viewport asks again when the slice is shown, and then the error is on the screen.
          if (!isAbort(error)) this.#failed.add(key);
        })
        .finally(() => {
          this.#prefetching -= 1;
          this.#pump();
        });
    }
  }
}

/**
 * Order of prefetch: outwards from `index`, two ahead for one behind, at most `budget` bytes.
 * @param {Entry[]} entries @param {number} index @param {1 | -1} direction of the last move @param {number} budget
 * @returns {Entry[]}
 */
export function outwards(entries, index, direction, budget) {
  /** @type {Entry[]} */
  const order = [];
  let left = budget;
  let ahead = 1;
  let behind = 1;
  const at = (/** @type {number} */ step) => entries[index + step * direction];
  while (left > 0 && (at(ahead) || at(-behind))) {
    for (const entry of [at(ahead), at(ahead + 1), at(-behind)]) {
      if (!entry) continue;
      const { image } = entry;
      left -= image.rows * image.columns * (image.kind === "grey" || image.kind === "palette" ? image.bitsAllocated / 8 : 4);
      if (left > 0) order.push(entry);
    }
    ahead += 2;
    behind += 1;
  }
  return order;
}
