// @ts-check
// The menu of windows: the header's own first, with their explanations, then those people know for the modality.

import { fill, h, icon } from "../dom.js";
import { short } from "../format.js";
import { presetsFor } from "../presets.js";

/** @typedef {import("../viewport.js").Viewport} Viewport */
/** @typedef {import("../viewport.js").ChosenWindow} ChosenWindow */
/** @typedef {import("../viewport.js").ChosenLut} ChosenLut */
/** @typedef {{label: string, detail: string, chosen: ChosenWindow | ChosenLut | null, fromHeader: boolean, key: string}} Choice */

/** @param {Viewport} viewport @returns {Choice[]} */
export function windowChoices(viewport) {
  const entry = viewport.painted?.entry;
  if (!entry || entry.image.kind !== "grey") return [];
  const { windows, luts } = entry.image.values(entry.frame);
  const detail = (/** @type {{center: number, width: number}} */ w) => `W ${short(w.width)}  L ${short(w.center)}`;
  /** @type {Omit<Choice, "key">[]} */
  const own = luts.map((source, i) => ({ label: source.label || `VOI LUT ${i + 1}`, detail: "table", chosen: i === 0 ? null : { lut: i }, fromHeader: true }));
  own.push(...windows.map((window, i) => ({ label: window.label || "Default", detail: detail(window), chosen: i === 0 && luts.length === 0 ? null : { ...window }, fromHeader: true })));
  if (own.length === 0) own.push({ label: "Automatic", detail: "", chosen: null, fromHeader: true });
  /** @type {Omit<Choice, "key">[]} */
  const named = presetsFor(entry.image.modality).map((preset) => ({
    label: preset.label,
    detail: detail(preset),
    chosen: { center: preset.center, width: preset.width, function: "LINEAR", label: preset.label },
    fromHeader: false,
  }));
  // Digits go to the well-known ones, so that 2 is lung on every scanner; the header's own has 0.
  return [...own.map((choice, i) => ({ ...choice, key: i === 0 ? "0" : "" })), ...named.map((choice, i) => ({ ...choice, key: i < 9 ? String(i + 1) : "" }))];
}

export class WindowMenu {
  #button = h("button.tool.wide", { type: "button", "aria-haspopup": "menu", "aria-expanded": "false", title: "Windows (0 to 9)" }, icon("window"), h("span", null, "Window"), icon("down"));
  #menu = h("div.menu", { role: "menu", hidden: true });
  element = h("div.menu-holder", null, this.#button, this.#menu);

  /** @param {() => Viewport} active */
  constructor(active) {
    this.#button.addEventListener("click", () => (this.#menu.hidden ? this.#open(active()) : this.close()));
    document.addEventListener("pointerdown", (event) => event.target instanceof Node && !this.element.contains(event.target) && this.close());
    this.element.addEventListener("keydown", (event) => this.#onKey(event));
  }

  close() {
    this.#menu.hidden = true;
    this.#button.setAttribute("aria-expanded", "false");
  }

  /** @param {Viewport} viewport */
  #open(viewport) {
    const choices = windowChoices(viewport);
    const item = (/** @type {Choice} */ choice) =>
      h(
        "button.menu-item",
        { type: "button", role: "menuitem", onclick: () => { viewport.setWindow(choice.chosen); this.close(); viewport.element.focus(); } },
        h("span", null, choice.label),
        h("span.muted", null, choice.detail),
        choice.key ? h("kbd", null, choice.key) : h("span"),
      );
    const own = choices.filter((choice) => choice.fromHeader);
    const named = choices.filter((choice) => !choice.fromHeader);
    if (choices.length === 0) fill(this.#menu, h("p.muted", null, "The greys of this image are fixed."));
    else fill(this.#menu, h("h3", null, "From the header"), ...own.map(item), named.length > 0 && h("h3", null, viewport.painted?.entry.image.modality), ...named.map(item));
    this.#menu.hidden = false;
    this.#button.setAttribute("aria-expanded", "true");
    this.#menu.querySelector("button")?.focus();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (this.#menu.hidden) return;
    if (event.key === "Escape") {
      event.preventDefault();
      this.close();
      this.#button.focus();
      return;
    }
    const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const buttons = [...this.#menu.querySelectorAll("button")];
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    buttons[(at + way + buttons.length) % buttons.length]?.focus();
  }
}
