// @ts-check
// Where things are, taken from this module's own address: an address in /view/… says nothing about it, and a <base>
// element is forbidden by the content security policy.

/** The folder of this module's version of the application's files: …/static/<version>/, or where the application is. */
const FILES = new URL("../", import.meta.url);

/** Address of the application, with a trailing slash. Whatever a proxy puts before it is in it. */
export const BASE = new URL(FILES.href.replace(/static\/[0-9a-f]+\/$/, ""));

/** @param {string} path of a file of the application @returns {string} */
export function asset(path) {
  return new URL(path, FILES).href;
}
