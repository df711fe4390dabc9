// @ts-check
// Plays a viewport's stack at a rate, from the clock: a late tick skips frames, but only to one that has been loaded.

/** @typedef {import("./viewport.js").Viewport} Viewport */

export class Cine extends EventTarget {
  #request = 0;
  #last = 0;
  rate = 10;
  playing = false;

  /** @param {Viewport} viewport */
  constructor(viewport) {
    super();
    this.viewport = viewport;
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }

  toggle() {
    if (this.playing) this.stop();
    else this.start();
  }

  start() {
    if (this.playing || this.viewport.length < 2) return;
    this.playing = true;
    this.#last = performance.now();
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
    const due = Math.floor((now - this.#last) / period + 0.05);
    if (due < 1) return;
    const { length, index, stack, loader } = viewport;
    for (let step = due; step >= 1; step -= 1) {
      const to = (index + step) % length;
      const entry = stack?.entries[to];
      if (!entry || (step > 1 && !loader.has(entry))) continue;
      if (!loader.has(entry) && viewport.element.classList.contains("is-loading")) return;
      // The clock advances by whole periods, so that the rate holds over time; after a stall it starts anew.
      this.#last = due > 5 ? now : this.#last + due * period;
      viewport.show(to);
      return;
    }
  };
}
