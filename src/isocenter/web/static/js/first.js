// @ts-check
// The first image of a page, ahead of the viewer around it and of its code. The server says in the page which frame that
// is and how its samples become greys, and has the browser ask for it with the page itself (web/pages.py): what paints
// it comes first, and everything else when it is on the screen. The viewer takes canvas and frame over as they are.

import { defaultView, drawPicture, fitZoom } from "./geometry.js";
import { TABLE_SIZE, applyTable, automaticWindow, drivenGreys, fillTable } from "./greys.js";
import { unpack } from "./pixels.js";

/** @typedef {import("./multipart.js").Part} Part */
/**
 * How samples become greys (pixels/plain.py).
 * @typedef {object} PlainGreys
 * @property {number} bitsAllocated
 * @property {number} bitsStored
 * @property {boolean} signed
 * @property {number} slope
 * @property {number} intercept
 * @property {import("./image.js").Window | null} window
 * @property {boolean} inverse
 * @property {[number, number] | null} padding
 */
/**
 * What the server says of the first image: without `greys` it is one that the server makes a picture of.
 * @typedef {{study: string, series: string, instance: string, frame: number, rows: number, columns: number, aspect: number, coloured: boolean, greys: PlainGreys | null}} Told
 */
/** What hands do before there is somebody to answer them. @typedef {KeyboardEvent | WheelEvent | PointerEvent} Early */
/**
 * What is on the screen: `part` is the frame as it came, where its samples did. `kept` gives what hands did meanwhile, in
 * its order, and ends its keeping.
 * @typedef {{told: Told, part: Part | null, canvas: HTMLCanvasElement, element: HTMLElement, kept: () => Early[]}} First
 */

/** Events that are kept: more than a hand makes meanwhile. A drag that goes on makes up for what was left out of its way. */
const MOST_KEPT = 1024;

/** @param {string} tag @param {string} names classes @param {...Element} children */
function made(tag, names, ...children) {
  const element = document.createElement(tag);
  element.className = names;
  element.append(...children);
  return element;
}

/** The levels of the display; its code only where some display is calibrated. @returns {Promise<Uint16Array | null>} */
async function drivingLevels() {
  try {
    if (!Object.keys(localStorage).some((key) => key.startsWith("isocenter-display:"))) return null;
  } catch {
    return null; // storage is forbidden here: nothing was kept
  }
  const { display } = await import("./display/screen.js");
  await display.load();
  return display.levels;
}

/**
 * The frame, in its own size.
 * @param {Told} told @param {Uint8Array} bytes @param {PlainGreys} greys @param {Uint16Array | null} levels of the display
 */
function pictureOf({ rows, columns }, bytes, greys, levels) {
  const { slope, intercept, inverse, padding } = greys;
  /** @type {any} as much of an Image as is asked for here */
  const image = { ...greys, rows, columns, samples: 1, kind: "grey", largestSegment: 0 };
  const frame = /** @type {import("./pixels.js").ValueFrame} */ (unpack(bytes, image));
  /** @type {import("./greys.js").GreyTransform} */
  const transform = { slope, intercept, modalityLut: null, voi: { kind: "window", center: 0, width: 1, function: "LINEAR" }, inverse, padding };
  transform.voi = { kind: "window", ...(greys.window ?? automaticWindow(transform, frame, image)) };
  const table = new Uint32Array(TABLE_SIZE);
  fillTable(table, transform, frame.low, frame.high, levels);
  const pixels = new ImageData(columns, rows);
  applyTable(new Uint32Array(pixels.data.buffer), frame.pixels, table);
  return painted(columns, rows, (context) => context.putImageData(pixels, 0, 0));
}

/** The server's picture as this display shows it. @param {Told} told @param {ImageBitmap} bitmap @param {Uint16Array | null} levels */
function drivenPicture({ coloured }, bitmap, levels) {
  if (!levels || coloured) return bitmap;
  return painted(bitmap.width, bitmap.height, (context) => {
    context.drawImage(bitmap, 0, 0);
    const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height);
    drivenGreys(new Uint32Array(pixels.data.buffer), levels, false);
    context.putImageData(pixels, 0, 0);
  });
}

/** @param {number} width @param {number} height @param {(context: CanvasRenderingContext2D) => void} paint */
function painted(width, height, paint) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  paint(/** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")));
  return canvas;
}

/** @param {Event} event @returns {boolean} whether it is the picture that is meant: what has a button has somebody to answer it */
const isOfPicture = ({ target }) => target instanceof Element && target.closest(".viewport") !== null && !target.closest("button, input");

/** Keeps keys, the wheel and drags of the picture from everybody until somebody knows what they mean. @returns {First["kept"]} */
function keeper() {
  /** @type {Early[]} */
  const kept = [];
  /** Pointers that are down on the picture. @type {Set<number>} */
  const down = new Set();
  const press = (/** @type {KeyboardEvent | WheelEvent} */ event) => {
    event.stopImmediatePropagation();
    if (event.type === "wheel") event.preventDefault(); // which the viewer does, too: nothing on the page moves by it
    if (kept.length < MOST_KEPT) kept.push(event);
  };
  const drag = (/** @type {PointerEvent} */ event) => {
    const { type, pointerId } = event;
    if (type === "pointerdown" && isOfPicture(event) && kept.length < MOST_KEPT) down.add(pointerId);
    if (!down.has(pointerId)) return;
    event.stopImmediatePropagation();
    if (type === "pointerdown" && event.button === 1) event.preventDefault(); // as the viewer: it does not scroll the page
    const ends = type === "pointerup" || type === "pointercancel";
    if (ends) down.delete(pointerId);
    if (ends || kept.length < MOST_KEPT) kept.push(event);
  };
  const menu = (/** @type {Event} */ event) => void (isOfPicture(event) && event.preventDefault()); // the right button drags
  /** @type {[string, (event: any) => void][]} */
  const listeners = [["keydown", press], ["wheel", press], ["contextmenu", menu]];
  for (const type of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) listeners.push([type, drag]);
  const how = { capture: true, passive: false };
  for (const [type, listener] of listeners) addEventListener(type, listener, how);
  return () => {
    for (const [type, listener] of listeners) removeEventListener(type, listener, how);
    return kept.splice(0);
  };
}

/** @param {Told} told @returns {Promise<First | null>} when it is painted; null where it cannot be, and then the viewer says why */
async function show(told) {
  const canvas = /** @type {HTMLCanvasElement} */ (made("canvas", "picture"));
  const viewport = made("section", "viewport is-empty", canvas);
  const centre = made("div", "centre", made("div", "grid", viewport), made("div", "scrubber"));
  const element = made("main", "viewer-page", made("header", "bar"), made("div", "stage", made("nav", "series-strip"), centre));
  element.setAttribute("aria-busy", "true");
  document.getElementById("app")?.append(element);
  const kept = keeper();
  try {
    // Letter by letter what the page asked for, or it would come twice.
    const { href } = /** @type {HTMLLinkElement} */ (document.querySelector("link[as=fetch]"));
    const [answer, levels] = await Promise.all([fetch(href, { credentials: "same-origin" }), drivingLevels()]);
    const contentType = answer.headers.get("content-type") ?? "";
    // A frame that says of its samples what the header does not, is read by who knows all of the header.
    if (!answer.ok || contentType.includes("bits-stored=")) throw new RangeError("no such frame");
    const body = told.greys ? new Uint8Array(await answer.arrayBuffer()) : null;
    const picture = told.greys && body ? pictureOf(told, body, told.greys, levels) : drivenPicture(told, await createImageBitmap(await answer.blob()), levels);
    canvas.width = Math.max(1, Math.round(viewport.clientWidth * devicePixelRatio));
    canvas.height = Math.max(1, Math.round(viewport.clientHeight * devicePixelRatio));
    const view = defaultView();
    view.zoom = fitZoom(view, told.columns, told.rows, told.aspect, canvas.width, canvas.height);
    drawPicture(/** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false })), picture, view, told);
    return { told, part: body && { contentType, body }, canvas, element, kept };
  } catch {
    kept();
    element.remove();
    return null;
  }
}

const said = document.getElementById("app")?.dataset.first;
/** @type {Promise<First | null>} */
export const first = said ? show(JSON.parse(said)) : Promise.resolve(null);
void first.then(async (shown) => {
  // What follows is to wait until the picture is on the screen, which comes with the next animation frame.
  if (shown) await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0)));
  const later = document.getElementById("later");
  if (later instanceof HTMLTemplateElement) document.head.append(later.content);
  void import("./main.js");
});
