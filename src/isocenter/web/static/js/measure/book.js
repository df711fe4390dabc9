// @ts-check
// All that was drawn, by frame, with the way back. Viewports that show the same frame show the same shapes.

/** @typedef {import("./shapes.js").Shape} Shape */
/** @typedef {import("../loader.js").Entry} Entry */
/** A frame's shapes before and after a change. @typedef {{frame: string, before: readonly Shape[], after: readonly Shape[]}} Change */

/** Changes that can be taken back. */
const KEPT = 200;

/** @param {Entry} entry */
const frameOf = (entry) => `${entry.image.path.instance}/${entry.frame}`;

export class Book extends EventTarget {
  /** @type {Map<string, readonly Shape[]>} */
  #frames = new Map();
  /** What the archive has for all frames of an image that nothing else is known of. @type {Map<string, readonly Shape[]>} */
  #images = new Map();
  /** @type {Change[]} */
  #done = [];
  /** @type {Change[]} */
  #undone = [];
  #last = 0;
  /** Frames of which a saved state tells. @type {Set<string>} */
  #saved = new Set();
  /** @type {number | null} the id of the shape that keys act on */
  selected = null;

  /** @returns {number} for a new shape */
  nextId() {
    this.#last += 1;
    return this.#last;
  }

  /** @param {Entry} entry @returns {readonly Shape[]} in the order of drawing */
  shapes(entry) {
    return this.#frames.get(frameOf(entry)) ?? this.#images.get(entry.image.path.instance) ?? [];
  }

  /** @param {Entry} entry @param {readonly Shape[]} after @param {readonly Shape[]} [before] as before a drag */
  change(entry, after, before = this.shapes(entry)) {
    const frame = frameOf(entry);
    this.#done.push({ frame, before, after });
    if (this.#done.length > KEPT) this.#done.shift();
    this.#undone = [];
    this.#put(frame, after);
  }

  /** Shows how it would be, while a shape is dragged; nothing to take back. @param {Entry} entry @param {readonly Shape[]} shapes */
  preview(entry, shapes) {
    this.#put(frameOf(entry), shapes);
  }

  /** @param {string} frame @param {readonly Shape[]} shapes */
  #put(frame, shapes) {
    this.#frames.set(frame, shapes); // also if there are none: those of the image are not on it any more
    if (!shapes.some(({ id }) => id === this.selected)) this.selected = null;
    this.dispatchEvent(new Event("change"));
  }

  /** @param {number | null} id */
  select(id) {
    if (id === this.selected) return;
    this.selected = id;
    this.dispatchEvent(new Event("change"));
  }

  /** Takes the selected shape away, or the last one. @param {Entry} entry */
  remove(entry) {
    const shapes = this.shapes(entry);
    const gone = shapes.find(({ id }) => id === this.selected) ?? shapes.at(-1);
    if (gone) this.change(entry, shapes.filter((shape) => shape !== gone));
  }

  /** What the archive has of a frame, or of all frames of an image (0); nothing to take back, and what was drawn meanwhile stays. @param {string} instance @param {number} frame @param {Omit<Shape, "id">[]} shapes */
  restore(instance, frame, shapes) {
    const drawn = (/** @type {string} */ key) => this.#done.some((change) => change.frame === key);
    const made = shapes.map((shape) => ({ ...shape, id: this.nextId() }));
    if (frame > 0) {
      const key = `${instance}/${frame}`;
      if (drawn(key)) return;
      this.#saved.add(key);
      this.#put(key, made);
      return;
    }
    for (const key of [...this.#frames.keys()]) if (key.startsWith(`${instance}/`) && !drawn(key)) this.#frames.delete(key);
    this.#images.set(instance, made);
    this.dispatchEvent(new Event("change"));
  }

  /** @param {Entry} entry */
  markSaved(entry) {
    this.#saved.add(frameOf(entry));
  }

  /** Whether a saved state tells of the frame, so that the next one has to. @param {Entry} entry */
  wasSaved(entry) {
    return this.#saved.has(frameOf(entry)) || this.#images.has(entry.image.path.instance);
  }

  /** @param {Entry} entry */
  clear(entry) {
    if (this.shapes(entry).length > 0) this.change(entry, []);
  }

  undo() {
    const change = this.#done.pop();
    if (!change) return;
    this.#undone.push(change);
    this.#put(change.frame, change.before);
  }

  redo() {
    const change = this.#undone.pop();
    if (!change) return;
    this.#done.push(change);
    this.#put(change.frame, change.after);
  }
}
