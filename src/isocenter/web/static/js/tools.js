// @ts-check
// Mouse, pen, touch and wheel on a viewport. The left button and one finger do what the chosen tool says; the others are
// always the same. A finger that rests reads the value under it, as there is no pointer to hover with.

import { probeWords } from "./format.js";
import { HeldValue } from "./held.js";

/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {import("./lens.js").Lens} Lens */
/** @typedef {import("./measure/shapes.js").ShapeKind} ShapeKind */
/** @typedef {"window" | "zoom" | "pan" | "scroll" | "magnify" | ShapeKind} ToolName */

const MOVING = new Set(["window", "zoom", "pan", "scroll", "magnify"]);

/** Chosen tool, shared by all viewports. */
export class ToolBox extends EventTarget {
  /** @type {ToolName} */
  active = "window";

  /** @param {ToolName} name */
  choose(name) {
    this.active = name;
    this.dispatchEvent(new Event("change"));
  }

  /** What the chosen tool draws, if it does. @returns {ShapeKind | null} */
  get drawing() {
    return MOVING.has(this.active) ? null : /** @type {ShapeKind} */ (this.active);
  }

  /** Middle button pans and right button zooms, as everywhere. @param {PointerEvent} event @returns {ToolName} */
  forPointer(event) {
    if (event.button === 1) return "pan";
    if (event.button === 2) return "zoom";
    if (event.shiftKey) return "pan";
    if (event.ctrlKey || event.metaKey) return "zoom";
    return this.active;
  }
}

const SCROLL_PIXELS = 12;
const WHEEL_PIXELS = 40;

class Drag {
  #scrolled = 0;

  /** @param {Viewport} viewport @param {ToolName} tool @param {number} x @param {number} y start, client CSS pixels @param {Lens} lens */
  constructor(viewport, tool, x, y, lens) {
    this.viewport = viewport;
    this.tool = tool;
    this.lens = lens;
    /** @type {[number, number]} */
    this.at = [x, y];
    this.anchor = viewport.toCanvas(x, y);
    this.startIndex = viewport.index;
    if (tool === "magnify") lens.show(viewport, x, y);
  }

  end() {
    this.lens.hide();
  }

  /** @param {number} dx @param {number} dy CSS pixels since the last move */
  move(dx, dy) {
    const { viewport } = this;
    this.at = [this.at[0] + dx, this.at[1] + dy];
    if (this.tool === "magnify") this.lens.show(viewport, ...this.at);
    else if (this.tool === "window") viewport.dragWindow(dx, dy);
    else if (this.tool === "pan") viewport.panBy(dx, dy);
    else if (this.tool === "zoom") viewport.zoomBy(Math.exp(-dy / 150), ...this.anchor);
    else {
      this.#scrolled += dy;
      const height = viewport.element.clientHeight;
      const perStep = Math.min(SCROLL_PIXELS, Math.max(2, height / Math.max(1, viewport.length)));
      viewport.show(this.startIndex + Math.round(this.#scrolled / perStep));
    }
  }
}

/** @param {HTMLElement} element @param {number} pointer */
function capture(element, pointer) {
  try {
    element.setPointerCapture(pointer);
  } catch (error) {
    // A touch from before the viewer was here (first.js) may be over by now.
    if (!(error instanceof DOMException && error.name === "NotFoundError")) throw error;
  }
}

/**
 * @param {Viewport} viewport @param {ToolBox} tools
 * @param {{activate: (viewport: Viewport) => void, probe: (viewport: Viewport, event: PointerEvent | null) => void, pen: import("./measure/pen.js").Pen, lens: Lens}} hooks
 */
export function attachTools(viewport, tools, hooks) {
  const { element } = viewport;
  /** @type {Map<number, {x: number, y: number}>} */
  const pointers = new Map();
  /** @type {Drag | null} */
  let drag = null;
  const held = new HeldValue(element, (x, y) => probeWords(viewport.probe(x, y)));

  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("pointerdown", (event) => {
    if (event.target instanceof Element && event.target.closest("button, input")) return;
    hooks.activate(viewport);
    capture(element, event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const plain = event.button === 0 && !event.shiftKey && !event.ctrlKey && !event.metaKey;
    const drawn = plain && pointers.size === 1 && hooks.pen.down(viewport, event, tools.drawing);
    // A second finger means that the first did not want to draw.
    if (pointers.size > 1) hooks.pen.cancel();
    drag?.end();
    held.end();
    if (event.pointerType === "touch" && pointers.size === 1 && !drawn) held.begin(event);
    drag = pointers.size === 1 && !drawn ? new Drag(viewport, tools.forPointer(event), event.clientX, event.clientY, hooks.lens) : null;
    if (event.button === 1) event.preventDefault();
  });
  element.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) {
      hooks.pen.move(event);
      hooks.probe(viewport, event);
      return;
    }
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    if (held.move(event)) drag = null;
    else if (pointers.size === 2) pinch(viewport, pointers, event);
    else if (drag) drag.move(dx, dy);
    else hooks.pen.move(event);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  const end = (/** @type {PointerEvent} */ event) => {
    const known = pointers.delete(event.pointerId);
    if (known && !drag && event.type === "pointerup") hooks.pen.up(event);
    else if (event.type === "pointercancel") hooks.pen.cancel();
    drag?.end();
    drag = null;
    held.end();
  };
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
  element.addEventListener("pointerleave", () => hooks.probe(viewport, null));
  element.addEventListener("dblclick", () => tools.drawing || viewport.fit());
  attachWheel(viewport, hooks.activate);
}

/** @param {Viewport} viewport @param {Map<number, {x: number, y: number}>} pointers @param {PointerEvent} event one of two fingers moved */
function pinch(viewport, pointers, event) {
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  const last = pointers.get(event.pointerId);
  if (!other || !last) return;
  const before = Math.hypot(last.x - other.x, last.y - other.y);
  const after = Math.hypot(event.clientX - other.x, event.clientY - other.y);
  viewport.panBy((event.clientX - last.x) / 2, (event.clientY - last.y) / 2);
  if (before > 0) viewport.zoomBy(after / before, ...viewport.toCanvas((event.clientX + other.x) / 2, (event.clientY + other.y) / 2));
}

/** @param {Viewport} viewport @param {(viewport: Viewport) => void} activate */
function attachWheel(viewport, activate) {
  let rest = 0;
  viewport.element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      activate(viewport);
      const pixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * WHEEL_PIXELS;
      if (event.ctrlKey || event.metaKey) {
        viewport.zoomBy(Math.exp(-pixels / 400), ...viewport.toCanvas(event.clientX, event.clientY));
        return;
      }
      // A mouse's notch is one slice however far it says it went; a touch pad's small steps add up.
      if (Math.abs(pixels) >= WHEEL_PIXELS) {
        rest = 0;
        viewport.show(viewport.index + Math.sign(pixels));
        return;
      }
      rest += pixels;
      const steps = Math.trunc(rest / WHEEL_PIXELS);
      if (steps !== 0) {
        rest -= steps * WHEEL_PIXELS;
        viewport.show(viewport.index + steps);
      }
    },
    { passive: false },
  );
}
