// @ts-check
// The grid of viewports: which there are, and which one tools and keys act on.

import { h } from "./dom.js";
import { Viewport } from "./viewport.js";

/** @typedef {{columns: number, rows: number}} GridShape */

/** Those that a key goes through. @type {GridShape[]} */
export const SHAPES = [[1, 1], [2, 1], [2, 2], [3, 2], [3, 3]].map(([columns = 1, rows = 1]) => ({ columns, rows }));
/** Columns and rows at most. */
export const MOST_CELLS = 4;

export class Layout extends EventTarget {
  element = h("div.grid");
  /** @type {Viewport[]} */
  viewports = [];
  /** @type {GridShape} */
  shape = { columns: 1, rows: 1 };

  /**
   * @param {import("./loader.js").FrameLoader} loader @param {(viewport: Viewport) => void} oncreate for each cell's
   * @param {HTMLCanvasElement} [canvas] of the first cell, with a picture already
   */
  constructor(loader, oncreate, canvas) {
    super();
    this.loader = loader;
    this.oncreate = oncreate;
    this.#add(new Viewport(loader, canvas));
    this.setShape(this.shape);
    this.active = /** @type {Viewport} */ (this.viewports[0]);
    this.activate(this.active);
  }

  /** @param {1 | -1} [way] */
  cycle(way = 1) {
    const at = SHAPES.findIndex(({ columns, rows }) => columns === this.shape.columns && rows === this.shape.rows);
    this.setShape(/** @type {GridShape} */ (SHAPES[(Math.max(0, at) + way + SHAPES.length) % SHAPES.length]));
  }

  /** The next cell on the screen, or the one before. @param {1 | -1} way */
  step(way) {
    const { shown } = this;
    const next = shown[(shown.indexOf(this.active) + way + shown.length) % shown.length];
    if (!next) return;
    this.activate(next);
    next.element.focus({ preventScroll: true });
  }

  /** @param {GridShape} shape */
  setShape({ columns, rows }) {
    this.shape = { columns, rows };
    while (this.viewports.length < columns * rows) this.#add(new Viewport(this.loader));
    const shown = this.viewports.slice(0, columns * rows);
    this.element.style.gridTemplate = `repeat(${rows}, minmax(0, 1fr)) / repeat(${columns}, minmax(0, 1fr))`;
    this.element.classList.toggle("has-cells", shown.length > 1);
    this.element.replaceChildren(...shown.map(({ element }) => element));
    if (this.active && !shown.includes(this.active)) this.activate(/** @type {Viewport} */ (shown[0]));
    this.dispatchEvent(new Event("shape"));
  }

  /** @param {Viewport} viewport */
  #add(viewport) {
    this.viewports.push(viewport);
    this.oncreate(viewport);
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
