// @ts-check
// Windows people know by name. Those of the header come first in the menu; these follow, by modality.

import { quantityOf } from "./quantity.js";

/** @typedef {{label: string, center: number, width: number}} Preset */

/** @type {Record<string, Preset[]>} centre and width in the unit of what pixels measure: HU, SUV */
const PRESETS = {
  CT: [
    { label: "Abdomen", center: 50, width: 400 },
    { label: "Lung", center: -600, width: 1500 },
    { label: "Mediastinum", center: 40, width: 350 },
    { label: "Bone", center: 500, width: 2000 },
    { label: "Brain", center: 40, width: 80 },
    { label: "Stroke", center: 35, width: 35 },
    { label: "Subdural", center: 75, width: 215 },
    { label: "Liver", center: 70, width: 150 },
    { label: "Angiography", center: 300, width: 600 },
  ],
  PT: [
    { label: "0 to 5", center: 2.5, width: 5 },
    { label: "0 to 10", center: 5, width: 10 },
    { label: "0 to 20", center: 10, width: 20 },
  ],
};

/**
 * For a frame, in the modality's values as windows are. Those of PET are of uptake: without it they would mean nothing.
 * @param {import("./image.js").Image} image @param {number} frame 1-based @returns {Preset[]}
 */
export function presetsFor(image, frame) {
  const presets = PRESETS[image.modality] ?? [];
  if (image.modality !== "PT") return presets;
  const factor = quantityOf(image, frame)?.factor;
  return factor ? presets.map(({ label, center, width }) => ({ label, center: center / factor, width: width / factor })) : [];
}
