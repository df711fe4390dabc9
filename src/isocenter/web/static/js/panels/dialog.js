// @ts-check
// A window over the page: title, content, a row of buttons. Closed by Escape, the cross, or a press beside it.

import { RequestError } from "../dicomweb.js";
import { h, iconButton } from "../dom.js";
import { t } from "../words.js";

/** @typedef {import("../dom.js").Child} Child */

/**
 * @param {string} kind class of the dialog @param {string} title @param {Child[]} content @param {Child[]} [buttons]
 * @returns {HTMLDialogElement} shown, and removed when it closes
 */
export function openDialog(kind, title, content, buttons = []) {
  const dialog = h(
    `dialog.window.${kind}`,
    { "aria-label": title, tabindex: "-1" },
    h("header", null, h("h2", null, title), iconButton("close", t("Close"), () => dialog.close(), "Esc")),
    h("div.window-content", null, ...content),
    buttons.length > 0 && h("footer", null, ...buttons),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("pointerdown", (event) => event.target === dialog && dialog.close());
  // Keys belong to the window while it is open, not to the page under it.
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  document.body.append(dialog);
  dialog.showModal();
  dialog.focus(); // and not its cross, which a ring would make the brightest thing in it
  return dialog;
}

/** A word in the corner that goes by itself. @param {string} text @param {Child} [action] */
export function say(text, action) {
  document.querySelector(".toast")?.remove();
  const toast = h("div.toast", { role: "status" }, h("span", null, text), action);
  document.body.append(toast);
  setTimeout(() => toast.remove(), 6000);
}

/** What went wrong, in words. @param {unknown} error @returns {string} */
export function told(error) {
  return error instanceof RequestError ? [error.message, error.hint].filter(Boolean).join(" ") : String(error);
}
