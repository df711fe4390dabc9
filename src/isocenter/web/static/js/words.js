// @ts-check
// The language of the interface. English stands in the code, and is the key of the other languages' tables: what a table
// lacks is shown in English. Text of data sets never passes through here.

/** @typedef {"en" | "ko"} Language */

const KEPT = "isocenter-language";

/** @type {Record<string, string>} */
let table = {};
/** @type {Language} */
let spoken = "en";

/** @returns {Language} */
export function spokenLanguage() {
  return spoken;
}

/** @param {string} english @param {...(string | number)} values for {0}, {1}, ... @returns {string} */
export function t(english, ...values) {
  return (table[english] ?? english).replace(/\{(\d)\}/g, (whole, place) => String(values[Number(place)] ?? whole));
}

/** The chosen language, or the browser's. @returns {Language} */
export function wantedLanguage() {
  let chosen = null;
  try {
    chosen = localStorage.getItem(KEPT);
  } catch {
    // Storage is forbidden here: the browser's language has to do.
  }
  return (chosen ?? navigator.language).startsWith("ko") ? "ko" : "en";
}

/** Loads the words before any page is made of them. @param {Language} language */
export async function speak(language) {
  if (language === "ko") table = (await import("./words/ko.js")).KOREAN;
  spoken = language;
  document.documentElement.lang = language;
}

/** Keeps the choice, and makes the pages anew. @param {Language} language */
export function chooseLanguage(language) {
  try {
    localStorage.setItem(KEPT, language);
  } catch {
    // It holds for this page only, which is about to be loaded again: nothing would change.
    return;
  }
  location.reload();
}
