// @ts-check
// The bar under the picture: play, position in the stack with what is loaded, speed, and the value under the pointer.

import { h, icon } from "../dom.js";
import { probeWords, short } from "../format.js";
import { t } from "../words.js";

/** @typedef {import("../viewport.js").Viewport} Viewport */
/** @typedef {import("../cine.js").Cine} Cine */

export class Scrubber {
  #play = h("button.tool", { type: "button", "aria-label": t("Play"), title: `${t("Play or pause")} (Space)` }, icon("play"));
  #range = h("input.slices", { type: "range", min: "1", value: "1", step: "1", "aria-label": t("Position in the stack") });
  #loaded = h("canvas.loaded", { height: "1", "aria-hidden": "true" });
  #position = h("output.position");
  #rate = h("output.rate", { title: t("Frames per second") });
  #probe = h("output.probe", { "aria-live": "off" });
  /** The part of the stack that is played. */
  #part = h("i.played", { hidden: true });
  #first;
  #last;
  #controls;
  element;
  #scheduled = 0;
  /** @type {Viewport | null} */
  #viewport = null;
  /** @type {Cine | null} */
  #cine = null;

  constructor() {
    const slower = h("button.tool", { type: "button", "aria-label": t("Slower"), title: `${t("Slower")} ( [ )` }, icon("minus"));
    const faster = h("button.tool", { type: "button", "aria-label": t("Faster"), title: `${t("Faster")} ( ] )` }, icon("plus"));
    slower.addEventListener("click", () => this.faster(-1));
    faster.addEventListener("click", () => this.faster(1));
    this.#play.addEventListener("click", () => this.#cine?.toggle());
    this.#range.addEventListener("input", () => {
      this.#cine?.stop();
      this.#viewport?.show(Number(this.#range.value) - 1);
    });
    this.#first = h("button.tool.glyph", { type: "button", "aria-label": t("Play from here"), title: `${t("Play from here")} ( { )`, onclick: () => this.#cine?.limit("first") }, "⟦");
    this.#last = h("button.tool.glyph", { type: "button", "aria-label": t("Play up to here"), title: `${t("Play up to here")} ( } )`, onclick: () => this.#cine?.limit("last") }, "⟧");
    this.#controls = h("div.scrub", null, this.#play, h("div.track", null, this.#loaded, this.#part, this.#range), this.#position, h("div.speed", null, this.#first, this.#last, slower, this.#rate, faster));
    this.element = h("footer.scrubber", null, this.#controls, this.#probe);
  }

  /** @param {Viewport} viewport @param {Cine} cine */
  follow(viewport, cine) {
    this.#viewport = viewport;
    this.#cine = cine;
    this.update();
  }

  /** @param {1 | -1} way */
  faster(way) {
    const cine = this.#cine;
    if (!cine) return;
    const steps = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 20, 24, 25, 30, 40, 50, 60, 90, 120];
    const next = way > 0 ? steps.find((s) => s > cine.rate + 0.01) : steps.findLast((s) => s < cine.rate - 0.01);
    if (next) cine.setRate(next);
  }

  update() {
    const viewport = this.#viewport;
    const cine = this.#cine;
    if (!viewport || !cine) return;
    const { length, index } = viewport;
    this.#controls.hidden = length < 2;
    this.#range.max = String(Math.max(1, length));
    this.#range.value = String(index + 1);
    this.#position.textContent = `${index + 1} / ${length}`;
    this.#rate.textContent = `${short(Math.round(cine.rate * 10) / 10)} fps`;
    this.#play.querySelector("use")?.setAttribute("href", icon(cine.playing ? "pause" : "play").querySelector("use")?.getAttribute("href") ?? "");
    this.#play.setAttribute("aria-label", cine.playing ? t("Pause") : t("Play"));
    this.#play.setAttribute("aria-pressed", String(cine.playing));
    const part = cine.range;
    this.#part.hidden = part === null;
    if (part) {
      this.#part.style.left = `calc(6px + (100% - 12px) * ${part[0] / (length - 1)})`;
      this.#part.style.right = `calc(6px + (100% - 12px) * ${1 - part[1] / (length - 1)})`;
    }
    this.#first.setAttribute("aria-pressed", String(part !== null && part[0] > 0));
    this.#last.setAttribute("aria-pressed", String(part !== null && part[1] < length - 1));
    this.drawLoaded();
  }

  /** The part of the stack that is in memory, as a line in the track. */
  drawLoaded() {
    this.#scheduled ||= requestAnimationFrame(() => {
      this.#scheduled = 0;
      const entries = this.#viewport?.stack?.entries ?? [];
      const { loader } = this.#viewport ?? {};
      if (!loader || entries.length < 2) return;
      const canvas = this.#loaded;
      const width = Math.min(2048, entries.length);
      if (canvas.width !== width) canvas.width = width;
      const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      context.clearRect(0, 0, width, 1);
      context.fillStyle = getComputedStyle(canvas).color;
      entries.forEach((entry, i) => loader.has(entry) && context.fillRect(Math.floor((i * width) / entries.length), 0, 1, 1));
    });
  }

  /** @param {ReturnType<Viewport["probe"]>} found */
  probe(found) {
    const words = probeWords(found);
    if (this.#probe.textContent !== words) this.#probe.textContent = words;
  }
}
