// @ts-check
// The button that leads from a stack to its planes. It is offered where the stack is a volume, and says why where it is not.

import { iconButton } from "../dom.js";
import { t } from "../words.js";

/** @typedef {import("../viewer.js").ViewerPage} ViewerPage */
/** @typedef {import("../stack.js").Stack} Stack */

export class PlanesOffer {
  /** Why a stack is no volume; "" for those that are. @type {WeakMap<Stack, string>} */
  #reasons = new WeakMap();
  element = iconButton("cube", t("Planes and volume"), () => this.open());

  /** @param {ViewerPage} page */
  constructor(page) {
    this.page = page;
  }

  update() {
    const { stack, painted } = this.page.active;
    const reason = stack && this.#reasons.get(stack);
    // Nobody waits for the answer: the first picture comes before it.
    if (stack && painted && reason === undefined) void this.#judge(stack);
    const usable = reason === "";
    this.element.setAttribute("aria-disabled", String(!usable));
    this.element.title = usable ? `${t("Planes and volume")} (C)` : reason ? t("No volume: {0}", reason) : t("Planes and volume");
  }

  /** @param {Stack} stack */
  async #judge(stack) {
    const { judge } = await import("./judge.js");
    if (this.#reasons.has(stack)) return;
    this.#reasons.set(stack, judge(stack.images).reason);
    this.update();
  }

  async open() {
    const { page } = this;
    const { stack, entry, chosen, inverted } = page.active;
    if (!stack || !entry) return;
    await this.#judge(stack);
    const reason = this.#reasons.get(stack);
    if (reason) {
      page.tell(t("No volume: {0}", reason), true);
      return;
    }
    page.actions.planes({ page: "view", study: stack.study, series: stack.series, instance: entry.image.path.instance, frame: entry.frame, window: chosen, inverted, planes: "on" });
  }
}
