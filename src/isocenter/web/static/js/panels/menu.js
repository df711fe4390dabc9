// @ts-check
// A button with a menu under it, worked by mouse or arrow keys; closes by Escape or a press elsewhere.

import { fill, h, icon } from "../dom.js";

/** @typedef {import("../dom.js").Child} Child */

export class Menu {
  #menu = h("div.menu", { role: "menu", hidden: true });
  #button;

  /** @param {string} symbol @param {string} label @param {string} title @param {() => Child[]} contents when it is opened */
  constructor(symbol, label, title, contents) {
    this.contents = contents;
    this.#button = h("button.tool.wide", { type: "button", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": label, title }, icon(symbol), h("span", null, label), icon("down"));
    this.element = h("div.menu-holder", null, this.#button, this.#menu);
    this.#button.addEventListener("click", () => (this.#menu.hidden ? this.#open() : this.close()));
    document.addEventListener("pointerdown", (event) => event.target instanceof Node && !this.element.contains(event.target) && this.close());
    this.element.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** @param {boolean} on */
  set pressed(on) {
    this.#button.setAttribute("aria-pressed", String(on));
  }

  close() {
    this.#menu.hidden = true;
    this.#button.setAttribute("aria-expanded", "false");
  }

  #open() {
    fill(this.#menu, ...this.contents());
    // A menu has items and groups, and no headings (ARIA 1.2, 5.3): these are text in it.
    for (const element of this.#menu.querySelectorAll("h3, p")) element.setAttribute("role", "none");
    this.#menu.hidden = false;
    this.#button.setAttribute("aria-expanded", "true");
    /** @type {HTMLElement | null} */ (this.#menu.querySelector("[aria-current]") ?? this.#menu.querySelector("button"))?.focus();
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

/** @param {{label: string, detail?: string, key?: string, symbol?: string, run: () => void}} item */
export function menuItem({ label, detail = "", key = "", symbol, run }) {
  return h(
    "button.menu-item",
    { type: "button", role: "menuitem", onclick: run },
    h("span", null, symbol && icon(symbol), label),
    h("span.muted", null, detail),
    key ? h("kbd", null, key) : h("span"),
  );
}
