// @ts-check
// One volume on the screen: its data, which planes are shown, their greys, and the four panes.

import { h } from "../dom.js";
import { valueWords } from "../format.js";
import { VolumeData, diagonal } from "./data.js";
import { attachGestures } from "./gestures.js";
import { Greying } from "./greying.js";
import { Pane } from "./pane.js";
import { Scene } from "./scene.js";
import { PLANES, PlanesState } from "./state.js";
import { apply } from "./vectors.js";

/** @typedef {import("./judge.js").Candidate} Candidate */
/** @typedef {import("./state.js").PlaneName} PlaneName */
/** @typedef {import("../viewport.js").ChosenWindow} ChosenWindow */
/** @typedef {import("../viewport.js").ChosenLut} ChosenLut */

/** Milliseconds without a move after which planes are cut fine. */
const REST = 120;
/** Part of the slices from which the first rendering is worth its while. */
const FIRST_SCENE = 1 / 8;

export class VolumeRoom extends EventTarget {
  #paneWithFocus = /** @type {PlaneName | "scene"} */ ("axial");
  #rest = 0;
  #rendered = "";

  /**
   * @param {Candidate} candidate @param {import("../image.js").Image[]} images @param {import("../loader.js").FrameLoader} loader
   * @param {import("../tools.js").ToolBox} tools Raises VolumeError for what is too big.
   */
  constructor(candidate, images, loader, tools) {
    super();
    this.candidate = candidate;
    this.data = new VolumeData(candidate.volume, images, loader);
    this.extent = diagonal(this.data);
    this.state = new PlanesState(this.data);
    this.greying = new Greying(this.data);
    this.tools = tools;
    this.panes = PLANES.map((name) => new Pane(name, this));
    this.scene = new Scene(this);
    this.element = h("div.volume-grid", null, ...this.panes.map(({ element }) => element), this.scene.element);
    attachGestures(this);
    this.element.addEventListener("focusin", (event) => this.#follow(event.target));
    this.state.addEventListener("change", (event) => this.#changed(/** @type {CustomEvent} */ (event).detail));
    this.data.addEventListener("progress", () => this.#progress());
    this.data.addEventListener("problem", () => this.#tell("problem"));
    this.#mark();
  }

  /** @param {"progress" | "problem" | "greys" | "state" | "probe"} what */
  #tell(what) {
    this.dispatchEvent(new CustomEvent("change", { detail: what }));
  }

  get table() {
    return this.greying.table;
  }

  greyWords() {
    return this.greying.words();
  }

  /** The pane keys act on. @returns {PlaneName | "scene"} */
  get active() {
    return this.#paneWithFocus;
  }

  /** @param {EventTarget | null} target */
  #follow(target) {
    const name = target instanceof Element ? target.closest(".pane")?.getAttribute("data-plane") : null;
    const known = [...PLANES, /** @type {const} */ ("scene")].find((one) => one === name);
    if (!known || known === this.#paneWithFocus) return;
    this.#paneWithFocus = known;
    this.#mark();
  }

  #mark() {
    for (const element of this.element.children) element.classList.toggle("is-active", element.getAttribute("data-plane") === this.#paneWithFocus);
  }

  /** @param {string} what */
  #changed(what) {
    if (what === "scene") {
      if (this.#rendered === this.scene.preset) this.scene.ask(true);
      else this.scene.recolour();
      this.#rendered = this.scene.preset;
    } else if (what === "layout") {
      this.layOut();
    } else {
      clearTimeout(this.#rest);
      for (const pane of this.panes) pane.ask(true);
      this.#rest = window.setTimeout(() => this.panes.forEach((pane) => pane.ask()), REST);
    }
    this.#tell("state");
  }

  /** Shows all panes, or the one that fills the room. */
  layOut() {
    const { big } = this.state;
    this.element.classList.toggle("is-single", big !== null);
    for (const element of this.element.children) /** @type {HTMLElement} */ (element).hidden = big !== null && element.getAttribute("data-plane") !== big;
    for (const pane of this.panes) pane.ask();
    this.scene.ask();
  }

  #progress() {
    const { data } = this;
    if (this.greying.stale) this.greying.fill();
    for (const pane of this.panes) pane.ask(!data.complete);
    // Once as soon as something can be seen, and once when all is there.
    const stage = data.complete ? "all" : data.loaded >= FIRST_SCENE * data.slices.length && data.slices.length > 64 ? "first" : "";
    if (stage && stage !== this.#staged) {
      this.#staged = stage;
      void this.scene.load().catch((error) => data.dispatchEvent(new CustomEvent("problem", { detail: error })));
    }
    if (data.complete) this.greysChanged();
    this.#tell("progress");
  }

  #staged = "";

  // --- greys

  /** What the window menu of the stack wants to know, of this volume. @returns {import("../viewport.js").Viewport} */
  get asViewport() {
    const adapter = { painted: { entry: this.greying.entry }, setWindow: (/** @type {ChosenWindow | ChosenLut | null} */ chosen) => this.setWindow(chosen), element: this.element };
    return /** @type {any} */ (adapter);
  }

  /** @param {ChosenWindow | ChosenLut | null} chosen */
  setWindow(chosen) {
    this.greying.chosen = chosen;
    this.greysChanged();
  }

  /** @param {number} dx @param {number} dy CSS pixels */
  dragWindow(dx, dy) {
    this.greying.drag(dx, dy);
    this.greysChanged(true);
  }

  /** @param {boolean} inverted */
  setInverted(inverted) {
    this.greying.inverted = inverted;
    this.greysChanged();
  }

  /** @param {boolean} [moving] something is being dragged */
  greysChanged(moving = false) {
    this.greying.fill();
    for (const pane of this.panes) pane.paint();
    this.scene.windowChanged(moving);
    this.#tell("greys");
  }

  /** @param {import("./pane.js").Pane | null} pane @param {PointerEvent} [event] */
  probe(pane, event) {
    this.probed = pane && event ? this.read(pane, event.clientX, event.clientY) : "";
    this.#tell("probe");
  }

  /** Where a point of a pane lies, and what is measured there. @param {import("./pane.js").Pane} pane @param {number} x @param {number} y client CSS pixels */
  read(pane, x, y) {
    const spot = pane.spot(x, y);
    const point = pane.toPatient(spot);
    const place = `${point.map((mm) => mm.toFixed(1)).join(", ")} mm`;
    const modality = pane.value(spot);
    if (modality === null) return place;
    const { value, unit } = this.greying.measured(modality, apply(this.data.inverse, point)[0]);
    return value === null ? place : `${place}   ${valueWords(value, unit)}`;
  }

  probed = "";

  close() {
    clearTimeout(this.#rest);
    this.scene.close();
    this.data.close();
  }
}
