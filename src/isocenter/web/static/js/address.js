// @ts-check
// What the cells of the viewer show, as a route, and the looks of a route as a viewport takes them.

import { presetsFor } from "./presets.js";
import { t } from "./words.js";

/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {import("./router.js").ViewRoute} ViewRoute */
/** @typedef {import("./loader.js").Entry} Entry */

/** @param {Viewport} viewport @returns {import("./looks.js").Look} */
function lookOf(viewport) {
  const { chosen, inverted, view, place } = viewport;
  const { turn, flipX, flipY } = view;
  const state = (viewport.entry?.image ?? viewport.stack?.images[0])?.state?.instance;
  return { window: chosen, inverted, ...(turn || flipX || flipY ? { lie: { turn, flipX, flipY } } : {}), ...(place ? { place } : {}), ...(state ? { state } : {}) };
}

/** @param {Viewport} viewport @returns {import("./router.js").Cell} */
function cellOf(viewport) {
  const { stack, entry } = viewport;
  const image = entry?.image ?? stack?.images[0];
  return stack && image ? { series: stack.series, instance: image.path.instance, frame: entry?.frame ?? 1, look: lookOf(viewport) } : null;
}

/** What is on the screen. @param {import("./layout.js").Layout} layout @returns {ViewRoute | null} null while there is nothing */
export function routeOf({ active, shown, shape }) {
  const { stack } = active;
  const here = cellOf(active);
  if (!stack || !here) return null;
  const { look, ...place } = here;
  const cells = shown.map((viewport) => (viewport === active ? null : cellOf(viewport)));
  const grid = { columns: shape.columns, rows: shape.rows, active: shown.indexOf(active), cells };
  return { page: "view", study: stack.study, ...place, ...look, ...(cells.length > 1 ? { grid } : {}) };
}

/**
 * The greys of a look, with the name they have in the header or among the presets: an address has numbers only.
 * @param {import("./looks.js").Greys | null} greys @param {Entry | undefined} entry
 * @returns {import("./viewport.js").ChosenWindow | import("./viewport.js").ChosenLut | null}
 */
export function chosenOf(greys, entry) {
  if (!greys || "lut" in greys) return greys;
  const own = entry?.image.values(entry.frame).windows ?? [];
  const presets = (entry ? presetsFor(entry.image, entry.frame) : []).map((preset) => ({ ...preset, label: t(preset.label) }));
  const alike = (/** @type {number} */ a, /** @type {number} */ b) => Math.abs(a - b) <= 1e-8 * Math.abs(b);
  const named = [...own, ...presets].find(({ center, width }) => alike(greys.center, center) && alike(greys.width, width));
  return { ...greys, label: named?.label ?? "" };
}
