// @ts-check
// The Grayscale Standard Display Function of PS3.14, as the server's display/gsdf.py has it: the same numbers in the same
// order of operations, because tables of both have to be equal.

export const FIRST_JND = 1;
export const LAST_JND = 1023;

/** PS3.14 section 7.1: a, c, e, g, m of the numerator, and 1, b, d, f, h, k of the denominator. */
const NUMERATOR = [-1.3011877, 8.0242636e-2, 1.3646699e-1, -2.5468404e-2, 1.3635334e-3];
const DENOMINATOR = [1, -2.5840191e-2, -1.0320229e-1, 2.874562e-2, -3.1978977e-3, 1.2992634e-4];
/** Nodes an index of the inverse. */
const STEPS = 200;

/** @param {number[]} coefficients from the constant up @param {number} x */
const polynomial = (coefficients, x) => coefficients.reduceRight((sum, c) => sum * x + c, 0);

/** @param {number} jnd a JND index, which need not be whole @returns {number} luminance in cd/m2 */
export function luminance(jnd) {
  const logarithm = Math.log(jnd);
  return 10 ** (polynomial(NUMERATOR, logarithm) / polynomial(DENOMINATOR, logarithm));
}

/** Decimal logarithms of the luminances of the inverse's nodes. @type {Float64Array | null} */
let inverse = null;

const NODES = (LAST_JND - FIRST_JND) * STEPS + 1;
const STEP = (LAST_JND - FIRST_JND) / (NODES - 1);
/** @param {number} i */
const node = (i) => i * STEP + FIRST_JND;

function nodes() {
  return (inverse ??= Float64Array.from({ length: NODES }, (_, i) => Math.log10(luminance(node(i)))));
}

/**
 * The inverse of `luminance`, by the function itself: the standard's polynomial is up to half an index off.
 * @param {number} cdPerM2 @returns {number} NaN outside of the function, 0.05 to 3,993.4 cd/m2
 */
export function jndIndex(cdPerM2) {
  const logarithms = nodes();
  const last = logarithms.length - 1;
  const at = (/** @type {number} */ i) => /** @type {number} */ (logarithms[i]);
  if (!(cdPerM2 >= 10 ** at(0) * (1 - 1e-3) && cdPerM2 <= 10 ** at(last) * (1 + 1e-3))) return NaN;
  const wanted = Math.log10(cdPerM2);
  if (wanted <= at(0)) return node(0);
  if (wanted >= at(last)) return node(last);
  const below = search(logarithms, wanted, true) - 1;
  return node(below) + ((node(below + 1) - node(below)) / (at(below + 1) - at(below))) * (wanted - at(below));
}

/**
 * @param {ArrayLike<number>} ascending @param {number} value @param {boolean} [after] those that equal it
 * @returns {number} how many lie before it
 */
export function search(ascending, value, after = false) {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const v = /** @type {number} */ (ascending[middle]);
    if (v < value || (after && v === value)) low = middle + 1;
    else high = middle;
  }
  return low;
}
