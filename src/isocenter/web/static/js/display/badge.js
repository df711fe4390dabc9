// @ts-check
// Says on the screen whether the display is calibrated, and leads to the page that calibrates it.

import { fill, h } from "../dom.js";
import { formatRoute } from "../router.js";
import { t } from "../words.js";
import { display } from "./screen.js";

/** @returns {string} */
export function calibrationWords() {
  const { label } = display;
  if (!label) return t("Not calibrated");
  return label.day ? t("Calibrated {0}", label.day) : t("Calibrated");
}

/** @param {(address: string) => void} go to the page of an address */
export function displayBadge(go) {
  const address = formatRoute({ page: "display" });
  const badge = h("a.display-badge", {
    href: address,
    onclick: (/** @type {MouseEvent} */ event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      go(address);
    },
  });
  const tell = () => {
    const { label, isOld } = display;
    badge.classList.toggle("is-calibrated", label !== null && !isOld);
    badge.classList.toggle("is-old", isOld);
    badge.title = label ? [label.name, isOld && t("Older than a year: calibrate again")].filter(Boolean).join(" · ") : t("Calibrate this display");
    fill(badge, h("span", null, calibrationWords()));
  };
  display.addEventListener("change", tell);
  tell();
  return badge;
}
