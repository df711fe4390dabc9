// @ts-check
// The grid of viewports: which there are, and which one tools and keys act on.

import { h } from "./dom.js";
import { Viewport } from "./viewport.js";

/** @typedef {{columns: number, rows: number, label: string}} GridShape */

/** @type {GridShape[]} */
export const SHAPES = [
  { columns: 1, rows: 1, label: "1 × 1" },
  { columns: 2, rows: 1, label: "2 × 1" },
  { columns: 2, rows: 2, label: "2 × 2" },
];

export class Layout extends EventTarget {
  element = h("div.grid");
  /** @type {Viewport[]} */
  viewports = [];
  #shape = 0;

  /** @param {import("./loader.js").FrameLoader} loader @param {(viewport: Viewport) => void} oncreate */
  constructor(loader, oncreate) {
    super();
    this.loader = loader;
    this.oncreate = oncreate;
    this.setShape(0);
    this.active = /** @type {Viewport} */ (this.viewports[0]);
    this.activate(this.active);
  }

  get shape() {
    return /** @type {GridShape} */ (SHAPES[this.#shape]);
  }

  cycle() {
    this.setShape((this.#shape + 1) % SHAPES.length);
  }

  /** @param {number} index in SHAPES */
  setShape(index) {
    this.#shape = index;
    const { columns, rows } = this.shape;
    while (this.viewports.length < columns * rows) {
      const viewport = new Viewport(this.loader);
      this.viewports.push(viewport);
      this.oncreate(viewport);
    }
    const shown = this.viewports.slice(0, columns * rows);
    this.element.style.gridTemplate = `repeat(${rows}, minmax(0, 1fr)) / repeat(${columns}, minmax(0, 1fr))`;
    this.element.classList.toggle("has-cells", shown.length > 1);
    this.element.replaceChildren(...shown.map(({ element }) => element));
    if (this.active && !shown.includes(this.active)) this.activate(/** @type {Viewport} */ (shown[0]));
    this.dispatchEvent(new Event("shape"));
  }

  /** @returns {Viewport[]} on the screen */
  get shown() {
    const { columns, rows } = this.shape;
    return this.viewports.slice(0, columns * rows);
  }

  /** @param {Viewport} viewport */
  activate(viewport) {
    const changed = viewport !== this.active;
    this.active = viewport;
    for (const other of this.viewports) other.element.classList.toggle("is-active", other === viewport);
    if (changed) this.dispatchEvent(new Event("active"));
  }
}
