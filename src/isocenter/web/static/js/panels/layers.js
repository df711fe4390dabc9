// @ts-check
// The panel of what lies over the images: segmentations with their legend, and the presentation states to choose from.

import { fill, h, iconButton } from "../dom.js";
import { t } from "../words.js";

/** @typedef {import("../layers/layers.js").Layers} Layers */
/** @typedef {import("../layers/segmentation.js").Segmentation} Segmentation */
/** @typedef {import("../viewport.js").Viewport} Viewport */

export class LayersPanel {
  #body = h("div.layers-body");
  element;

  /**
   * @param {Layers} layers @param {() => Viewport} active
   * @param {{close: () => void, state: (state: import("../layers/states.js").State | null) => void}} actions
   */
  constructor(layers, active, actions) {
    this.layers = layers;
    this.active = active;
    this.actions = actions;
    this.element = h("aside.layers-panel", { "aria-label": t("Layers") }, h("header", null, h("h2", null, t("Layers")), iconButton("close", t("Close the layers"), actions.close, "Shift + O")), this.#body);
    void layers.loaded.then(() => this.update(), (error) => fill(this.#body, h("p.muted", { role: "alert" }, error instanceof Error ? error.message : String(error))));
    fill(this.#body, h("p.muted", null, t("Loading")));
  }

  /** Draws it anew, for another stack. */
  update() {
    const { stack } = this.active();
    if (!stack) return;
    const plain = this.layers.plain(stack);
    const segmentations = this.layers.segmentations.filter((one) => one.concerns(plain));
    const states = this.layers.statesFor(stack);
    const now = this.layers.stateOf(stack);
    const choice = (/** @type {import("../layers/states.js").State | null} */ state, /** @type {string} */ label, detail = "") =>
      h("label.layer", null, h("input", { type: "radio", name: "state", checked: state === now, onchange: () => this.actions.state(state) }), h("span", null, label, detail && h("span.layer-detail", null, detail)));
    fill(
      this.#body,
      segmentations.length > 0 && h("section", null, h("h3", null, t("Segmentations")), ...segmentations.map((one) => this.#segmentation(one)), this.#opacity()),
      states.length > 0 && h("section", { role: "radiogroup", "aria-label": t("Presentation states") }, h("h3", null, t("Presentation states")), choice(null, t("None: the image as it is stored")), ...states.map((state) => choice(state, state.label || t("Presentation state"), state.detail))),
      segmentations.length + states.length === 0 && h("p.muted", null, t("Nothing in this study lies over these images.")),
    );
  }

  /** @param {Segmentation} one */
  #segmentation(one) {
    const change = () => {
      one.forget();
      this.layers.changed();
    };
    const all = h("input", { type: "checkbox", checked: one.shown });
    all.addEventListener("change", () => {
      one.shown = all.checked;
      list.hidden = !one.shown;
      this.layers.changed();
    });
    const list = h(
      "div.legend",
      { hidden: !one.shown },
      ...one.segments.map((segment) => {
        const box = h("input", { type: "checkbox", checked: segment.shown });
        box.addEventListener("change", () => {
          segment.shown = box.checked;
          change();
        });
        const swatch = h("i.swatch");
        swatch.style.backgroundColor = `rgb(${segment.colour.join(" ")})`;
        return h("label.layer", null, box, swatch, h("span", null, segment.label, segment.detail && segment.detail !== segment.label && h("span.layer-detail", null, segment.detail)));
      }),
    );
    return h("div", null, h("label.layer.is-head", null, all, h("span", null, one.label)), list);
  }

  #opacity() {
    const slider = h("input", { type: "range", min: "0.1", max: "1", step: "0.05", value: String(this.layers.opacity), "aria-label": t("Opacity") });
    slider.addEventListener("input", () => {
      this.layers.opacity = Number(slider.value);
      this.layers.changed();
    });
    return h("label.layer-opacity", null, h("span", null, t("Opacity")), slider);
  }
}
