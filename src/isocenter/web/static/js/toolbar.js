// @ts-check
// Buttons over the picture. Every one has a key; the keys are in viewerkeys.js.

import { fill, h, iconButton } from "./dom.js";
import { t } from "./words.js";

/** @typedef {import("./viewer.js").ViewerPage} ViewerPage */
/** @typedef {import("./tools.js").ToolName} ToolName */

/** @type {{tool: ToolName, label: string, key: string, icon: string}[]} */
const TOOLS = [
  { tool: "window", label: "Window and level", key: "W", icon: "contrast" },
  { tool: "pan", label: "Pan", key: "P", icon: "pan" },
  { tool: "zoom", label: "Zoom", key: "Z", icon: "zoom" },
  { tool: "scroll", label: "Scroll", key: "S", icon: "scroll" },
  { tool: "magnify", label: "Magnifying glass", key: "X", icon: "lens" },
];

export class Toolbar {
  element = h("div.toolbar", { role: "toolbar", "aria-label": t("Tools") });
  /** @type {Map<string, HTMLButtonElement>} */
  #toggles = new Map();

  /** @param {ViewerPage} page */
  constructor(page) {
    this.page = page;
    const toggle = (/** @type {string} */ name, /** @type {HTMLButtonElement} */ button) => {
      this.#toggles.set(name, button);
      return button;
    };
    const tools = TOOLS.map(({ tool, label, key, icon: symbol }) => toggle(tool, iconButton(symbol, label, () => page.tools.choose(tool), key)));
    page.tools.addEventListener("change", () => this.update());
    const active = () => page.active;
    fill(
      this.element,
      h("div.tool-group", { role: "group", "aria-label": t("Left button") }, ...tools),
      page.windows.element,
      page.measures.element,
      h(
        "div.tool-group",
        { role: "group", "aria-label": t("View") },
        toggle("invert", iconButton("invert", "Invert", () => active().setInverted(!active().inverted), "I")),
        iconButton("turn", "Turn by a quarter", () => active().turn(1), "T"),
        iconButton("flip-x", "Mirror left and right", () => active().flip("x"), "H"),
        iconButton("flip-y", "Mirror top and bottom", () => active().flip("y"), "V"),
        iconButton("fit", "Fit to the window", () => active().fit(), "F"),
        h("button.tool", { type: "button", "aria-label": t("Actual pixels"), title: `${t("Actual pixels")} (A)`, onclick: () => active().zoomTo(1) }, h("span.glyph", null, "1:1")),
        iconButton("true-size", "True size", () => void page.trueSize(), "Shift + A"),
        iconButton("reset", "Reset", () => active().reset(), "R"),
      ),
      h(
        "div.tool-group",
        { role: "group", "aria-label": t("Panels") },
        page.planes.element,
        page.grids.element,
        page.layers.element,
        toggle("text", iconButton("text", "Text on the picture", () => page.toggleText(), "O")),
        toggle("header", iconButton("header", "Header", () => void page.toggleHeader(), "D")),
        iconButton("help", "Keyboard map", () => page.actions.help(), "?"),
      ),
    );
    // Focus stays on the picture after a click, so that keys go on working there.
    this.element.addEventListener("pointerdown", (event) => {
      if (event.target instanceof Element && event.target.closest("button.tool:not(.wide)")) event.preventDefault();
    });
  }

  update() {
    const { page } = this;
    /** @type {Record<string, boolean>} */
    const pressed = {
      [page.tools.active]: true,
      invert: page.active.inverted,
      header: page.header?.open ?? false,
      text: !page.element?.classList.contains("no-overlay"),
    };
    page.planes.update();
    page.layers.update();
    page.measures.pressed = page.tools.drawing !== null;
    for (const [name, button] of this.#toggles) button.setAttribute("aria-pressed", String(pressed[name] ?? false));
  }

}
