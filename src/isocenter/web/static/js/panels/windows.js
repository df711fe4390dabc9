// @ts-check
// The menu of windows: the header's own first, with their explanations, then those people know for the modality.

import { h } from "../dom.js";
import { short } from "../format.js";
import { presetsFor } from "../presets.js";
import { quantityOf } from "../quantity.js";
import { t } from "../words.js";
import { Menu, menuItem } from "./menu.js";

/** @typedef {import("../viewport.js").Viewport} Viewport */
/** @typedef {import("../viewport.js").ChosenWindow} ChosenWindow */
/** @typedef {import("../viewport.js").ChosenLut} ChosenLut */
/** @typedef {{label: string, detail: string, chosen: ChosenWindow | ChosenLut | null, fromHeader: boolean, key: string}} Choice */

/** @param {Viewport} viewport @returns {Choice[]} */
export function windowChoices(viewport) {
  const entry = viewport.painted?.entry;
  if (!entry || entry.image.kind !== "grey") return [];
  const { windows, luts } = entry.image.values(entry.frame);
  const factor = quantityOf(entry.image, entry.frame)?.factor ?? 1;
  const detail = (/** @type {{center: number, width: number}} */ w) => `W ${short(w.width * factor)}  L ${short(w.center * factor)}`;
  /** @type {Omit<Choice, "key">[]} */
  const own = luts.map((source, i) => ({ label: source.label || `VOI LUT ${i + 1}`, detail: t("table"), chosen: i === 0 ? null : { lut: i }, fromHeader: true }));
  own.push(...windows.map((window, i) => ({ label: window.label || t("Default"), detail: detail(window), chosen: i === 0 && luts.length === 0 ? null : { ...window }, fromHeader: true })));
  if (own.length === 0) own.push({ label: t("Automatic"), detail: "", chosen: null, fromHeader: true });
  /** @type {Omit<Choice, "key">[]} */
  const named = presetsFor(entry.image, entry.frame).map((preset) => ({
    label: t(preset.label),
    detail: detail(preset),
    chosen: { center: preset.center, width: preset.width, function: "LINEAR", label: t(preset.label) },
    fromHeader: false,
  }));
  // Digits go to the well-known ones, so that 2 is lung on every scanner; the header's own has 0.
  return [...own.map((choice, i) => ({ ...choice, key: i === 0 ? "0" : "" })), ...named.map((choice, i) => ({ ...choice, key: i < 9 ? String(i + 1) : "" }))];
}

export class WindowMenu extends Menu {
  /** @param {() => Viewport} active */
  constructor(active) {
    super("window", t("Window"), t("Windows (0 to 9)"), () => this.#choices(active()));
  }

  /** @param {Viewport} viewport @returns {import("../dom.js").Child[]} */
  #choices(viewport) {
    const choices = windowChoices(viewport);
    const item = (/** @type {Choice} */ { label, detail, key, chosen }) =>
      menuItem({ label, detail, key, run: () => { viewport.setWindow(chosen); this.close(); viewport.element.focus(); } });
    const own = choices.filter((choice) => choice.fromHeader);
    const named = choices.filter((choice) => !choice.fromHeader);
    if (choices.length === 0) return [h("p.muted", null, t("The greys of this image are fixed."))];
    return [h("h3", null, t("From the header")), ...own.map(item), named.length > 0 && h("h3", null, viewport.painted?.entry.image.modality), ...named.map(item)];
  }
}
