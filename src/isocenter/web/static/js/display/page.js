// @ts-check
// The page that calibrates a display: whether it is, how it is measured or described, how well it follows the function,
// and the test pattern.

import { asset } from "../base.js";
import { fill, h, icon, iconButton } from "../dom.js";
import { date, dayFromNow } from "../format.js";
import { say } from "../panels/dialog.js";
import { t } from "../words.js";
import { calibrationWords } from "./badge.js";
import { Curve, read, write } from "./curve.js";
import { measure, numberOf, showPattern } from "./guide.js";
import { paintPattern, qualityPattern } from "./pattern.js";
import { charts, facts, verdict } from "./results.js";
import { curveText, display, kept } from "./screen.js";

/** @typedef {import("./curve.js").Label} Label */

/** Bytes of a file that is read, as the server's. */
const LONGEST = 4 << 20;

/** The fields of a display that nobody measured. @type {[key: "black" | "white" | "gamma" | "ambient", label: string, value: string, unit: string][]} */
const FIELDS = [
  ["black", "Black, L min", "0.3", "cd/m²"],
  ["white", "White, L max", "250", "cd/m²"],
  ["gamma", "Gamma", "2.2", ""],
  ["ambient", "Light of the room", "0.2", "cd/m²"],
];

export class DisplayPage {
  #state = h("section.display-state");
  #name = h("input.field", { type: "text", maxlength: "64", autocomplete: "off", spellcheck: "false", value: t("Main display") });
  /** @type {Map<string, HTMLInputElement>} */
  #fields = new Map();
  #problem = h("p.display-problem", { role: "alert", hidden: true });
  #results = h("div.display-results");
  #pattern = h("canvas.pattern-canvas", { role: "img", "aria-label": t("Test pattern") });
  #file = h("input", { type: "file", accept: ".lut,.txt,text/plain", hidden: true });
  #typed = h("form.display-typed");

  /** @param {{back: () => void, help: () => void}} actions */
  constructor(actions) {
    document.head.append(h("link", { rel: "stylesheet", href: asset("css/display.css") }));
    const fields = FIELDS.map(([key, label, value, unit]) => {
      const input = h("input.field", { type: "text", inputmode: "decimal", autocomplete: "off", value, name: key });
      this.#fields.set(key, input);
      return h("label.display-field", null, h("span", null, t(label)), h("span.with-unit", null, input, h("span.muted", null, unit)));
    });
    fill(this.#typed, ...fields, h("button.button", { type: "submit" }, t("Use these")));
    this.element = h(
      "main.display-page",
      null,
      h("header.bar", null, iconButton("back", "Back", actions.back, "Esc"), h("h1", null, t("Calibrate this display")), h("div.bar-end", null, iconButton("help", "Keyboard map", actions.help, "?"))),
      h(
        "div.display-body",
        null,
        h(
          "div.display-side",
          null,
          this.#state,
          h("label.display-field.is-name", null, h("span", null, t("Name of the display")), this.#name),
          h("section", null, h("h2", null, t("With a photometer")), h("p", null, t("18 fields are shown one after the other, and you type what it says.")), h("button.button.primary", { type: "button", onclick: () => void this.#measure() }, icon("contrast"), t("Measure"))),
          h("section", null, h("h2", null, t("Without one")), h("p", null, t("What the maker of the display says of it. It ages: measure it when you can.")), this.#typed),
          this.#problem,
        ),
        h("div.display-main", null, this.#results, h("figure.pattern", null, this.#pattern, h("figcaption", null, h("span.muted", null, t("Look for both squares in black and white, whole lines, and the last letters.")), h("button.button", { type: "button", onclick: () => showPattern(display.levels) }, icon("fit"), t("Test pattern"), h("kbd", null, "P"))))),
      ),
      this.#file,
    );
    this.bindings = [
      { keys: ["m"], label: "Measure with a photometer", group: "Display", run: () => void this.#measure() },
      { keys: ["p"], label: "Test pattern", group: "Display", run: () => showPattern(display.levels) },
      { keys: ["Escape"], label: "Back", group: "Display", run: actions.back },
      { keys: ["?"], label: "This map", group: "Display", run: actions.help },
    ];
    this.#typed.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#try(() => this.#keep(this.#typedCurve(), { kind: "typed" }));
    });
    this.#typed.addEventListener("input", () => this.#draw());
    this.#file.addEventListener("change", () => void this.#import());
    display.addEventListener("change", () => this.#draw());
    new ResizeObserver(() => this.#drawPattern()).observe(this.#pattern);
  }

  async show() {
    document.title = `${t("Calibrate this display")} · Isocenter`;
    await display.load();
    this.#draw();
  }

  hide() {
    document.querySelector("dialog.display-full")?.remove();
  }

  /** Raises Error for what is no display. */
  #typedCurve() {
    const value = (/** @type {string} */ key) => numberOf(this.#fields.get(key)?.value ?? "");
    const [black, white, gamma, ambient] = ["black", "white", "gamma", "ambient"].map(value);
    if (![black, white, gamma, ambient].every(Number.isFinite) || !(/** @type {number} */ (gamma) >= 0.5 && /** @type {number} */ (gamma) <= 5)) throw new Error("Luminances are numbers, and a gamma lies between 0.5 and 5.");
    return Curve.ofGamma(/** @type {number} */ (black), /** @type {number} */ (white), /** @type {number} */ (gamma), /** @type {number} */ (ambient));
  }

  async #measure() {
    const found = await measure();
    if (found) this.#try(() => this.#keep(new Curve(found.levels, found.measured, found.ambient), { kind: "measured" }));
  }

  /** @param {Curve} curve @param {Partial<Label>} label */
  async #keep(curve, label) {
    const name = label.name || this.#name.value.trim() || t("Main display");
    const text = write(curve, { name, day: label.day ?? date(dayFromNow(0)), kind: label.kind ?? "" });
    read(text);
    await display.keep(name, text);
    this.#name.value = name;
    say(t("Kept for this screen"));
  }

  /** What goes wrong is said on the page. @param {() => unknown} action */
  #try(action) {
    this.#problem.hidden = true;
    void (async () => action())().catch((error) => {
      this.#problem.textContent = t(error instanceof Error ? error.message : String(error));
      this.#problem.hidden = false;
    });
  }

  async #import() {
    const file = this.#file.files?.[0];
    this.#file.value = "";
    if (!file) return;
    this.#try(async () => {
      if (file.size > LONGEST) throw new Error("The file is too large for a characteristic curve.");
      const { curve, label } = read(await file.text());
      await this.#keep(curve, { ...label, name: label.name || file.name.replace(/\.[^.]*$/, "") });
    });
  }

  #export() {
    const text = curveText(display.name);
    if (text === null) return;
    const address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    h("a", { href: address, download: `${display.name.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-")}.lut` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  #draw() {
    const used = display.label;
    const text = used ? curveText(used.name) : null;
    this.#drawState(text !== null);
    try {
      const curve = text === null ? this.#typedCurve() : read(text).curve;
      fill(this.#results, h("header", null, h("h2", null, t("How it shows greys")), used ? verdict(curve, used.kind === "measured") : h("p.muted", null, t("By the numbers typed here, which are not in use"))), facts(curve), h("div.charts", null, ...charts(curve)));
    } catch (error) {
      fill(this.#results, h("p.display-problem", null, t(error instanceof Error ? error.message : String(error))));
    }
    this.#drawPattern();
  }

  /** @param {boolean} used */
  #drawState(used) {
    const { label } = display;
    const names = kept();
    const choice = h("select.display-choice", { "aria-label": t("Calibration used on this screen") }, h("option", { value: "" }, t("None")), ...names.map((name) => h("option", { value: name, selected: name === display.name }, name)));
    choice.addEventListener("change", () => this.#try(() => display.use(choice.value)));
    const sort = label?.kind === "measured" ? t("Measured") : label?.kind === "typed" ? t("By typed numbers") : "";
    const about = label ? [label.name, sort].filter(Boolean).join(" · ") : t("Greys are shown as the display likes.");
    const size = `${Math.round(screen.width * devicePixelRatio)} × ${Math.round(screen.height * devicePixelRatio)}`;
    fill(
      this.#state,
      h(`p.display-verdict${label ? (display.isOld ? ".is-old" : ".is-calibrated") : ""}`, { role: "status" }, h("i"), h("strong", null, calibrationWords())),
      h("p", null, about),
      display.isOld && h("p.display-old", null, t("Older than a year: calibrate again")),
      h("p.muted", null, t("Screen of {0} pixels", size)),
      names.length > 0 && h("label.display-field", null, h("span", null, t("Used here")), choice),
      h(
        "div.display-actions",
        null,
        h("button.button", { type: "button", onclick: () => this.#file.click() }, t("Import")),
        used && h("button.button", { type: "button", onclick: () => this.#export() }, t("Export")),
        used && h("button.button", { type: "button", onclick: () => this.#try(() => display.forget(display.name)) }, t("Forget")),
      ),
    );
  }

  #drawPattern() {
    if (this.#pattern.isConnected && this.#pattern.clientWidth > 0) paintPattern(this.#pattern, qualityPattern, display.levels);
  }
}
