// @ts-check
// How a picture is shown, as words of an address and back: its window, how it lies, which part of it, under which state.
// What is as the header and the page's size have it is left out.

/** @typedef {import("./image.js").VoiFunction} VoiFunction */
/** A window in the values' unit, or the place of a VOI LUT in the header. @typedef {{center: number, width: number, function: VoiFunction} | {lut: number}} Greys */
/** How the image lies, where it was turned or mirrored. @typedef {{turn: number, flipX: boolean, flipY: boolean}} Lie */
/**
 * Which part of the image is seen: `at` (column and row) is in the middle, or the image's own middle. `zoom` is times the
 * size that fits, so that it is the same part on any screen; `pixels`, those of the screen to one of the image, stands in
 * its place where nothing is resampled.
 * @typedef {{zoom?: number, pixels?: number, at?: [number, number]}} Place
 */
/**
 * @typedef {object} Look
 * @property {Greys | null} window null: by the header
 * @property {boolean} inverted
 * @property {Lie} [lie]
 * @property {Place} [place]
 * @property {string} [state] SOP Instance UID of the presentation state
 */
/** @typedef {[string, string]} Word name and value */

export const UID = /^[0-9.]{1,64}$/;
const NUMBER = /^-?\d{1,12}(\.\d{1,12})?(e[-+]?\d{1,2})?$/i;
/** @type {VoiFunction[]} LINEAR is not written (PS3.3 C.11.2.1.3) */
const FUNCTIONS = ["LINEAR_EXACT", "SIGMOID"];

/** @param {number} n @returns {string} short, and to a thousandth of a grey or a pixel the same */
const short = (n) => String(Number(n.toPrecision(9)));

/** @param {Look} look @returns {Word[]} */
export function lookWords({ window, inverted, lie, place, state }) {
  /** @type {Word[]} */
  const words = [];
  if (window && "lut" in window) words.push(["lut", String(window.lut + 1)]);
  else if (window) words.push(["window", [short(window.center), short(window.width), ...(window.function === "LINEAR" ? [] : [window.function])].join(",")]);
  if (inverted) words.push(["invert", "1"]);
  if (lie?.turn) words.push(["turn", String(lie.turn)]);
  if (lie?.flipX || lie?.flipY) words.push(["flip", `${lie.flipX ? "x" : ""}${lie.flipY ? "y" : ""}`]);
  if (place?.pixels) words.push(["zoom", `${place.pixels}:1`]);
  else if (place?.zoom) words.push(["zoom", String(Number(place.zoom.toPrecision(6)))]);
  if (place?.at) words.push(["at", place.at.map((v) => String(Math.round(v * 10000) / 10000)).join(",")]);
  if (state) words.push(["state", state]);
  return words;
}

/**
 * @param {(name: string) => string | null} word its value, null where it is not said
 * @param {string[]} unread takes the names of what makes no sense
 * @returns {Look}
 */
export function readLook(word, unread) {
  /** @template T @param {string} name @param {(value: string) => T | null} read @returns {T | null} */
  const take = (name, read) => {
    const said = word(name);
    const found = said === null ? null : read(said);
    if (said !== null && found === null) unread.push(name);
    return found;
  };
  const window = take("window", windowOf);
  const lut = take("lut", (said) => (/^[1-9]\d?$/.test(said) ? { lut: Number(said) - 1 } : null));
  const inverted = take("invert", (said) => (said === "1" || said === "0" ? said === "1" : null)) ?? false;
  const turn = take("turn", (said) => (/^[0-3]$/.test(said) ? Number(said) : null)) ?? 0;
  const flip = take("flip", (said) => (/^(x|y|xy)$/.test(said) ? said : null)) ?? "";
  const zoom = take("zoom", zoomOf);
  const at = take("at", (said) => pair(said.split(",")));
  const state = take("state", (said) => (UID.test(said) ? said : null));
  return {
    window: lut ?? window,
    inverted,
    ...(turn || flip ? { lie: { turn, flipX: flip.includes("x"), flipY: flip.includes("y") } } : {}),
    ...(zoom || at ? { place: { ...(zoom ?? { zoom: 1 }), ...(at ? { at } : {}) } } : {}),
    ...(state ? { state } : {}),
  };
}

/** @param {string[]} words @returns {[number, number] | null} */
function pair([a = "", b = "", ...more]) {
  return NUMBER.test(a) && NUMBER.test(b) && more.length === 0 ? [Number(a), Number(b)] : null;
}

/** @param {string} said @returns {Greys | null} */
function windowOf(said) {
  const [center, width, named = "LINEAR", ...more] = said.split(",");
  const found = pair([center ?? "", width ?? ""]);
  const shape = named === "LINEAR" ? named : FUNCTIONS.find((one) => one === named);
  return found && found[1] > 0 && shape && more.length === 0 ? { center: found[0], width: found[1], function: shape } : null;
}

/** @param {string} said @returns {Place | null} */
function zoomOf(said) {
  const whole = /^([1-9]\d?):1$/.exec(said);
  if (whole) return { pixels: Number(whole[1]) };
  return NUMBER.test(said) && Number(said) > 0 ? { zoom: Number(said) } : null;
}
