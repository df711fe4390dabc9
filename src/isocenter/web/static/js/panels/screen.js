// @ts-check
// The dialog that finds out how large the pixels of the screen are.

import { h, iconButton } from "../dom.js";
import { CARD, keepPixelSize, pixelSize } from "../truesize.js";
import { t } from "../words.js";

/** CSS pixels of a card at the 96 pixels an inch that browsers assume, where the bar begins. */
const ASSUMED = (CARD / 25.4) * 96;

/** @returns {Promise<number | null>} mm of a device pixel; null when the user gave up */
export function measureScreen() {
  const known = pixelSize();
  const start = known ? CARD / known / devicePixelRatio : ASSUMED;
  return new Promise((resolve) => {
    const card = h("div.card-outline", null, h("span", null, `${CARD} mm`));
    const slider = h("input.card-slider", { type: "range", min: "120", max: "900", step: "0.5", value: String(start), "aria-label": t("Width of the card on the screen"), autofocus: true });
    const draw = () => {
      card.style.width = `${slider.value}px`;
      card.style.height = `${(Number(slider.value) * 53.98) / CARD}px`;
    };
    slider.addEventListener("input", draw);
    draw();
    const keep = () => {
      const mm = CARD / (Number(slider.value) * devicePixelRatio);
      keepPixelSize(mm);
      resolve(mm);
      dialog.close();
    };
    const dialog = h(
      "dialog.help.screen-size",
      { "aria-label": t("Size of this screen") },
      h("header", null, h("h2", null, t("Size of this screen")), iconButton("close", t("Close"), () => dialog.close(), "Esc")),
      h("p", null, t("Hold a bank card to the screen, and move the slider until the outline is as large as the card. It is kept for this screen.")),
      h("div.card-stage", null, card),
      slider,
      h("div.actions", null, h("button.button", { type: "button", onclick: () => dialog.close() }, t("Cancel")), h("button.button.primary", { type: "button", onclick: keep }, t("This is its size"))),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
