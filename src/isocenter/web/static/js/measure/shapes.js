// @ts-check
// What can be drawn on a frame, and what it measures. Pure: points and numbers in, numbers and lines of text out.

/** @typedef {import("./spacing.js").Point} Point */
/** @typedef {import("./spacing.js").Spacing} Spacing */
/** @typedef {"length" | "angle" | "cobb" | "rectangle" | "ellipse" | "probe" | "arrow"} ShapeKind */
/** Rectangles and ellipses have two corners of the box around them. @typedef {{id: number, kind: ShapeKind, points: Point[], text: string}} Shape */
/** The values inside a shape. @typedef {{count: number, mean: number, deviation: number, least: number, most: number}} Statistics */
/**
 * What a frame says at its pixels. `at` is null where there is no image.
 * @typedef {{columns: number, rows: number, unit: string, code?: [string, string, string] | null, at: (column: number, row: number) => number | null}} Values
 */

/** @type {Record<ShapeKind, {points: number, label: string}>} */
export const KINDS = {
  length: { points: 2, label: "Length" },
  angle: { points: 3, label: "Angle" },
  cobb: { points: 4, label: "Cobb angle" },
  rectangle: { points: 2, label: "Rectangle" },
  ellipse: { points: 2, label: "Ellipse" },
  probe: { points: 1, label: "Value at a point" },
  arrow: { points: 2, label: "Arrow with text" },
};

/** @param {Point} a @param {Point} b @param {Spacing} s @returns {[number, number]} in the spacing's unit */
const step = (a, b, s) => [(b[0] - a[0]) * s.column, (b[1] - a[1]) * s.row];

/** @param {Point} a @param {Point} b @param {Spacing} s */
export function distance(a, b, s) {
  return Math.hypot(...step(a, b, s));
}

/** @param {[number, number]} p @param {[number, number]} q @returns {number} degrees, 0 to 180 */
function between(p, q) {
  return (Math.atan2(Math.abs(p[0] * q[1] - p[1] * q[0]), p[0] * q[0] + p[1] * q[1]) * 180) / Math.PI;
}

/** The angle at the middle one of three points. @param {Point[]} points @param {Spacing} s @returns {number} degrees */
export function angle([a, b, c], s) {
  return a && b && c ? between(step(b, a, s), step(b, c, s)) : 0;
}

/** The angle of two lines, whichever way they were drawn. @param {Point[]} points @param {Spacing} s @returns {number} 0 to 90 degrees */
export function cobb([a, b, c, d], s) {
  if (!a || !b || !c || !d) return 0;
  const found = between(step(a, b, s), step(c, d, s));
  return Math.min(found, 180 - found);
}

/** @param {Point[]} points @returns {{left: number, top: number, right: number, bottom: number}} */
export function box([a = [0, 0], b = a]) {
  return { left: Math.min(a[0], b[0]), top: Math.min(a[1], b[1]), right: Math.max(a[0], b[0]), bottom: Math.max(a[1], b[1]) };
}

/** @param {Shape} shape @param {Spacing} s @returns {number} in the unit's square */
export function area(shape, s) {
  const { left, top, right, bottom } = box(shape.points);
  const whole = (right - left) * s.column * (bottom - top) * s.row;
  return shape.kind === "ellipse" ? (whole * Math.PI) / 4 : whole;
}

/**
 * Of the pixels whose centres are in a rectangle or ellipse; the deviation is that of the population.
 * @param {Shape} shape @param {Values} values @returns {Statistics | null} null where there is no pixel
 */
export function statistics(shape, values) {
  const { left, top, right, bottom } = box(shape.points);
  const [cx, cy, rx, ry] = [(left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2];
  let [count, mean, squares, least, most] = [0, 0, 0, Infinity, -Infinity];
  for (let row = Math.max(0, Math.ceil(top - 0.5)); row <= Math.min(values.rows - 1, bottom - 0.5); row += 1) {
    for (let column = Math.max(0, Math.ceil(left - 0.5)); column <= Math.min(values.columns - 1, right - 0.5); column += 1) {
      if (shape.kind === "ellipse" && ((column + 0.5 - cx) / rx) ** 2 + ((row + 0.5 - cy) / ry) ** 2 > 1) continue;
      const value = values.at(column, row);
      if (value === null) continue;
      // Welford's way: sums of squares of large values would lose what the deviation is made of.
      count += 1;
      const off = value - mean;
      mean += off / count;
      squares += off * (value - mean);
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
  }
  return count > 0 ? { count, mean, deviation: Math.sqrt(squares / count), least, most } : null;
}

/** @param {number} n @param {number} digits */
const fixed = (n, digits) => n.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
/** @param {number} n */
const value = (n) => (Number.isInteger(n) ? String(n) : Math.abs(n) < 0.1 ? String(Number(n.toPrecision(3))) : fixed(n, Math.abs(n) < 10 ? 2 : 1));

/** @param {number} length @param {Spacing} s */
function lengthText(length, s) {
  if (s.unit === "px") return `${fixed(length, 1)} px`;
  return [length >= 100 ? `${fixed(length / 10, 1)} cm` : `${fixed(length, 1)} mm`, s.note].filter(Boolean).join(" ");
}

/** @param {number} size @param {Spacing} s */
function areaText(size, s) {
  if (s.unit === "px") return `${fixed(size, 0)} px²`;
  return [size >= 1000 ? `${fixed(size / 100, 1)} cm²` : `${fixed(size, 1)} mm²`, s.note].filter(Boolean).join(" ");
}

/**
 * What stands beside a shape.
 * @param {Shape} shape @param {Spacing} s @param {Values | null} values null for colour @returns {string[]}
 */
export function lines(shape, s, values) {
  const [a, b] = shape.points;
  if (!a) return [];
  const unit = values?.unit ? ` ${values.unit}` : "";
  switch (shape.kind) {
    case "length":
      return b ? [lengthText(distance(a, b, s), s)] : [];
    case "angle":
      return shape.points.length === 3 ? [`${fixed(angle(shape.points, s), 1)}°`] : [];
    case "cobb":
      return shape.points.length === 4 ? [`Cobb ${fixed(cobb(shape.points, s), 1)}°`] : [];
    case "probe": {
      const found = values?.at(Math.floor(a[0]), Math.floor(a[1]));
      return [found === undefined || found === null ? `${Math.floor(a[0])}, ${Math.floor(a[1])}` : `${value(found)}${unit}`];
    }
    case "arrow":
      return shape.text ? [shape.text] : [];
    default: {
      if (!b) return [];
      const found = values && statistics(shape, values);
      const size = areaText(area(shape, s), s);
      if (!found) return [size];
      return [`Mean ${value(found.mean)}${unit}  SD ${value(found.deviation)}`, `Min ${value(found.least)}  Max ${value(found.most)}`, size];
    }
  }
}
