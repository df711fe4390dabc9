// @ts-check
// The menu of layouts: a grid to point at, and what the cells have to do with each other.

import { fill, h } from "../dom.js";
import { MOST_CELLS } from "../layout.js";
import { t } from "../words.js";
import { Menu, menuItem } from "./menu.js";

/** @typedef {import("../viewer.js").ViewerPage} ViewerPage */

export class GridMenu extends Menu {
  /** @param {ViewerPage} page */
  constructor(page) {
    super("grid", t("Layout"), t("Layout (L)"), () => this.#choices(page));
    this.element.classList.add("is-compact");
  }

  /** @param {ViewerPage} page @returns {import("../dom.js").Child[]} */
  #choices(page) {
    const { linking } = page;
    const leave = () => {
      this.close();
      page.active.element.focus();
    };
    const toggle = (/** @type {string} */ label, /** @type {string} */ key, /** @type {boolean} */ on, /** @type {() => void} */ run) =>
      menuItem({ label, detail: on ? t("on") : t("off"), key, run: () => { run(); leave(); } });
    return [
      h("h3", null, t("Cells")),
      this.#grid(page, leave),
      h("h3", null, t("Same part of the patient")),
      toggle(t("Scroll together"), "J", linking.together, () => page.link({ together: !linking.together })),
      toggle(t("Reference lines"), "Y", linking.lines, () => page.link({ lines: !linking.lines })),
    ];
  }

  /** @param {ViewerPage} page @param {() => void} leave */
  #grid({ layout }, leave) {
    const said = h("p.muted", { "aria-hidden": "true" });
    const grid = h("div.grid-picker", null);
    const places = Array.from({ length: MOST_CELLS * MOST_CELLS }, (_, i) => ({ columns: (i % MOST_CELLS) + 1, rows: Math.floor(i / MOST_CELLS) + 1 }));
    const mark = (/** @type {import("../layout.js").GridShape} */ shape) => {
      said.textContent = `${shape.columns} × ${shape.rows}`;
      [...grid.children].forEach((cell, i) => {
        const at = /** @type {import("../layout.js").GridShape} */ (places[i]);
        cell.classList.toggle("is-within", at.columns <= shape.columns && at.rows <= shape.rows);
      });
    };
    fill(
      grid,
      ...places.map((shape) =>
        h("button", {
          type: "button",
          role: "menuitem",
          "aria-current": shape.columns === layout.shape.columns && shape.rows === layout.shape.rows ? "true" : false,
          "aria-label": t("{0} columns, {1} rows", shape.columns, shape.rows),
          onclick: () => { layout.setShape(shape); leave(); },
          onpointerenter: () => mark(shape),
          onfocus: () => mark(shape),
        }),
      ),
    );
    grid.addEventListener("pointerleave", () => mark(layout.shape));
    mark(layout.shape);
    return h("div.grid-choice", null, grid, said);
  }
}
