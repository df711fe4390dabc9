// @ts-check
// Points, directions and turns in the patient: LPS mm (PS3.3 C.7.6.2.1.1), unit quaternions for turns.

/** @typedef {[number, number, number]} Vector */
/** w, x, y, z @typedef {[number, number, number, number]} Turn */
/** 3 x 4, takes (place, row, column, 1) to LPS mm, or back. @typedef {number[][]} Affine */

/** @type {Turn} */
export const NO_TURN = [1, 0, 0, 0];

/** @param {Vector} a @param {Vector} b @param {number} [k] @returns {Vector} a + k b */
export const add = (a, b, k = 1) => [a[0] + k * b[0], a[1] + k * b[1], a[2] + k * b[2]];
/** @param {Vector} a @param {Vector} b @returns {Vector} */
export const minus = (a, b) => add(a, b, -1);
/** @param {Vector} a @param {Vector} b */
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
/** @param {Vector} a @param {Vector} b @returns {Vector} */
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
/** @param {Vector} a */
export const norm = (a) => Math.hypot(...a);
/** @param {Vector} a @returns {Vector} */
export const unit = (a) => {
  const length = norm(a) || 1;
  return [a[0] / length, a[1] / length, a[2] / length];
};

/** @param {Vector} axis of length one @param {number} angle radians, right-handed @returns {Turn} */
export function about(axis, angle) {
  const s = Math.sin(angle / 2);
  return [Math.cos(angle / 2), axis[0] * s, axis[1] * s, axis[2] * s];
}

/** @param {Turn} a @param {Turn} b @returns {Turn} b first, then a; of length one again */
export function after([aw, ax, ay, az], [bw, bx, by, bz]) {
  const q = [aw * bw - ax * bx - ay * by - az * bz, aw * bx + ax * bw + ay * bz - az * by, aw * by - ax * bz + ay * bw + az * bx, aw * bz + ax * by - ay * bx + az * bw];
  const length = Math.hypot(...q) || 1;
  return /** @type {Turn} */ (q.map((v) => v / length));
}

/** @param {Turn} turn @param {Vector} v @returns {Vector} */
export function turned([w, x, y, z], v) {
  /** @type {Vector} */
  const axis = [x, y, z];
  const t = cross(axis, v);
  return add(add(v, t, 2 * w), cross(axis, t), 2);
}

/** The turn that takes one right-handed frame of unit vectors to another. @param {Vector[]} from @param {Vector[]} to @returns {Turn} */
export function turnBetween(from, to) {
  // The matrix to · fromᵀ, read as a quaternion by its largest component, which is far from zero.
  const m = [0, 1, 2].map((i) => [0, 1, 2].map((j) => [0, 1, 2].reduce((sum, k) => sum + (to[k]?.[i] ?? 0) * (from[k]?.[j] ?? 0), 0)));
  const at = (/** @type {number} */ i, /** @type {number} */ j) => m[i]?.[j] ?? 0;
  const squares = [1 + at(0, 0) + at(1, 1) + at(2, 2), 1 + at(0, 0) - at(1, 1) - at(2, 2), 1 - at(0, 0) + at(1, 1) - at(2, 2), 1 - at(0, 0) - at(1, 1) + at(2, 2)];
  const largest = squares.indexOf(Math.max(...squares));
  const s = 2 * Math.sqrt(Math.max(1e-12, squares[largest] ?? 0));
  const differences = [at(2, 1) - at(1, 2), at(0, 2) - at(2, 0), at(1, 0) - at(0, 1)];
  const sums = [[0, at(0, 1) + at(1, 0), at(0, 2) + at(2, 0)], [at(0, 1) + at(1, 0), 0, at(1, 2) + at(2, 1)], [at(0, 2) + at(2, 0), at(1, 2) + at(2, 1), 0]];
  const q = [0, 0, 0, 0];
  q[largest] = s / 4;
  for (let i = 0; i < 3; i += 1) {
    if (largest === 0) q[i + 1] = (differences[i] ?? 0) / s;
    else if (i + 1 === largest) q[0] = (differences[i] ?? 0) / s;
    else q[i + 1] = (sums[largest - 1]?.[i] ?? 0) / s;
  }
  return after(/** @type {Turn} */ (q), NO_TURN);
}

/** @param {Affine} a @param {Vector} p @returns {Vector} */
export function apply(a, p) {
  return /** @type {Vector} */ (a.map(([x = 0, y = 0, z = 0, o = 0]) => x * p[0] + y * p[1] + z * p[2] + o));
}

/** @param {Affine} a @param {Vector} v @returns {Vector} without the translation */
export function applyLinear(a, v) {
  return /** @type {Vector} */ (a.map(([x = 0, y = 0, z = 0]) => x * v[0] + y * v[1] + z * v[2]));
}

/** @param {Affine} a @returns {Affine} */
export function inverse(a) {
  const column = (/** @type {number} */ j) => /** @type {Vector} */ (a.map((row) => row[j] ?? 0));
  const [x, y, z, origin] = [column(0), column(1), column(2), column(3)];
  const det = dot(x, cross(y, z));
  const rows = [cross(y, z), cross(z, x), cross(x, y)].map((row) => /** @type {Vector} */ (row.map((v) => v / det)));
  return rows.map((row) => [...row, -dot(row, origin)]);
}
