// @ts-check
// Calibration by something of known length in the image: all lengths of the series follow from it.

import { t } from "../words.js";
import { ask } from "./pen.js";
import { distance } from "./shapes.js";
import { calibrate, spacingAt } from "./spacing.js";

/**
 * Asks how long the selected length is, or the last one that was drawn. Raises Error where there is none.
 * @param {import("../viewport.js").Viewport} viewport @param {import("./book.js").Book} book @param {() => void} done
 */
export function calibrateByLength(viewport, book, done) {
  const entry = viewport.painted?.entry;
  const lengths = (entry ? book.shapes(entry) : []).filter(({ kind }) => kind === "length");
  const shape = lengths.find(({ id }) => id === book.selected) ?? lengths.at(-1);
  const [a, b] = shape?.points ?? [];
  if (!entry || !shape || !a || !b) throw new Error(t("Draw a length along something that you know the size of first."));
  ask(viewport, shape, t("Its length in mm"), (said) => {
    const known = Number(said.replace(",", ".").replace(/\s*mm$/i, ""));
    const now = distance(a, b, spacingAt(entry.image, entry.frame, a));
    if (!(known > 0 && Number.isFinite(known) && now > 0)) return;
    calibrate(entry.image, known / now);
    done();
  });
}
