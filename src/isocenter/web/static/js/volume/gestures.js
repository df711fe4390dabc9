// @ts-check
// Mouse, pen, touch and wheel on the panes. What a press lies on comes first (the crossing, a line, its handle); elsewhere
// the left button does what the chosen tool says, as in the stack.

import { HeldValue } from "../held.js";
import { dot, minus, add } from "./vectors.js";

/** @typedef {import("./room.js").VolumeRoom} VolumeRoom */
/** @typedef {import("./pane.js").Pane} Pane */
/** @typedef {import("./pane.js").Spot} Spot */
/** @typedef {(spot: Spot, dx: number, dy: number) => void} Move by CSS pixels */

const WHEEL_PIXELS = 40;
const SCROLL_PIXELS = 6;

/** @param {VolumeRoom} room */
export function attachGestures(room) {
  for (const pane of room.panes) {
    const held = new HeldValue(pane.element, (x, y) => room.read(pane, x, y));
    attachPointer(pane.element, (event) => grasp(room, pane, event, held), (factor, dx, dy) => two(room, pane, factor, dx, dy), held);
    pane.element.addEventListener("pointermove", (event) => {
      room.probe(pane, event);
      if (event.buttons === 0) pane.element.dataset.grip = pane.grip(pane.spot(event.clientX, event.clientY))?.kind ?? "";
    });
    pane.element.addEventListener("pointerleave", () => room.probe(null));
    pane.element.addEventListener("dblclick", (event) => room.state.moveTo(pane.toPatient(pane.spot(event.clientX, event.clientY))));
    attachWheel(pane.element, (steps) => room.state.step(pane.name, steps), (factor, event) => room.state.zoom(pane.name, factor, pane.toPatient(pane.spot(event.clientX, event.clientY))));
  }
  const { scene } = room;
  attachPointer(
    scene.element,
    (event) => (event.button === 2 || event.ctrlKey ? (_, __, dy) => scene.zoom(Math.exp(-dy / 150)) : (_, dx, dy) => scene.turn(dx, dy)),
    (factor) => scene.zoom(factor),
  );
  attachWheel(scene.element, (steps) => scene.zoom(Math.exp(-steps / 8)), (factor) => scene.zoom(factor));
}

/** What a press on a plane moves. @param {VolumeRoom} room @param {Pane} pane @param {PointerEvent} event @param {HeldValue} held @returns {Move} */
function grasp(room, pane, event, held) {
  const { state } = room;
  const begin = pane.spot(event.clientX, event.clientY);
  const plain = event.button === 0 && !event.shiftKey && !event.ctrlKey && !event.metaKey;
  const grip = plain ? pane.grip(begin, event.pointerType === "touch") : null;
  const mm = (/** @type {number} */ css) => css * devicePixelRatio * pane.scale;
  // What is taken hold of beside its middle stays as far from the pointer: nothing jumps, least of all under a finger.
  if (grip?.kind === "centre") {
    const [cx, cy] = pane.toCanvas(state.point);
    const [beside, below] = [begin[0] - cx, begin[1] - cy];
    return ([x, y]) => state.moveTo(add(state.point, minus(pane.toPatient([x - beside, y - below]), pane.toPatient(pane.toCanvas(state.point)))));
  }
  if (grip?.kind === "line") {
    // A line goes where the pointer is, and not along itself.
    const away = (/** @type {Spot} */ spot) => dot(minus(pane.toPatient(spot), state.point), state.frame(grip.plane).into);
    const first = away(begin);
    return (spot) => state.moveTo(add(state.point, state.frame(grip.plane).into, away(spot) - first));
  }
  if (grip?.kind === "handle") {
    let before = bearing(pane, begin);
    return (spot) => {
      const now = bearing(pane, spot);
      state.turnOthers(pane.name, now - before, event.altKey ? [grip.plane] : undefined);
      before = now;
    };
  }
  if (event.pointerType === "touch") held.begin(event);
  const tool = room.tools.forPointer(event);
  if (tool === "pan") return (_, dx, dy) => state.pan(pane.name, mm(dx), mm(dy));
  if (tool === "zoom") {
    const fixed = pane.toPatient(begin);
    return (_, __, dy) => state.zoom(pane.name, Math.exp(-dy / 150), fixed);
  }
  if (tool === "scroll") {
    let rest = 0;
    return (_, __, dy) => {
      rest += dy;
      const steps = Math.trunc(rest / SCROLL_PIXELS);
      rest -= steps * SCROLL_PIXELS;
      if (steps) state.step(pane.name, steps);
    };
  }
  return (_, dx, dy) => room.dragWindow(dx, dy);
}

/** Direction from the crossing to a spot, clockwise from the right. @param {Pane} pane @param {Spot} spot */
function bearing(pane, [x, y]) {
  const [cx, cy] = pane.toCanvas(pane.room.state.point);
  return Math.atan2(y - cy, x - cx);
}

/** Two fingers on a plane: apart enlarges, together moves. @param {VolumeRoom} room @param {Pane} pane @param {number} factor @param {number} dx @param {number} dy */
function two(room, pane, factor, dx, dy) {
  const mm = devicePixelRatio * pane.scale;
  room.state.pan(pane.name, dx * mm, dy * mm);
  room.state.zoom(pane.name, factor);
}

/**
 * @param {HTMLElement} element @param {(event: PointerEvent) => Move} begin
 * @param {(factor: number, dx: number, dy: number) => void} pinched @param {HeldValue | null} [held] reads under a finger that rests
 */
function attachPointer(element, begin, pinched, held = null) {
  /** @type {Map<number, {x: number, y: number}>} */
  const pointers = new Map();
  /** @type {Move | null} */
  let move = null;
  const spot = (/** @type {PointerEvent} */ event) => {
    const box = element.getBoundingClientRect();
    return /** @type {Spot} */ ([(event.clientX - box.left) * devicePixelRatio, (event.clientY - box.top) * devicePixelRatio]);
  };
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("pointerdown", (event) => {
    if (event.target instanceof Element && event.target.closest("button, select")) return;
    element.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    held?.end();
    move = pointers.size === 1 ? begin(event) : null;
    if (event.button === 1) event.preventDefault();
  });
  element.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (held?.move(event)) move = null;
    else if (pointers.size === 2 && other) {
      const before = Math.hypot(last.x - other.x, last.y - other.y);
      const after = Math.hypot(event.clientX - other.x, event.clientY - other.y);
      if (before > 0 && after > 0) pinched(after / before, dx / 2, dy / 2);
    } else move?.(spot(event), dx, dy);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  const end = (/** @type {PointerEvent} */ event) => {
    pointers.delete(event.pointerId);
    move = null;
    held?.end();
  };
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
}

/** @param {HTMLElement} element @param {(steps: number) => void} step @param {(factor: number, event: WheelEvent) => void} zoom */
function attachWheel(element, step, zoom) {
  let rest = 0;
  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      element.focus({ preventScroll: true });
      const pixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * WHEEL_PIXELS;
      if (event.ctrlKey || event.metaKey) {
        zoom(Math.exp(-pixels / 400), event);
        return;
      }
      // A mouse's notch is one step however far it says it went; a touch pad's small steps add up.
      rest = Math.abs(pixels) >= WHEEL_PIXELS ? Math.sign(pixels) * WHEEL_PIXELS : rest + pixels;
      const steps = Math.trunc(rest / WHEEL_PIXELS);
      rest -= steps * WHEEL_PIXELS;
      if (steps) step(steps);
    },
    { passive: false },
  );
}
