// @ts-check
// The way to the other language of the interface, named in that language.

import { h } from "../dom.js";
import { chooseLanguage, spokenLanguage } from "../words.js";

/** @returns {HTMLButtonElement} */
export function languageButton() {
  const [other, name] = spokenLanguage() === "ko" ? /** @type {const} */ (["en", "English"]) : /** @type {const} */ (["ko", "한국어"]);
  return h("button.button.language", { type: "button", lang: other, onclick: () => chooseLanguage(other) }, name);
}
