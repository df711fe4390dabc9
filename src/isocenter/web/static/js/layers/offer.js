// @ts-check
// The button of the layers, and what it sets going: their code and their objects are fetched when it is first pressed.

import { Tag, text } from "../dataset.js";
import { iconButton } from "../dom.js";
import { t } from "../words.js";

/** @typedef {import("../viewer.js").ViewerPage} ViewerPage */
/** @typedef {import("../viewport.js").Viewport} Viewport */
/** @typedef {import("../stack.js").Stack} Stack */
/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {{layers: import("./layers.js").Layers, panel: import("../panels/layers.js").LayersPanel}} Open */

/** Modalities of what lies over images. */
const LAYERED = ["SEG", "PR"];

export class LayersOffer {
  element = iconButton("layers", t("Segmentations and presentation states"), () => void this.toggle(), "Shift + O");
  #study = "";
  /** @type {DataSet[]} */
  #series = [];
  /** Of the present study. @type {Promise<Open> | null} */
  #opening = null;
  /** @type {Open | null} */
  #open = null;
  /** @type {WeakSet<Viewport>} those that have their layer */
  #covered = new WeakSet();

  /** @param {ViewerPage} page */
  constructor(page) {
    this.page = page;
  }

  /** Another study. @param {string} study @param {DataSet[]} series */
  study(study, series) {
    this.#open?.panel.element.remove();
    this.#opening = this.#open = null;
    this.#study = study;
    this.#series = series;
    this.update();
  }

  /** Another stack, or a viewport that became active. */
  update() {
    this.element.hidden = !this.#series.some((ds) => LAYERED.includes(text(ds, Tag.Modality)));
    this.element.setAttribute("aria-pressed", String(this.isOpen));
    if (this.isOpen) this.#open?.panel.update();
  }

  get isOpen() {
    return !!this.#open && !this.#open.panel.element.hidden;
  }

  async toggle() {
    if (this.element.hidden) return;
    const shown = this.isOpen;
    const { panel } = await (this.#opening ??= this.#make());
    panel.element.hidden = shown;
    if (shown) this.page.active.element.focus();
    this.update();
  }

  /** @returns {Promise<Open>} */
  async #make() {
    const [study, series] = [this.#study, this.#series];
    const [{ Layers }, { LayersPanel }, { SegmentLayer }] = await Promise.all([import("./layers.js"), import("../panels/layers.js"), import("./segmentation.js")]);
    const layers = new Layers(this.page.client, study, series);
    const panel = new LayersPanel(layers, () => this.page.active, {
      close: () => void this.toggle(),
      state: (state) => this.#present(layers, state),
    });
    panel.element.hidden = true;
    const open = { layers, panel };
    if (study !== this.#study) return open;
    this.#open = open;
    this.page.besides(panel.element);
    layers.addEventListener("change", () => {
      for (const viewport of this.page.layout.shown) {
        if (!this.#covered.has(viewport)) viewport.addLayer(new SegmentLayer(() => this.#open?.layers.visible ?? [], () => this.#open?.layers.opacity ?? 1), true);
        this.#covered.add(viewport);
        viewport.updateLayers();
      }
    });
    this.page.layout.addEventListener("shape", () => layers.changed());
    return open;
  }

  /** A stack as a state of the study shows it. @param {Stack} stack @param {string} instance of the state @returns {Promise<Stack | null>} null where that is not of its images */
  async under(stack, instance) {
    const { layers } = await (this.#opening ??= this.#make());
    await layers.loaded;
    const state = layers.statesFor(stack).find(({ ds }) => text(ds, Tag.SOPInstanceUID) === instance);
    return state ? layers.under(stack, state) : null;
  }

  /** @param {import("./layers.js").Layers} layers @param {import("./states.js").State | null} state */
  #present(layers, state) {
    const viewport = this.page.active;
    const { stack, entry } = viewport;
    if (!stack) return;
    const next = layers.under(stack, state);
    const at = next.entries.findIndex(({ image, frame }) => image.path.instance === entry?.image.path.instance && frame === entry.frame);
    this.page.linking.quietly(() => viewport.setStack(next, Math.max(0, at)));
    this.update();
  }
}
