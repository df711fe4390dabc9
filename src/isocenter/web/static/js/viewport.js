// @ts-check
// One picture on the screen: which frame of which stack, with which greys, seen how. Owns the canvas and nothing else.

import { Tag, text } from "./dataset.js";
import { isAbort } from "./dicomweb.js";
import { h, icon, fill } from "./dom.js";
import { canvasToImage, defaultView, drawPicture, fitZoom, imageToCanvas, inTheMiddle, panTo } from "./geometry.js";
import { automaticWindow, draggedWindow, modalityValue } from "./greys.js";
import { outwards } from "./loader.js";
import { Overlay } from "./overlay.js";
import { Painter } from "./painter.js";
import { reader } from "./pixels.js";
import { quantityOf } from "./quantity.js";
import { t } from "./words.js";

/** @typedef {import("./stack.js").Stack} Stack */
/** @typedef {import("./loader.js").Entry} Entry */
/** @typedef {import("./pixels.js").Frame} Frame */
/** @typedef {import("./image.js").VoiFunction} VoiFunction */
/** @typedef {import("./greys.js").GreyTransform} GreyTransform */
/** Chosen by the user for every frame. @typedef {{center: number, width: number, function: VoiFunction, label: string}} ChosenWindow */
/** @typedef {import("./looks.js").Place} Place */
/** A VOI LUT of the header, by its place there. @typedef {{lut: number}} ChosenLut */

/** Name in the browser's performance timeline: from table to canvas. */
const PAINT = "isocenter-paint";
/** Frames a viewport waits for at a time. */
const MOST_PENDING = 3;
const MIN_ZOOM = 0.02;
const MAX_ZOOM = 40;

export class Viewport extends EventTarget {
  #canvas;
  #context;
  #message = h("div.viewport-message", { role: "status", hidden: true });
  #scheduled = 0;
  #painter;
  /** Requests of this viewport under way, oldest first. @type {AbortController[]} */
  #pending = [];
  /** @type {1 | -1} */
  #direction = 1;
  #fitted = true;
  /** What an address asked for, until something else is. @type {Place | null} */
  #place = null;
  /** @type {{frame: Frame, window: ChosenWindow} | null} the window found for a frame without one */
  #automatic = null;
  /** @type {Stack | null} */
  stack = null;
  /** Place in the stack that was asked for; the frame may still be on its way. */
  index = 0;
  /**
   * What is on the canvas, maybe not yet what was asked for. Greys, text and values go by this: a slice's position must
   * never stand beside another slice's picture.
   * @type {{entry: Entry, index: number, frame: Frame} | null}
   */
  painted = null;
  view = defaultView();
  /** @type {ChosenWindow | ChosenLut | null} null: each frame by its own header */
  chosen = null;
  inverted = false;
  /** A document in place of the picture. @type {HTMLElement | null} */
  hosted = null;
  /** What was painted last, at the image's own size. @type {HTMLCanvasElement | ImageBitmap | null} */
  picture = null;
  /** What else is drawn over the picture, each time it is painted. @type {{element: Element, update: (viewport: Viewport) => void}[]} */
  #layers = [];

  /** @param {import("./loader.js").FrameLoader} loader @param {HTMLCanvasElement} [canvas] that has a picture already */
  constructor(loader, canvas = h("canvas.picture")) {
    super();
    this.loader = loader;
    canvas.tabIndex = -1;
    this.#canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.#painter = new Painter(loader);
    this.overlay = new Overlay();
    this.element = h("section.viewport.is-empty", { tabindex: "0", "aria-label": t("Image"), "data-empty": t("Drag a series here") }, this.#canvas, this.overlay.element, this.#message);
    new ResizeObserver(() => this.#resize()).observe(this.element);
  }

  /** @returns {Entry | null} what was asked for */
  get entry() {
    return this.stack?.entries[this.index] ?? null;
  }

  /** @returns {number} frames in the stack */
  get length() {
    return this.stack?.entries.length ?? 0;
  }

  /**
   * @param {Stack | null} stack @param {number} [index]
   * @param {{chosen?: ChosenWindow | ChosenLut | null, inverted?: boolean, lie?: import("./looks.js").Lie, place?: Place}} [options]
   */
  setStack(stack, index = 0, options = {}) {
    this.stack = stack;
    this.element.classList.toggle("is-empty", stack === null);
    this.chosen = options.chosen ?? null;
    this.inverted = options.inverted ?? false;
    this.view = { ...defaultView(), ...options.lie };
    this.#place = options.place ?? null;
    this.#fitted = !this.#place;
    this.painted = null;
    this.hosted?.remove();
    this.hosted = null;
    this.#abandon(0);
    this.index = -1;
    this.#direction = 1;
    this.#schedule();
    if (!stack) this.#say(null);
    else if (stack.entries.length === 0) this.#sayNoImage(stack);
    else this.show(index);
    this.#changed("stack");
  }

  /** Shows a frame; keeps the present one on the screen until the new one is here. @param {number} index */
  show(index) {
    const stack = this.stack;
    if (!stack || stack.entries.length === 0) return;
    const to = Math.min(stack.entries.length - 1, Math.max(0, index));
    if (to === this.index) return;
    this.#direction = to < this.index ? -1 : 1;
    this.index = to;
    const entry = /** @type {Entry} */ (stack.entries[to]);
    const here = this.loader.peek(entry);
    if (here) this.#take(entry, here);
    else void this.#wait(entry);
    this.#changed("frame");
  }

  /** @param {Entry} entry */
  async #wait(entry) {
    this.element.classList.add("is-loading");
    // Slices that were scrolled past give way, or the one that is wanted would wait behind them.
    this.#abandon(MOST_PENDING - 1);
    const pending = new AbortController();
    this.#pending.push(pending);
    try {
      const frame = await this.loader.get(entry, pending.signal);
      if (entry === this.entry) this.#take(entry, frame);
    } catch (error) {
      if (entry !== this.entry) return;
      if (isAbort(error)) {
        // It was wanted, given up, and is wanted again.
        void this.#wait(entry);
        return;
      }
      this.painted = null;
      this.element.classList.remove("is-loading");
      this.#schedule();
      this.#say("alert", t("This image cannot be shown"), error instanceof Error ? error.message : String(error), () => {
        this.#say(null);
        void this.#wait(entry);
      });
    } finally {
      this.#pending = this.#pending.filter((other) => other !== pending);
    }
  }

  /** @param {number} keep requests that may go on */
  #abandon(keep) {
    while (this.#pending.length > keep) this.#pending.shift()?.abort();
  }

  /** @param {Entry} entry @param {Frame} frame */
  #take(entry, frame) {
    this.element.classList.remove("is-loading");
    this.#say(null);
    this.painted = { entry, index: this.index, frame };
    this.#painter.dirty = true;
    this.#schedule();
    const stack = /** @type {Stack} */ (this.stack);
    this.loader.plan(outwards(stack.entries, this.index, this.#direction, this.loader.maxBytes * 0.8));
    this.#changed("shown");
  }

  /** A page in place of a picture. @param {HTMLElement} page */
  host(page) {
    this.#say(null);
    this.hosted = page;
    // What is pressed, turned and scrolled in it is not meant for pictures.
    for (const name of ["pointerdown", "pointermove", "wheel", "contextmenu", "dblclick"]) page.addEventListener(name, (event) => event.stopPropagation());
    page.addEventListener("pointerdown", () => this.dispatchEvent(new Event("touched")));
    this.element.append(page);
  }

  /** @param {Stack} stack */
  #sayNoImage(stack) {
    const modality = stack.images[0]?.modality;
    this.#say("document", t("No image"), t("This {0} object holds no picture. Press D to read its header.", modality ?? ""));
  }

  /** @param {string | null} symbol null clears @param {string} [title] @param {string} [detail] @param {() => void} [retry] */
  #say(symbol, title = "", detail = "", retry) {
    this.#message.hidden = symbol === null;
    fill(
      this.#message,
      symbol && icon(symbol),
      h("strong", null, title),
      h("p", null, detail),
      retry && h("button.button", { type: "button", onclick: retry }, t("Try again")),
    );
  }

  /** @param {"stack" | "frame" | "shown" | "greys" | "view"} what */
  #changed(what) {
    this.dispatchEvent(new CustomEvent("change", { detail: what }));
  }

  // --- greys

  /** The transform of the shown frame, with its name for the overlay; null for colour. @returns {{transform: GreyTransform, label: string, unit: string} | null} */
  get greys() {
    return this.painted && this.#greysOf(this.painted.entry, this.painted.frame);
  }

  /** @param {Entry} entry @param {Frame} frame @returns {{transform: GreyTransform, label: string, unit: string} | null} */
  #greysOf(entry, frame) {
    if (entry.image.kind !== "grey" || frame.kind !== "values") return null;
    const { modality, windows, luts } = entry.image.values(entry.frame);
    const { tables } = this.loader;
    /** @type {GreyTransform} */
    const transform = {
      slope: modality.slope,
      intercept: modality.intercept,
      modalityLut: modality.lut && tables.lut(modality.lut),
      voi: { kind: "window", center: 0, width: 1, function: "LINEAR" },
      inverse: entry.image.inverse !== this.inverted,
      padding: entry.image.padding,
    };
    // A VOI LUT goes before a window: whoever made a table meant more than two numbers.
    const source = this.chosen === null ? luts[0] : "lut" in this.chosen ? luts[this.chosen.lut] : undefined;
    const lut = source && tables.lut(source);
    if (lut) {
      transform.voi = { kind: "lut", lut };
      return { transform, label: source.label || "VOI LUT", unit: modality.unit };
    }
    const window = this.chosen && "center" in this.chosen ? this.chosen : (windows[0] ?? this.#dataWindow(transform, frame, entry.image));
    transform.voi = { kind: "window", center: window.center, width: window.width, function: window.function };
    return { transform, label: window.label, unit: modality.unit };
  }

  /** @param {GreyTransform} t @param {import("./pixels.js").ValueFrame} frame @param {import("./image.js").Image} image @returns {ChosenWindow} */
  #dataWindow(t, frame, image) {
    if (this.#automatic?.frame !== frame) this.#automatic = { frame, window: automaticWindow(t, frame, image) };
    return this.#automatic.window;
  }

  /** @param {ChosenWindow | ChosenLut | null} chosen */
  setWindow(chosen) {
    this.chosen = chosen;
    this.#painter.dirty = true;
    this.#schedule();
    this.#changed("greys");
  }

  /** Moves the window by screen distance. @param {number} dx @param {number} dy CSS pixels */
  dragWindow(dx, dy) {
    const { greys } = this;
    if (greys) this.setWindow(draggedWindow(greys.transform, dx, dy));
  }

  /** @param {boolean} inverted */
  setInverted(inverted) {
    this.inverted = inverted;
    this.regrey();
  }

  /** Makes the greys anew: something that they go by is another. */
  regrey() {
    this.#painter.dirty = true;
    this.#schedule();
    this.#changed("greys");
  }

  // --- view

  /** @param {Partial<import("./geometry.js").View>} change */
  setView(change) {
    this.#place = null;
    Object.assign(this.view, change);
    this.view.zoom = Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, this.view.zoom));
    this.#schedule();
    this.#changed("view");
  }

  /** @param {number} factor @param {number} [x] canvas device pixels that stay where they are @param {number} [y] */
  zoomBy(factor, x = this.#canvas.width / 2, y = this.#canvas.height / 2) {
    this.#fitted = false;
    const zoom = Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, this.view.zoom * factor));
    const k = zoom / this.view.zoom;
    const [cx, cy] = [x - this.#canvas.width / 2, y - this.#canvas.height / 2];
    this.setView({ zoom, panX: cx - (cx - this.view.panX) * k, panY: cy - (cy - this.view.panY) * k });
  }

  /** @param {number} dx @param {number} dy CSS pixels */
  panBy(dx, dy) {
    this.#fitted = false;
    const ratio = devicePixelRatio;
    this.setView({ panX: this.view.panX + dx * ratio, panY: this.view.panY + dy * ratio });
  }

  fit() {
    this.#fitted = true;
    this.#place = null;
    this.view.panX = 0;
    this.view.panY = 0;
    this.#fit();
    this.#schedule();
    this.#changed("view");
  }

  /** The middle of the image in the middle, with so many device pixels to an image pixel. @param {number} zoom */
  zoomTo(zoom) {
    this.#fitted = false;
    this.setView({ zoom, panX: 0, panY: 0 });
  }

  /** @param {number} quarters */
  turn(quarters) {
    this.view.turn = (((this.view.turn + quarters) % 4) + 4) % 4;
    this.#refit();
  }

  /** @param {"x" | "y"} axis of the screen */
  flip(axis) {
    const lying = this.view.turn % 2 !== 0;
    if ((axis === "x") !== lying) this.view.flipX = !this.view.flipX;
    else this.view.flipY = !this.view.flipY;
    this.#refit();
  }

  reset() {
    this.view = defaultView();
    this.inverted = false;
    this.setWindow(null);
    this.fit();
  }

  #refit() {
    this.#place = null;
    if (this.#fitted) this.#fit();
    this.#schedule();
    this.#changed("view");
  }

  #fit() {
    const image = (this.painted?.entry ?? this.entry)?.image;
    if (!image) return;
    this.view.zoom = this.#fitting(image);
  }

  /** Which part of the image is seen; null for all of it. @returns {Place | null} */
  get place() {
    const image = this.painted?.entry.image;
    if (this.#place || this.#fitted || !image) return this.#place;
    const { zoom, panX, panY } = this.view;
    const size = Number.isInteger(zoom) ? { pixels: zoom } : { zoom: zoom / this.#fitting(image) };
    return panX || panY ? { ...size, at: inTheMiddle(this.#matrix(image), image.columns, image.rows, panX, panY) } : size;
  }

  /** @param {Place} place @param {import("./image.js").Image} image */
  #goTo({ zoom = 1, pixels, at }, image) {
    this.view.zoom = Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, pixels ?? zoom * this.#fitting(image)));
    [this.view.panX, this.view.panY] = at ? panTo(this.#matrix(image), image.columns, image.rows, at) : [0, 0];
  }

  /** @param {import("./image.js").Image} image */
  #fitting(image) {
    return fitZoom(this.view, image.columns, image.rows, image.aspect, this.#canvas.width, this.#canvas.height);
  }

  #resize() {
    const { clientWidth, clientHeight } = this.element;
    const ratio = devicePixelRatio;
    const width = Math.max(1, Math.round(clientWidth * ratio));
    const height = Math.max(1, Math.round(clientHeight * ratio));
    if (width === this.#canvas.width && height === this.#canvas.height) return;
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.#paint();
    this.#changed("view");
  }

  /** @param {number} clientX @param {number} clientY @returns {[number, number]} canvas device pixels */
  toCanvas(clientX, clientY) {
    const box = this.#canvas.getBoundingClientRect();
    return [(clientX - box.left) * devicePixelRatio, (clientY - box.top) * devicePixelRatio];
  }

  /** @param {number} clientX @param {number} clientY @returns {[number, number]} column and row of the painted image, continuous */
  toImage(clientX, clientY) {
    return this.painted ? canvasToImage(this.#matrix(this.painted.entry.image), ...this.toCanvas(clientX, clientY)) : [0, 0];
  }

  /** @param {[number, number]} point column and row of the painted image @returns {[number, number]} CSS pixels from the viewport's corner */
  toScreen([column, row]) {
    if (!this.painted) return [0, 0];
    const [a, b, c, d, e, f] = this.#matrix(this.painted.entry.image);
    return [(a * column + c * row + e) / devicePixelRatio, (b * column + d * row + f) / devicePixelRatio];
  }

  /** @param {{element: Element, update: (viewport: Viewport) => void}} layer over the picture, under its texts @param {boolean} [lowest] under the other layers */
  addLayer(layer, lowest = false) {
    this.#layers.push(layer);
    if (lowest) this.#canvas.after(layer.element);
    else this.overlay.element.before(layer.element);
  }

  /** Brings the layers up to date with what is painted. */
  updateLayers() {
    for (const layer of this.#layers) layer.update(this);
  }

  /** What the painted frame says at its pixels; null for colour. @returns {import("./measure/shapes.js").Values | null} */
  get values() {
    return this.painted && this.valuesOf(this.painted.entry, this.painted.frame);
  }

  /** The same of any frame. @param {Entry} entry @param {Frame} frame @returns {import("./measure/shapes.js").Values | null} */
  valuesOf(entry, frame) {
    const greys = this.#greysOf(entry, frame);
    if (!greys || frame.kind !== "values") return null;
    const { image } = entry;
    const quantity = quantityOf(image, entry.frame);
    const own = (/** @type {number} */ stored) => modalityValue(greys.transform, stored);
    const at = reader(frame, image, quantity ? (stored) => quantity.of(stored, own(stored)) : own);
    return { columns: image.columns, rows: image.rows, unit: quantity ? quantity.unit : greys.unit, code: quantity?.code ?? null, at };
  }

  /** Image to canvas, of what is painted. @returns {import("./geometry.js").Matrix | null} */
  get matrix() {
    return this.painted && this.#matrix(this.painted.entry.image);
  }

  /** @param {import("./image.js").Image} image */
  #matrix(image) {
    return imageToCanvas(this.view, image.columns, image.rows, image.aspect, this.#canvas.width, this.#canvas.height);
  }

  /**
   * The pixel under a point of the screen.
   * @param {number} clientX @param {number} clientY
   * @returns {{column: number, row: number, value: number | null, unit: string} | null}
   */
  probe(clientX, clientY) {
    if (!this.painted) return null;
    const [x, y] = this.toImage(clientX, clientY).map(Math.floor);
    const { columns, rows } = this.painted.entry.image;
    if (x === undefined || y === undefined || x < 0 || y < 0 || x >= columns || y >= rows) return null;
    const { values } = this;
    return { column: x, row: y, value: values?.at(x, y) ?? null, unit: values?.unit ?? "" };
  }

  // --- painting

  #schedule() {
    this.#scheduled ||= requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    if (this.#scheduled) cancelAnimationFrame(this.#scheduled);
    this.#scheduled = 0;
    const started = performance.now();
    if (this.painted) {
      const { entry, frame } = this.painted;
      if (this.#fitted) this.#fit();
      else if (this.#place) this.#goTo(this.#place, entry.image);
      this.picture = this.#painter.picture(frame, entry, this.greys?.transform ?? null, this.inverted);
      drawPicture(this.#context, this.picture, this.view, entry.image, this.inverted && !this.#painter.turned ? "invert(1)" : "none");
    } else {
      this.#context.reset();
    }
    // User Timing, for whoever looks with the browser's own tools; only the last is kept.
    performance.clearMeasures(PAINT);
    performance.measure(PAINT, { start: started });
    this.overlay.update(this);
    this.updateLayers();
  }

  /** What the picture shows, for screen readers. @returns {string} */
  get words() {
    const ds = (this.painted?.entry.image ?? this.stack?.images[0])?.ds;
    const label = [text(ds, Tag.Modality), text(ds, Tag.SeriesDescription), this.length > 1 ? t("image {0} of {1}", this.index + 1, this.length) : "", ...this.overlay.window];
    return label.filter(Boolean).join(", ") || t("Image");
  }

  describe() {
    this.element.setAttribute("aria-label", this.words);
  }
}
