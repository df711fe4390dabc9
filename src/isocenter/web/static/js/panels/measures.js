// @ts-check
// The menu of what can be drawn and measured.

import { h } from "../dom.js";
import { KINDS } from "../measure/shapes.js";
import { t } from "../words.js";
import { Menu, menuItem } from "./menu.js";

/** @typedef {import("../viewer.js").ViewerPage} ViewerPage */
/** @typedef {import("../measure/shapes.js").ShapeKind} ShapeKind */

/** @type {Record<ShapeKind, string>} */
export const MEASURE_KEYS = { length: "m", angle: "g", cobb: "b", rectangle: "q", ellipse: "e", probe: "k", arrow: "n" };

export class MeasureMenu extends Menu {
  /** @param {ViewerPage} page */
  constructor(page) {
    super("ruler", t("Measure"), t("Measure and mark (M)"), () => this.#choices(page));
  }

  /** @param {ViewerPage} page @returns {import("../dom.js").Child[]} */
  #choices(page) {
    const item = (/** @type {string} */ label, /** @type {string} */ key, /** @type {() => void} */ run, symbol = "") =>
      menuItem({ label: t(label), key: key.toUpperCase(), symbol, run: () => { run(); this.close(); page.active.element.focus(); } });
    const kinds = /** @type {ShapeKind[]} */ (Object.keys(KINDS));
    return [
      h("h3", null, t("Draw with the left button")),
      ...kinds.map((kind) => item(KINDS[kind].label, MEASURE_KEYS[kind], () => page.tools.choose(kind))),
      h("h3", null, t("On this image")),
      item("Undo", "u", () => page.book.undo()),
      item("Redo", "Shift + U", () => page.book.redo()),
      item("Delete the selected", "Del", () => page.marks.remove()),
      item("Delete all", "", () => page.marks.clear()),
      item("Calibrate by the selected length", "", () => void page.marks.calibrate()),
      h("h3", null, t("In the archive")),
      item("Save the marks of this stack", "", () => void page.marks.save()),
      item("Save a measurement report", "", () => void page.marks.save("report")),
    ];
  }
}
