// @ts-check
// A magnifying glass: the picture around the pointer, larger, from its own pixels and not from those of the screen.

import { h } from "./dom.js";

/** @typedef {import("./viewport.js").Viewport} Viewport */

/** CSS pixels across. */
const SIZE = 240;
/** Times the picture under it, and device pixels an image pixel has at least. */
const FACTOR = 2.5;
const LEAST = 2;

export class Lens {
  #canvas = h("canvas.lens", { "aria-hidden": "true" });

  /** @param {Viewport} viewport @param {number} clientX @param {number} clientY */
  show(viewport, clientX, clientY) {
    const { painted, picture, matrix } = viewport;
    if (!painted || !picture || !matrix) {
      this.hide();
      return;
    }
    const size = Math.round(SIZE * devicePixelRatio);
    if (this.#canvas.width !== size) this.#canvas.width = this.#canvas.height = size;
    const [x, y] = viewport.toImage(clientX, clientY);
    const factor = Math.max(FACTOR, LEAST / viewport.view.zoom);
    const [a, b, c, d] = matrix.slice(0, 4).map((v) => v * factor);
    if (a === undefined || b === undefined || c === undefined || d === undefined) return;
    const context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d", { alpha: false }));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, size, size);
    // The point under the pointer stays in the middle.
    context.setTransform(a, b, c, d, size / 2 - a * x - c * y, size / 2 - b * x - d * y);
    const { image } = painted.entry;
    context.imageSmoothingEnabled = factor * viewport.view.zoom < 8;
    if (viewport.inverted && image.kind !== "grey") context.filter = "invert(1)";
    context.drawImage(picture, 0, 0, image.columns, image.rows);
    context.filter = "none";
    const box = viewport.element.getBoundingClientRect();
    this.#canvas.style.left = `${clientX - box.left - SIZE / 2}px`;
    this.#canvas.style.top = `${clientY - box.top - SIZE / 2}px`;
    if (this.#canvas.parentElement !== viewport.element) viewport.element.append(this.#canvas);
  }

  hide() {
    this.#canvas.remove();
  }
}
