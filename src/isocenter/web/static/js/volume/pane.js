// @ts-check
// One plane on the screen: its picture from the worker, greyed here by the same table as the stack's, and over it the
// lines in which the other planes cut it, directions, a scale bar, and what it is.

import { fill, h } from "../dom.js";
import { short } from "../format.js";
import { defaultView, edgeMarkers, scaleBar } from "../geometry.js";
import { t } from "../words.js";
import { cutOf } from "./data.js";
import { PLANES } from "./state.js";
import { add, dot, minus } from "./vectors.js";

/** @typedef {import("./state.js").PlaneName} PlaneName */
/** @typedef {import("./vectors.js").Vector} Vector */
/** Canvas pixels. @typedef {[number, number]} Spot */
/** What a press lies on. @typedef {{kind: "centre"} | {kind: "line", plane: PlaneName} | {kind: "handle", plane: PlaneName} | null} Grip */

const SVG = "http://www.w3.org/2000/svg";
/** What lies outside of the volume is not black, which is a grey: it is the page's ground. */
const NOTHING = 0xff0f0c0a;
const BLACK = 0xff000000;
/** CSS pixels about what is taken hold of, for a pointer and for a finger, and the gap about the crossing. */
const REACH = 12;
const FINGER = 22;
const GAP = 14;
/** Where along a line it can be turned, of the shorter side of the pane. */
const HANDLE = 0.36;
/** Samples of a slab while something moves. */
const DRAFT_SAMPLES = 24;
/** Milliseconds of the last whole picture above which a moving one is drawn at half its size. */
const DRAFT_FROM = 24;
const PROJECTION_NAMES = { max: "MIP", min: "MinIP", mean: "Mean" };
export const PLANE_TITLES = { axial: "Axial", coronal: "Coronal", sagittal: "Sagittal" };

/** @param {string} name @param {string} className @returns {SVGElement} */
function svg(name, className) {
  const element = document.createElementNS(SVG, name);
  element.setAttribute("class", className);
  return element;
}

/** @param {SVGElement} element @param {Record<string, number | string>} values */
function set(element, values) {
  for (const [name, value] of Object.entries(values)) element.setAttribute(name, String(value));
}

export class Pane {
  #canvas = h("canvas.picture", { tabindex: "-1" });
  #context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d", { alpha: false }));
  #source = document.createElement("canvas");
  /** @type {{values: Uint16Array, mask: Uint8Array, width: number, height: number, asked: number, whole: boolean} | null} */
  #plane = null;
  /** Kept from picture to picture of one size. @type {ImageData | null} */
  #image = null;
  #scheduled = 0;
  #drawing = svg("svg", "cross");
  /** @type {Map<PlaneName, {line: SVGElement, slab: SVGElement[], handles: SVGElement[]}>} */
  #lines = new Map();
  #title = h("div.corner.top-left");
  #foot = h("div.corner.bottom-left");
  #greys = h("div.corner.bottom-right");
  #edges = { top: h("div.edge.top"), right: h("div.edge.right"), bottom: h("div.edge.bottom"), left: h("div.edge.left") };
  #bar = h("div.scale-bar", null, h("i"), h("span"));
  /** Cuts asked for: busy until the last is on the canvas, whole and of all slices. An older one may be painted after. */
  #asked = 0;

  /**
   * @param {PlaneName} name @param {import("./room.js").VolumeRoom} room
   */
  constructor(name, room) {
    this.name = name;
    this.room = room;
    const overlay = h("div.overlay", { "aria-hidden": "true" }, this.#title, this.#foot, this.#greys, ...Object.values(this.#edges), this.#bar);
    for (const other of PLANES.filter((one) => one !== name)) {
      const group = svg("g", `cross-line is-${other}`);
      const line = svg("path", "cross-stroke");
      const slab = [svg("path", "cross-slab"), svg("path", "cross-slab")];
      const handles = [svg("circle", "cross-handle"), svg("circle", "cross-handle")];
      group.append(...slab, line, ...handles);
      this.#drawing.append(group);
      this.#lines.set(other, { line, slab, handles });
    }
    this.element = h(`section.pane.is-${name}`, { tabindex: "0", "aria-label": t(PLANE_TITLES[name]), "data-plane": name }, this.#canvas, this.#drawing, overlay);
    new ResizeObserver(() => this.#resize()).observe(this.element);
  }

  get #state() {
    return this.room.state;
  }

  get frame() {
    return this.#state.frame(this.name);
  }

  /** Device pixels. */
  get width() {
    return this.#canvas.width;
  }

  get height() {
    return this.#canvas.height;
  }

  /** Millimetres of a device pixel. */
  get scale() {
    return this.#state.views[this.name].field / Math.max(1, Math.min(this.width, this.height));
  }

  #resize() {
    const width = Math.max(1, Math.round(this.element.clientWidth * devicePixelRatio));
    const height = Math.max(1, Math.round(this.element.clientHeight * devicePixelRatio));
    if (this.element.clientWidth === 0 || (width === this.width && height === this.height)) return;
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.paint();
    this.ask();
  }

  // --- from the screen into the patient and back

  /** @param {number} clientX @param {number} clientY @returns {Spot} canvas pixels */
  spot(clientX, clientY) {
    const box = this.#canvas.getBoundingClientRect();
    return [(clientX - box.left) * devicePixelRatio, (clientY - box.top) * devicePixelRatio];
  }

  /** @param {Spot} spot @returns {Vector} LPS mm, on this plane */
  toPatient([x, y]) {
    const { right, down } = this.frame;
    return add(add(this.#state.middle(this.name), right, (x - this.width / 2) * this.scale), down, (y - this.height / 2) * this.scale);
  }

  /** @param {Vector} point @returns {Spot} canvas pixels of its foot on this plane */
  toCanvas(point) {
    const { right, down } = this.frame;
    const off = minus(point, this.#state.middle(this.name));
    return [this.width / 2 + dot(off, right) / this.scale, this.height / 2 + dot(off, down) / this.scale];
  }

  /** What a press takes hold of. @param {Spot} spot @param {boolean} [finger] @returns {Grip} */
  grip([x, y], finger = false) {
    if (!this.#state.crossing) return null;
    const reach = (finger ? FINGER : REACH) * devicePixelRatio;
    const [cx, cy] = this.toCanvas(this.#state.point);
    if (Math.hypot(x - cx, y - cy) <= reach) return { kind: "centre" };
    const far = HANDLE * Math.min(this.width, this.height);
    /** @type {Grip} */
    let line = null;
    for (const plane of this.#lines.keys()) {
      const [dx, dy] = this.#direction(plane);
      for (const way of [1, -1]) if (Math.hypot(x - cx - way * dx * far, y - cy - way * dy * far) <= reach) return { kind: "handle", plane };
      if (Math.abs((x - cx) * dy - (y - cy) * dx) <= reach / 2) line ??= { kind: "line", plane };
    }
    return line;
  }

  /** Direction of the line in which another plane cuts this one, on the canvas. @param {PlaneName} plane @returns {Spot} */
  #direction(plane) {
    const { right, down } = this.frame;
    const other = this.#state.frame(plane).into;
    // At a right angle to what is left of the other's normal in this plane.
    const [a, b] = [dot(other, right), dot(other, down)];
    const length = Math.hypot(a, b) || 1;
    return [-b / length, a / length];
  }

  // --- the picture

  /** Asks for the plane as it now is. @param {boolean} [moving] something is being dragged: sooner counts more than finer */
  ask(moving = false) {
    const { data, state } = this.room;
    if (this.element.clientWidth === 0) return;
    const dear = (data.cost.get(this.name) ?? 0) > DRAFT_FROM;
    const part = moving && dear ? 2 : 1;
    const [width, height] = [Math.max(1, Math.round(this.width / part)), Math.max(1, Math.round(this.height / part))];
    const size = { width, height, across: (this.scale * this.width) / width, along: (this.scale * this.height) / height };
    const cut = cutOf(data, { ...this.frame, centre: state.middle(this.name) }, size, state.slab, moving && dear ? DRAFT_SAMPLES : undefined);
    this.#asked += 1;
    const asked = this.#asked;
    this.element.setAttribute("aria-busy", "true");
    data.cut(this.name, cut, (plane) => {
      this.#plane = { ...plane, width, height, asked, whole: !moving && data.complete };
      this.paint();
    });
    this.draw();
  }

  paint() {
    this.#scheduled ||= requestAnimationFrame(() => {
      this.#scheduled = 0;
      this.#paint();
    });
  }

  #paint() {
    const plane = this.#plane;
    const context = this.#context;
    if (!plane) {
      context.fillStyle = "#0a0c0f";
      context.fillRect(0, 0, this.width, this.height);
      return;
    }
    if (this.#image?.width !== plane.width || this.#image.height !== plane.height) this.#image = new ImageData(plane.width, plane.height);
    const image = this.#image;
    const words = new Uint32Array(image.data.buffer);
    const { table } = this.room;
    const { values, mask } = plane;
    for (let i = 0; i < words.length; i += 1) {
      const kind = mask[i];
      words[i] = kind === 1 ? /** @type {number} */ (table[/** @type {number} */ (values[i])]) : kind === 2 ? BLACK : NOTHING;
    }
    if (plane.width === this.width && plane.height === this.height) context.putImageData(image, 0, 0);
    else {
      this.#source.width = plane.width;
      this.#source.height = plane.height;
      /** @type {CanvasRenderingContext2D} */ (this.#source.getContext("2d")).putImageData(image, 0, 0);
      context.drawImage(this.#source, 0, 0, this.width, this.height);
    }
    if (plane.whole && plane.asked === this.#asked) this.element.setAttribute("aria-busy", "false");
    this.draw();
  }

  /** Modality value under a place of the canvas; null where there is none. @param {Spot} spot */
  value([x, y]) {
    const plane = this.#plane;
    if (!plane) return null;
    const at = Math.floor((y * plane.height) / this.height) * plane.width + Math.floor((x * plane.width) / this.width);
    if (plane.mask[at] !== 1) return null;
    const word = /** @type {number} */ (plane.values[at]);
    return this.room.data.value(this.room.data.signed && word > 32767 ? word - 65536 : word);
  }

  // --- what lies over it

  draw() {
    this.#drawLines();
    const { state, room } = { state: this.#state, room: this.room };
    const { right, down, into } = this.frame;
    const oblique = state.oblique(this.name);
    fill(this.#title, h("b.pane-name", null, t(PLANE_TITLES[this.name])), oblique ? h("span.pane-kind", null, t("oblique")) : null);
    const axis = into.findIndex((v) => Math.abs(v) > 0.999999);
    const depth = axis >= 0 ? `${"xyz"[axis]} ${short(Math.round((state.point[axis] ?? 0) * 10) / 10)} mm` : `${state.point.map((mm) => mm.toFixed(1)).join(", ")} mm`;
    const { mm, projection } = state.slab;
    fill(this.#foot, mm > 0 && h("div", null, `${t(PROJECTION_NAMES[projection])} ${short(mm)} mm`), h("div", null, depth));
    fill(this.#greys, ...room.greyWords().map((line) => h("div", null, line)));
    const markers = edgeMarkers([...right, ...down], [], defaultView());
    for (const side of /** @type {const} */ (["top", "right", "bottom", "left"])) {
      if (this.#edges[side].textContent !== markers[side]) this.#edges[side].textContent = markers[side];
    }
    const bar = scaleBar(this.scale * devicePixelRatio, Math.min(200, this.element.clientWidth / 4));
    const [line, label] = this.#bar.children;
    /** @type {HTMLElement} */ (line).style.width = `${bar.pixels}px`;
    /** @type {HTMLElement} */ (label).textContent = bar.label;
  }

  #drawLines() {
    const ratio = devicePixelRatio;
    const [cx, cy] = /** @type {Spot} */ (this.toCanvas(this.#state.point).map((v) => v / ratio));
    const [width, height] = [this.width / ratio, this.height / ratio];
    const long = width + height;
    const far = HANDLE * Math.min(width, height);
    this.#drawing.classList.toggle("is-hidden", !this.#state.crossing);
    for (const [plane, { line, slab, handles }] of this.#lines) {
      const [dx, dy] = this.#direction(plane);
      const stroke = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ gap) =>
        `M${x + dx * gap} ${y + dy * gap}L${x + dx * long} ${y + dy * long}M${x - dx * gap} ${y - dy * gap}L${x - dx * long} ${y - dy * long}`;
      line.setAttribute("d", stroke(cx, cy, GAP));
      const off = this.#state.slab.mm / 2 / this.scale / ratio;
      slab.forEach((edge, i) => {
        const side = i ? -off : off;
        edge.setAttribute("d", off > 1 ? stroke(cx - dy * side, cy + dx * side, 0) : "");
      });
      handles.forEach((handle, i) => set(handle, { cx: cx + (i ? -1 : 1) * dx * far, cy: cy + (i ? -1 : 1) * dy * far, r: 4.5 }));
    }
  }
}
