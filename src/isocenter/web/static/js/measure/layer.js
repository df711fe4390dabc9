// @ts-check
// The shapes of the painted frame over its picture, as SVG: sharp at every zoom, and each part can be taken hold of.

import { fill } from "../dom.js";
import { box, lines } from "./shapes.js";
import { spacingAt } from "./spacing.js";

/** @typedef {import("../viewport.js").Viewport} Viewport */
/** @typedef {import("./shapes.js").Shape} Shape */
/** @typedef {import("./spacing.js").Point} Point */
/** @typedef {import("./book.js").Book} Book */

const SVG = "http://www.w3.org/2000/svg";
/** Height of a line of text, and its distance from the shape, in CSS pixels. */
const LINE = 15;
const BESIDE = 10;

/** @param {string} name @param {Record<string, string | number>} attributes @param {...(Node | string)} children */
function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, typeof value === "number" ? String(Math.round(value * 100) / 100) : value);
  element.append(...children);
  return element;
}

export class Layer {
  element = svg("svg", { class: "shapes" });

  /** @param {Book} book */
  constructor(book) {
    this.book = book;
  }

  /** @param {Viewport} viewport */
  update(viewport) {
    const { painted } = viewport;
    // A state may have turned and cut the image: what was drawn on it would be elsewhere.
    const shapes = painted && !painted.entry.image.state ? this.book.shapes(painted.entry) : [];
    if (!painted || shapes.length === 0) {
      if (this.element.childElementCount > 0) fill(this.element);
      return;
    }
    const { image, frame } = painted.entry;
    const values = viewport.values;
    fill(
      this.element,
      ...shapes.map((shape) => {
        const words = lines(shape, spacingAt(image, frame, shape.points[0] ?? [0, 0]), values);
        return this.#draw(shape, shape.points.map((point) => viewport.toScreen(point)), words);
      }),
    );
  }

  /** @param {Shape} shape @param {Point[]} at on the screen @param {string[]} words */
  #draw(shape, at, words) {
    const selected = shape.id === this.book.selected;
    const group = svg("g", { class: selected ? "shape is-selected" : "shape", "data-shape": shape.id });
    for (const d of outline(shape, at)) group.append(svg("path", { class: "shape-grip", d }), svg("path", { class: "shape-under", d }), svg("path", { class: "shape-line", d }));
    at.forEach(([cx, cy], i) => group.append(svg("circle", { class: "shape-handle", cx, cy, r: 5, "data-point": i })));
    const [x, y] = beside(shape, at);
    group.append(svg("text", { class: "shape-text", x, y }, ...words.map((word, i) => svg("tspan", { x, dy: i === 0 ? 0 : LINE }, word))));
    return group;
  }
}

/** @param {Shape} shape @param {Point[]} at @returns {string[]} paths */
function outline(shape, at) {
  const [a, b] = at;
  if (!a) return [];
  const line = (/** @type {Point[]} */ points) => `M${points.map(([x, y]) => `${x.toFixed(2)} ${y.toFixed(2)}`).join("L")}`;
  switch (shape.kind) {
    case "probe":
      return [line([[a[0] - 7, a[1]], [a[0] + 7, a[1]]]) + line([[a[0], a[1] - 7], [a[0], a[1] + 7]])];
    case "rectangle": {
      const { left, top, right, bottom } = box(at);
      return b ? [`${line([[left, top], [right, top], [right, bottom], [left, bottom]])}Z`] : [];
    }
    case "ellipse": {
      const { left, top, right, bottom } = box(at);
      const [rx, ry, middle] = [(right - left) / 2, (bottom - top) / 2, (top + bottom) / 2];
      return b ? [`M${left} ${middle}A${rx} ${ry} 0 1 1 ${right} ${middle}A${rx} ${ry} 0 1 1 ${left} ${middle}Z`] : [];
    }
    case "cobb":
      return [line(at.slice(0, 2)), ...(at.length > 2 ? [line(at.slice(2))] : [])];
    case "arrow": {
      if (!b) return [];
      // The head is where the drawing began: one points at a thing and then goes aside to write.
      const direction = Math.atan2(b[1] - a[1], b[0] - a[0]);
      const wing = (/** @type {number} */ turn) => /** @type {Point} */ ([a[0] + 12 * Math.cos(direction + turn), a[1] + 12 * Math.sin(direction + turn)]);
      return [line([a, b]) + line([wing(0.45), a, wing(-0.45)])];
    }
    default:
      return b ? [line(at)] : [];
  }
}

/** @param {Shape} shape @param {Point[]} at @returns {Point} where its text begins */
function beside(shape, at) {
  if (shape.kind === "rectangle" || shape.kind === "ellipse") {
    const { right, top } = box(at);
    return [right + BESIDE, top + LINE];
  }
  const [, written] = shape.kind === "arrow" ? at : [];
  const end = written ?? /** @type {Point} */ (at.reduce((one, other) => (other[0] > one[0] ? other : one), at[0] ?? [0, 0]));
  return [end[0] + BESIDE, end[1] + 4];
}
