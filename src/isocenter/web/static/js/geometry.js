// @ts-check
// Where pixels are: on the screen (zoom, pan, turn, mirror) and in the patient (PS3.3 C.7.6.2.1.1).

/** @typedef {import("./image.js").FramePlane} FramePlane */
/**
 * Zoom is in device pixels per image column; pan in device pixels from the centre; turn in quarter turns clockwise.
 * @typedef {{zoom: number, panX: number, panY: number, turn: number, flipX: boolean, flipY: boolean}} View
 */
/** a, b, c, d, e, f of CanvasRenderingContext2D.setTransform @typedef {[number, number, number, number, number, number]} Matrix */

/** Name in the browser's performance timeline of the page's first picture. */
const FIRST = "isocenter-first-image";

/** @returns {View} */
export function defaultView() {
  return { zoom: 1, panX: 0, panY: 0, turn: 0, flipX: false, flipY: false };
}

/** @param {readonly number[]} a @param {readonly number[]} b */
export const dot = (a, b) => a.reduce((sum, v, i) => sum + v * (b[i] ?? 0), 0);

/** @param {number[]} orientation six cosines @returns {number[]} normal of the slice */
export function normal(orientation) {
  const [rx = 0, ry = 0, rz = 0, cx = 0, cy = 0, cz = 0] = orientation;
  return [ry * cz - rz * cy, rz * cx - rx * cz, rx * cy - ry * cx];
}

/** Distance of the slice along its normal in mm; null when the header does not place it. @param {FramePlane} plane */
export function sliceDistance(plane) {
  if (plane.orientation.length !== 6 || plane.position.length !== 3) return null;
  return dot(normal(plane.orientation), plane.position);
}

/**
 * Image coordinates to canvas device pixels.
 * @param {View} view @param {number} columns @param {number} rows @param {number} aspect pixel height over width
 * @param {number} width canvas @param {number} height canvas @returns {Matrix}
 */
export function imageToCanvas(view, columns, rows, aspect, width, height) {
  const sx = view.zoom * (view.flipX ? -1 : 1);
  const sy = view.zoom * aspect * (view.flipY ? -1 : 1);
  const [cos, sin] = quarter(view.turn);
  const a = cos * sx;
  const b = sin * sx;
  const c = -sin * sy;
  const d = cos * sy;
  let e = width / 2 + view.panX - (a * columns + c * rows) / 2;
  let f = height / 2 + view.panY - (b * columns + d * rows) / 2;
  if (Number.isInteger(view.zoom) && aspect === 1) {
    // Whole pixels on whole pixels: no resampling, greys on the screen are the computed greys.
    e = Math.round(e);
    f = Math.round(f);
  }
  return [a, b, c, d, e, f];
}

/** @param {number} turn quarter turns @returns {[number, number]} cosine and sine, exact */
function quarter(turn) {
  return /** @type {[number, number][]} */ ([[1, 0], [0, 1], [-1, 0], [0, -1]])[((turn % 4) + 4) % 4] ?? [1, 0];
}

/** @param {Matrix} m @param {number} x @param {number} y canvas @returns {[number, number]} image column, row (continuous) */
export function canvasToImage(m, x, y) {
  const [a, b, c, d, e, f] = m;
  const det = a * d - b * c;
  return [(d * (x - e) - c * (y - f)) / det, (a * (y - f) - b * (x - e)) / det];
}

/**
 * The column and row in the middle of the canvas, under a pan.
 * @param {Matrix} m @param {number} columns @param {number} rows @param {number} panX @param {number} panY @returns {[number, number]}
 */
export function inTheMiddle([a, b, c, d], columns, rows, panX, panY) {
  const [dx, dy] = canvasToImage([a, b, c, d, 0, 0], panX, panY);
  return [columns / 2 - dx, rows / 2 - dy];
}

/**
 * The pan under which a column and row are in the middle. These are rounded where an address tells them: what was moved by
 * whole pixels comes back so, or every pixel would be resampled otherwise.
 * @param {Matrix} m @param {number} columns @param {number} rows @param {[number, number]} at @returns {[number, number]}
 */
export function panTo([a, b, c, d], columns, rows, [x, y]) {
  const [dx, dy] = [columns / 2 - x, rows / 2 - y];
  const exact = (/** @type {number} */ v) => (Math.abs(v - Math.round(v)) < 0.01 ? Math.round(v) : v);
  return [exact(a * dx + c * dy), exact(b * dx + d * dy)];
}

/**
 * Zoom at which the whole image is seen.
 * @param {View} view @param {number} columns @param {number} rows @param {number} aspect
 * @param {number} width @param {number} height @returns {number}
 */
export function fitZoom(view, columns, rows, aspect, width, height) {
  const lying = view.turn % 2 !== 0;
  const w = lying ? rows * aspect : columns;
  const h = lying ? columns : rows * aspect;
  return Math.max(0.01, Math.min(width / w, height / h));
}

/**
 * Draws a picture as it is seen, on black.
 * @param {CanvasRenderingContext2D} context @param {CanvasImageSource} picture @param {import("./geometry.js").View} view
 * @param {{columns: number, rows: number, aspect: number}} image @param {string} [filter] of colours
 */
export function drawPicture(context, picture, view, { columns, rows, aspect }, filter = "none") {
  const { width, height } = context.canvas;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  context.setTransform(...imageToCanvas(view, columns, rows, aspect, width, height));
  const whole = Number.isInteger(view.zoom) && aspect === 1;
  context.imageSmoothingEnabled = !(whole && view.zoom === 1) && view.zoom < 8;
  context.imageSmoothingQuality = view.zoom < 0.6 ? "medium" : "low";
  context.filter = filter;
  context.drawImage(picture, 0, 0, columns, rows);
  context.filter = "none";
  if (performance.getEntriesByName(FIRST).length === 0) performance.mark(FIRST);
}

/**
 * Letters for a direction in the patient, longest component first: +x is left, +y posterior, +z head.
 * @param {number[]} direction three cosines @returns {string}
 */
export function directionLetters(direction) {
  const names = [["R", "L"], ["A", "P"], ["F", "H"]];
  return direction
    .map((v, i) => ({ size: Math.abs(v), letter: names[i]?.[v > 0 ? 1 : 0] ?? "" }))
    .filter(({ size }) => size > 0.15)
    .sort((p, q) => q.size - p.size)
    .map(({ letter }) => letter)
    .join("");
}

/** @param {string} letters of Patient Orientation @returns {string} the opposite direction */
function opposite(letters) {
  /** @type {Record<string, string>} */
  const other = { R: "L", L: "R", A: "P", P: "A", F: "H", H: "F" };
  return [...letters].map((c) => other[c] ?? c).join("");
}

/**
 * Marker at each edge of the screen; empty strings when the header is silent.
 * @param {number[]} orientation Image Orientation (Patient) @param {string[]} patientOrientation row and column letters
 * @param {View} view @returns {{left: string, right: string, top: string, bottom: string}}
 */
export function edgeMarkers(orientation, patientOrientation, view) {
  let right = patientOrientation[0] ?? "";
  let bottom = patientOrientation[1] ?? "";
  if (orientation.length === 6) {
    right = directionLetters(orientation.slice(0, 3));
    bottom = directionLetters(orientation.slice(3));
  }
  if (!right || !bottom || !/^[RLAPFH]+$/.test(right + bottom)) return { left: "", right: "", top: "", bottom: "" };
  if (view.flipX) right = opposite(right);
  if (view.flipY) bottom = opposite(bottom);
  let edges = { right, bottom, left: opposite(right), top: opposite(bottom) };
  for (let i = 0; i < ((view.turn % 4) + 4) % 4; i += 1) {
    edges = { right: edges.top, bottom: edges.right, left: edges.bottom, top: edges.left };
  }
  return edges;
}

/**
 * A round length that fits `space` device pixels.
 * @param {number} mmPerPixel per device pixel @param {number} space @returns {{pixels: number, label: string}}
 */
export function scaleBar(mmPerPixel, space) {
  const limit = mmPerPixel * space;
  const power = 10 ** Math.floor(Math.log10(limit));
  const mm = ([5, 2, 1].find((step) => step * power <= limit) ?? 1) * power;
  const label = mm >= 10 ? `${mm / 10} cm` : mm >= 1 ? `${mm} mm` : `${Math.round(mm * 1000)} µm`;
  return { pixels: mm / mmPerPixel, label };
}
