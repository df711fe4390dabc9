// @ts-check
// The fourth pane: the volume as a whole, rendered, turned with the mouse or the arrow keys. Where there is no WebGL2 it
// says so, and the planes go on without it.

import { fill, h, icon } from "../dom.js";
import { defaultView, edgeMarkers } from "../geometry.js";
import { t } from "../words.js";
import { coloursOf, scenePresets } from "./presets.js";
import { MOST_VOXELS, RenderError, Renderer } from "./render.js";
import { about, after, cross, turned } from "./vectors.js";

/** @typedef {import("./vectors.js").Vector} Vector */

/** From the front: left of the patient on the right of the screen. */
const RIGHT = /** @type {Vector} */ ([1, 0, 0]);
const DOWN = /** @type {Vector} */ ([0, 0, -1]);
/** Milliseconds a moving picture may take; a slower card gets fewer pixels. */
const SMOOTH = 60;
/** And one that stays. */
const PATIENCE = 1200;
/** Of the pixels of the pane, while it moves. */
const COARSEST = 0.2;
/** Milliseconds without a move after which the picture is drawn fine. */
const REST = 160;

export class Scene {
  #canvas = h("canvas.picture", { tabindex: "-1" });
  #message = h("div.viewport-message", { role: "status" }, h("p", null, t("Rendered when its slices are here.")));
  #edges = { top: h("div.edge.top"), right: h("div.edge.right"), bottom: h("div.edge.bottom"), left: h("div.edge.left") };
  #title = h("div.corner.top-left");
  #choice = h("select.volume-choice.scene-preset", { "aria-label": t("Preset"), hidden: true });
  /** @type {Renderer | null} */
  #renderer = null;
  #ready = false;
  #scheduled = 0;
  #rest = 0;
  #moving = false;
  /** Pixels over mm of step that the card renders in a millisecond; 0 while nobody knows. */
  #speed = 0;

  /** @param {import("./room.js").VolumeRoom} room */
  constructor(room) {
    this.room = room;
    const overlay = h("div.overlay", { "aria-hidden": "true" }, this.#title, ...Object.values(this.#edges));
    this.element = h("section.pane.is-scene", { tabindex: "0", "aria-label": t("Volume rendering"), "data-plane": "scene" }, this.#canvas, overlay, this.#choice, this.#message);
    this.presets = scenePresets(room.data.middle.image.modality);
    fill(this.#choice, ...this.presets.map(({ name, label }) => h("option", { value: name }, t(label))));
    this.#choice.addEventListener("change", () => room.state.setScene({ preset: this.#choice.value }));
    this.#canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.#say("The graphics card was taken away. Open the planes again to render.");
    });
    new ResizeObserver(() => this.ask()).observe(this.element);
  }

  get #preset() {
    const { presets } = this;
    return /** @type {import("./presets.js").Preset} */ (presets.find(({ name }) => name === this.room.state.scene.preset) ?? presets[0]);
  }

  /** Name of the preset in force. */
  get preset() {
    return this.#preset.name;
  }

  /** @param {1 | -1} way */
  nextPreset(way) {
    const at = this.presets.indexOf(this.#preset);
    const next = this.presets[(at + way + this.presets.length) % this.presets.length];
    if (next) this.room.state.setScene({ preset: next.name });
  }

  /** @returns {{right: Vector, down: Vector, into: Vector}} */
  get frame() {
    const { turn } = this.room.state.scene;
    const [right, down] = [turned(turn, RIGHT), turned(turn, DOWN)];
    return { right, down, into: cross(right, down) };
  }

  /** mm the shorter side shows: the whole volume at first. */
  get field() {
    const { data, state } = this.room;
    return state.scene.field || 1.1 * Math.max(...[RIGHT, DOWN, cross(RIGHT, DOWN)].map((axis) => data.extentAlong(axis)));
  }

  /** Takes the voxels as far as they have come. */
  async load() {
    try {
      this.#renderer ??= new Renderer(this.#canvas, this.room.data);
      const made = await this.room.data.texture(MOST_VOXELS);
      this.#renderer.setVoxels(made);
      this.#ready = true;
      this.#message.hidden = true;
      this.#choice.hidden = false;
      this.recolour();
    } catch (error) {
      if (error instanceof RenderError) this.#say(error.message);
      else if (!(error instanceof DOMException)) throw error;
    }
  }

  /** @param {string} words */
  #say(words) {
    this.#ready = false;
    this.#choice.hidden = true;
    this.#message.hidden = false;
    fill(this.#message, icon("cube"), h("p", null, t(words)));
  }

  /** The window has changed: what it does not colour stays. @param {boolean} moving */
  windowChanged(moving) {
    if (this.#preset.relative) this.recolour(moving);
  }

  /** Colours by preset and window. @param {boolean} [moving] */
  recolour(moving = false) {
    if (!this.#ready) return;
    const { data, greying } = this.room;
    const { voi } = greying.greys.transform;
    const window = voi.kind === "window" ? voi : { center: voi.lut.first + voi.lut.values.length / 2, width: voi.lut.values.length };
    this.#renderer?.setColours(coloursOf(this.#preset, data.value(data.low), data.value(data.high), window));
    this.#choice.value = this.preset;
    this.ask(moving);
  }

  /** @param {number} dx @param {number} dy CSS pixels: half a turn over the pane */
  turn(dx, dy) {
    const { right, down } = this.frame;
    const k = Math.PI / Math.max(1, Math.min(this.element.clientWidth, this.element.clientHeight));
    const turn = after(about(down, dx * k), about(right, -dy * k));
    this.room.state.setScene({ turn: after(turn, this.room.state.scene.turn) });
  }

  /** @param {number} factor */
  zoom(factor) {
    this.room.state.setScene({ field: Math.min(4000, Math.max(5, this.field / factor)) });
  }

  /** @param {boolean} [moving] sooner counts more than finer */
  ask(moving = false) {
    if (!this.#ready || this.element.clientWidth === 0) return;
    clearTimeout(this.#rest);
    this.element.setAttribute("aria-busy", "true");
    this.#moving = moving;
    if (moving) this.#rest = window.setTimeout(() => this.ask(), REST);
    this.#scheduled ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#scheduled = 0;
    const renderer = this.#renderer;
    if (!renderer || !this.#ready) return;
    if (!renderer.idle) {
      // The card is still at the last one.
      this.#scheduled = requestAnimationFrame(() => this.#draw());
      return;
    }
    const { data } = this.room;
    const frame = this.frame;
    const [width, height] = [this.element.clientWidth * devicePixelRatio, this.element.clientHeight * devicePixelRatio];
    const rough = this.#moving || this.#speed === 0;
    const step = Math.max(data.stepAlong(frame.into) * (rough ? 2 : 1), this.room.extent / 3000);
    const samples = (width * height) / step;
    const part = this.#speed === 0 ? COARSEST : Math.min(1, Math.max(COARSEST, Math.sqrt(((rough ? SMOOTH : PATIENCE) * this.#speed) / samples)));
    this.#canvas.width = Math.max(1, Math.round(width * part));
    this.#canvas.height = Math.max(1, Math.round(height * part));
    renderer.draw({
      ...frame,
      centre: data.centre,
      scale: this.field / Math.max(1, Math.min(this.#canvas.width, this.#canvas.height)),
      step,
      projection: this.#preset.projection,
      shaded: this.#preset.shaded,
    });
    this.#describe(frame);
    this.#watch(performance.now(), samples * part * part, this.#speed === 0 || (!rough && part < 1));
  }

  /**
   * Waits for the card, to know how fast it is: a software renderer gets fewer pixels.
   * @param {number} started @param {number} samples in proportion @param {boolean} trial whether a better picture may follow
   */
  #watch(started, samples, trial) {
    const renderer = this.#renderer;
    if (!renderer || !this.#ready) return;
    if (!renderer.idle) {
      requestAnimationFrame(() => this.#watch(started, samples, trial));
      return;
    }
    const took = Math.max(1, performance.now() - started);
    const first = this.#speed === 0;
    this.#speed = samples / took;
    // The first picture's time is mostly that of compiling, and those after it may tell of a faster card.
    if (trial && (first || (!this.#moving && took < PATIENCE / 2))) this.ask(this.#moving);
    else if (!this.#scheduled) this.element.setAttribute("aria-busy", String(this.#moving || !this.room.data.complete));
  }

  /** @param {{right: Vector, down: Vector}} frame */
  #describe({ right, down }) {
    fill(this.#title, h("b.pane-name", null, t("Volume")));
    const markers = edgeMarkers([...right, ...down], [], defaultView());
    for (const side of /** @type {const} */ (["top", "right", "bottom", "left"])) this.#edges[side].textContent = markers[side];
    this.element.setAttribute("aria-label", `${t("Volume rendering")}, ${t(this.#preset.label)}`);
  }

  close() {
    clearTimeout(this.#rest);
    if (this.#scheduled) cancelAnimationFrame(this.#scheduled);
    this.#ready = false;
    this.#renderer?.close();
  }
}
