// @ts-check
// The keyboard map, from the bindings in force.

import { h, iconButton } from "../dom.js";
import { keyLabel } from "../keyboard.js";
import { t } from "../words.js";
import { languageButton } from "./language.js";

/** @typedef {import("../keyboard.js").Binding} Binding */

const MOUSE = /** @type {const} */ ([
  ["Drag", "Chosen tool (window at first)"],
  ["Right drag", "Zoom"],
  ["Middle drag, Shift + drag", "Pan"],
  ["Wheel", "Scroll through the stack"],
  ["Ctrl + wheel, pinch", "Zoom at the pointer"],
  ["Double click", "Fit to the window"],
]);

/** @param {Binding[]} bindings @param {boolean} mouse whether the mouse is explained too */
export function showHelp(bindings, mouse) {
  const open = document.querySelector("dialog.help");
  if (open instanceof HTMLDialogElement) {
    open.close();
    return;
  }
  /** @type {Map<string, HTMLElement[]>} */
  const groups = new Map();
  for (const { keys, label, group, shown } of bindings) {
    const signs = shown ? [shown] : keys.slice(0, 2).map(keyLabel);
    const rows = groups.get(group) ?? [];
    rows.push(h("div.help-row", null, h("dt", null, ...signs.map((sign) => h("kbd", null, sign))), h("dd", null, t(label))));
    groups.set(group, rows);
  }
  if (mouse && !groups.has("Mouse and touch")) groups.set("Mouse and touch", MOUSE.map(([what, label]) => h("div.help-row", null, h("dt", null, t(what)), h("dd", null, t(label)))));
  const dialog = h(
    "dialog.help",
    { "aria-label": t("Keyboard map"), tabindex: "-1" },
    h("header", null, h("h2", null, t("Keyboard map")), iconButton("close", "Close", () => dialog.close(), "Esc"), languageButton()),
    h("div.help-columns", null, ...[...groups].map(([name, rows]) => h("section", null, h("h3", null, t(name)), h("dl", null, ...rows)))),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "?") {
      event.preventDefault();
      dialog.close();
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.focus(); // and not its cross, which a ring would make the brightest thing in it
}
