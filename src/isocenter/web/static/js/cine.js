// @ts-check
// Plays a viewport's stack at a rate, from the clock: a late tick skips frames, but only to one that has been loaded.

/** @typedef {import("./viewport.js").Viewport} Viewport */

export class Cine extends EventTarget {
  #request = 0;
  /** When the last frame was due. */
  #shown = 0;
  rate = 10;
  playing = false;
  /** Places in the stack between which it plays. */
  #first = 0;
  #last = Infinity;

  /** @param {Viewport} viewport */
  constructor(viewport) {
    super();
    this.viewport = viewport;
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }

  /** @returns {[number, number] | null} first and last place; null for the whole stack */
  get range() {
    const { length } = this.viewport;
    return this.#first > 0 || this.#last < length - 1 ? [this.#first, Math.min(this.#last, length - 1)] : null;
  }

  /** An end of what is played: where the stack is; there already: all of it again on that side. @param {"first" | "last"} end */
  limit(end) {
    const { index } = this.viewport;
    if (end === "first") this.#first = this.#first === index ? 0 : index;
    else this.#last = this.#last === index ? Infinity : index;
    if (this.#first > this.#last) [this.#first, this.#last] = end === "first" ? [this.#first, Infinity] : [0, this.#last];
    this.#tell();
  }

  /** Another stack: all of it. */
  reset() {
    this.stop();
    [this.#first, this.#last] = [0, Infinity];
  }

  toggle() {
    if (this.playing) this.stop();
    else this.start();
  }

  start() {
    if (this.playing || this.viewport.length < 2) return;
    this.playing = true;
    this.#shown = performance.now();
    this.#request = requestAnimationFrame(this.#tick);
    this.#tell();
  }

  stop() {
    if (!this.playing) return;
    this.playing = false;
    cancelAnimationFrame(this.#request);
    this.#tell();
  }

  /** @param {number} rate frames per second */
  setRate(rate) {
    this.rate = Math.min(120, Math.max(0.5, rate));
    this.#tell();
  }

  #tick = (/** @type {number} */ now) => {
    if (!this.playing) return;
    this.#request = requestAnimationFrame(this.#tick);
    const { viewport } = this;
    const period = 1000 / this.rate;
    const due = Math.floor((now - this.#shown) / period + 0.05);
    if (due < 1) return;
    const { index, stack, loader } = viewport;
    const [first, last] = this.range ?? [0, viewport.length - 1];
    for (let step = due; step >= 1; step -= 1) {
      const to = index < first || index > last ? first : first + ((index - first + step) % (last - first + 1));
      const entry = stack?.entries[to];
      if (!entry || (step > 1 && !loader.has(entry))) continue;
      if (!loader.has(entry) && viewport.element.classList.contains("is-loading")) return;
      // The clock advances by whole periods, so that the rate holds over time; after a stall it starts anew.
      this.#shown = due > 5 ? now : this.#shown + due * period;
      viewport.show(to);
      return;
    }
  };
}
