// @ts-check
// Where the application lives, taken from this module's own address: an address in /view/… says nothing about it, and a
// <base> element is forbidden by the content security policy.

/** Address of the folder of index.html, with a trailing slash. */
export const BASE = new URL("../", import.meta.url);

/** @param {string} path relative to the application @returns {string} */
export function asset(path) {
  return new URL(path, BASE).href;
}
