// @ts-check
// What viewports have to do with each other: those that show the same part of a patient scroll together, and each shows
// as lines where the others' frames cut its own.

import { fill } from "./dom.js";
import { crossing, nearest, placed } from "./positions.js";

/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {import("./layout.js").Layout} Layout */

const SVG = "http://www.w3.org/2000/svg";

export class Linking {
  /** Whether the others follow. */
  together = true;
  /** Whether lines are shown. */
  lines = true;

  /** @param {Layout} layout */
  constructor(layout) {
    this.layout = layout;
  }

  /** The viewport goes to another frame, and the others where that is. @param {Viewport} moved */
  follow(moved) {
    const to = this.together && moved.entry && placed(moved.entry);
    if (!to) return;
    for (const other of this.layout.shown) {
      const index = other !== moved && other.stack ? nearest(other.stack, to) : -1;
      if (index >= 0) other.show(index);
    }
  }

  /** Another frame is painted in a viewport: its lines in the others move. @param {Viewport} shown */
  redraw(shown) {
    for (const other of this.layout.shown) if (other !== shown) other.updateLayers();
  }

  /** Opens a stack in a cell: the others stay, for it goes to them. @param {() => void} open */
  quietly(open) {
    const { together } = this;
    this.together = false;
    open();
    this.together = together;
  }

  /** Where a stack begins in a cell: where the others are, or at its first frame. @param {import("./stack.js").Stack} stack @param {Viewport} cell */
  placeFor(stack, cell) {
    if (!this.together) return 0;
    for (const other of this.layout.shown) {
      const to = other !== cell && other.entry && placed(other.entry);
      const index = to ? nearest(stack, to) : -1;
      if (index >= 0) return index;
    }
    return 0;
  }

  /** @param {{together?: boolean, lines?: boolean}} change */
  set(change) {
    Object.assign(this, change);
    if (change.together) this.follow(this.layout.active);
    for (const viewport of this.layout.shown) viewport.updateLayers();
  }
}

/** The lines over one viewport. */
export class ReferenceLines {
  element = document.createElementNS(SVG, "svg");

  /** @param {() => Linking} linking asked for when there is something to draw: the first cell is older than it */
  constructor(linking) {
    this.linking = linking;
    this.element.setAttribute("class", "reference-lines");
    this.element.setAttribute("aria-hidden", "true");
  }

  /** @param {Viewport} viewport */
  update(viewport) {
    fill(this.element, ...this.#lines(viewport));
  }

  /** @param {Viewport} viewport @returns {SVGElement[]} */
  #lines(viewport) {
    const on = viewport.painted && placed(viewport.painted.entry);
    if (!on || !this.linking().lines) return [];
    const { layout } = this.linking();
    return layout.shown.flatMap((other) => {
      if (other === viewport || !other.painted || !other.stack) return [];
      const active = other === layout.active;
      // Where its stack begins and ends is told of the active one only, or there would be too many lines.
      const ends = active && other.length > 1 ? [other.stack.entries[0], other.stack.entries.at(-1)] : [];
      return [...ends.map((entry) => ({ entry, name: "reference-line is-end" })), { entry: other.painted.entry, name: active ? "reference-line is-active" : "reference-line" }].flatMap(({ entry, name }) => {
        const cut = entry && placed(entry);
        const found = cut && crossing(cut, on);
        return found ? [line(viewport.toScreen(found[0]), viewport.toScreen(found[1]), name)] : [];
      });
    });
  }
}

/** @param {[number, number]} a @param {[number, number]} b CSS pixels @param {string} name */
function line(a, b, name) {
  const element = document.createElementNS(SVG, "line");
  const places = { x1: a[0], y1: a[1], x2: b[0], y2: b[1] };
  for (const [key, value] of Object.entries(places)) element.setAttribute(key, value.toFixed(2));
  element.setAttribute("class", name);
  return element;
}
