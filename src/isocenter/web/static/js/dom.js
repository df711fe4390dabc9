// @ts-check
// Elements made in code. Text always enters as text: there is no way through here for markup from a data set.

import { asset } from "./base.js";
import { language, person } from "./format.js";
import { t } from "./words.js";

/** "button.icon" is an HTMLButtonElement. @template {string} S @typedef {S extends `${infer T}.${string}` ? ElementOf<T> : S extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[S] : HTMLElement} ElementOf */
/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * @template {string} S
 * @param {S} selector tag with classes: "button.icon.quiet"
 * @param {Record<string, any> | null} [props] attributes; `on*` are listeners, `data-*` and `aria-*` as written
 * @param {...Child} children @returns {ElementOf<S>}
 */
export function h(selector, props, ...children) {
  const [tag, ...classes] = selector.split(".");
  const element = /** @type {any} */ (document.createElement(/** @type {string} */ (tag)));
  if (classes.length > 0) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...present(children));
  return element;
}

/** @param {Child[]} children @returns {(Node | string)[]} */
function present(children) {
  return children.filter((c) => c !== null && c !== undefined && c !== false).map((c) => (c instanceof Node ? c : String(c)));
}

/** @param {Element} element @param {...Child} children */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
}

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} name symbol in icons.svg @returns {SVGSVGElement} */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", asset(`icons.svg#${name}`));
  svg.append(use);
  return svg;
}

/**
 * @param {string} name icon @param {string} label accessible name and tooltip, in English @param {(event: MouseEvent) => void} onclick
 * @param {string} [key] shown in the tooltip
 */
export function iconButton(name, label, onclick, key = "") {
  const said = t(label);
  return h("button.tool", { type: "button", "aria-label": said, title: key ? `${said} (${key})` : said, onclick }, icon(name));
}

/** A person's name; other representations follow, quieter. @param {import("./dataset.js").PersonName} name @param {string} characterSet */
export function nameElement(name, characterSet) {
  const { main, other } = person(name);
  const element = h("span.person", { lang: language(name, characterSet) || false }, h("span.person-main", null, main || t("No name")));
  if (!main) element.classList.add("is-missing");
  if (other.length > 0) element.append(h("span.person-other", null, other.join(" · ")));
  return element;
}
