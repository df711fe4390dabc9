// @ts-check
// Patterns that fill the window, and the guided measurement: a field of one level after the other, and what a photometer
// says of it.

import { fill, h } from "../dom.js";
import { t } from "../words.js";
import { patches } from "./curve.js";
import { luminancePattern, paintPattern, qualityPattern } from "./pattern.js";

/** cd/m2 of the levels, in the dark, and what the room adds. @typedef {{levels: number[], measured: number[], ambient: number}} Measurement */

const TOP = 255;

/** @param {string} said @returns {number} NaN for what is no luminance */
export function numberOf(said) {
  const word = said.trim().replace(",", ".");
  return /^\d*\.?\d+$/.test(word) ? Number(word) : NaN;
}

/**
 * A dialog as large as the window, with a picture under its words.
 * @param {string} label @param {() => [(width: number, height: number) => Uint8Array, Uint16Array | null]} what pattern and levels
 */
function fullDialog(label, what) {
  const canvas = h("canvas.full-canvas");
  const foot = h("div.full-foot");
  const dialog = h("dialog.display-full", { "aria-label": label }, canvas, foot);
  const paint = () => paintPattern(canvas, ...what());
  const observer = new ResizeObserver(paint);
  const toggle = () => void (document.fullscreenElement ? document.exitFullscreen() : dialog.requestFullscreen()).catch(() => undefined); // some embedders forbid it
  dialog.addEventListener("close", () => {
    observer.disconnect();
    if (document.fullscreenElement === dialog) void document.exitFullscreen();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  observer.observe(canvas);
  return { dialog, foot, paint, toggle };
}

/** The pattern to look at; `T` takes the calibration out of it and back. @param {Uint16Array | null} levels of a calibrated display */
export function showPattern(levels) {
  let through = levels !== null;
  const { dialog, foot, paint, toggle } = fullDialog(t("Test pattern"), () => [qualityPattern, through ? levels : null]);
  const words = h("span");
  const tell = () => {
    words.textContent = levels === null ? t("Not calibrated") : through ? t("With the calibration") : t("Without the calibration");
    paint();
  };
  const change = () => {
    through = levels !== null && !through;
    tell();
  };
  fill(
    foot,
    words,
    levels && h("button.button", { type: "button", onclick: change }, t("Compare"), h("kbd", null, "T")),
    h("button.button", { type: "button", onclick: toggle }, t("Full screen"), h("kbd", null, "F")),
    h("button.button", { type: "button", onclick: () => dialog.close() }, t("Close"), h("kbd", null, "Esc")),
  );
  dialog.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "t") change();
    if (event.key.toLowerCase() === "f") toggle();
  });
  tell();
}

/**
 * Shows 18 fields, one after the other, and takes their luminances; at last what the room adds.
 * @returns {Promise<Measurement | null>} null when it was broken off
 */
export function measure() {
  const levels = patches(TOP);
  /** @type {string[]} as typed, of each level and of the room */
  const said = [];
  let at = 0;
  const { dialog, foot, paint } = fullDialog(t("Measure with a photometer"), () => [(w, height) => luminancePattern(w, height, levels[at] ?? 0), null]);
  const step = h("strong");
  const hint = h("span.full-hint");
  const problem = h("span.full-problem", { role: "alert" });
  const input = h("input.field", { type: "text", inputmode: "decimal", autocomplete: "off", spellcheck: "false", "aria-label": t("Luminance in cd/m²"), placeholder: "cd/m²" });
  const back = h("button.button", { type: "button", onclick: () => go(at - 1) }, t("Back"));
  const form = h("form.full-form", null, step, input, back, h("button.button.primary", { type: "submit" }, t("Next")), problem, hint);
  const go = (/** @type {number} */ to) => {
    at = to;
    const room = at === levels.length;
    step.textContent = room ? t("Light of the room") : t("{0} of {1} · level {2}", at + 1, levels.length, String(levels[at]));
    hint.textContent = room ? t("Switch the display off and measure it from where you sit. 0 if the photometer touched the screen in a dark room.") : t("Hold the photometer to the field in the middle. Enter goes on, Esc breaks off.");
    back.disabled = at === 0;
    input.value = said[at] ?? (room ? "0" : "");
    problem.textContent = "";
    paint();
    input.select();
    input.focus();
  };
  fill(foot, form);
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const value = numberOf(input.value);
      const before = at > 0 && at < levels.length ? numberOf(said[at - 1] ?? "") : 0;
      if (Number.isNaN(value)) problem.textContent = t("A luminance in cd/m² is a number, as 12.3");
      else if (value < before) problem.textContent = t("Less than {0} of the level before: measure again", String(before));
      else {
        said[at] = input.value;
        if (at < levels.length) go(at + 1);
        else {
          const measured = said.map(numberOf);
          resolve({ levels, measured: measured.slice(0, levels.length), ambient: /** @type {number} */ (measured.at(-1)) });
          dialog.close();
        }
      }
    });
    dialog.addEventListener("close", () => resolve(null));
    go(0);
  });
}
