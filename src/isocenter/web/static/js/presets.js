// @ts-check
// Windows people know by name. Those of the header come first in the menu; these follow, by modality.

/** @typedef {{label: string, center: number, width: number}} Preset */

/** @type {Record<string, Preset[]>} centre and width in the unit of the modality's values (CT: HU) */
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

/** @param {string} modality @returns {Preset[]} */
export function presetsFor(modality) {
  return PRESETS[modality] ?? [];
}
