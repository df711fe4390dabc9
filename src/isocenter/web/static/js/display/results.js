// @ts-check
// What a curve says of its display: the numbers that acceptance goes by, and three charts beside the standard function.

import { h } from "../dom.js";
import { t } from "../words.js";
import { chart } from "./chart.js";
import { CLASSES, PATCHES, assess, classOf } from "./curve.js";
import { jndIndex } from "./gsdf.js";

/** @typedef {import("./curve.js").Curve} Curve */

const OWN = "var(--warn)";
const CORRECTED = "var(--accent)";
const FUNCTION = "var(--muted)";

/** @param {number} v */
const luminanceWords = (v) => (v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2));
/** @param {number} part */
const percent = (part) => `${(part * 100).toFixed(part < 0.0995 ? 1 : 0)} %`;

/** @param {string} name @param {string} value @param {string} unit @param {string} [note] @param {boolean | null} [good] */
function fact(name, value, unit, note = "", good = null) {
  const kind = good === null ? "" : good ? ".is-good" : ".is-bad";
  return h(`div.fact${kind}`, null, h("dt", null, name), h("dd", null, h("strong", null, value), unit && h("span", null, unit), note && h("small", null, note)));
}

/** @param {Curve} curve @param {boolean} measured and not what somebody says of it @returns {HTMLElement} */
export function verdict(curve, measured) {
  const judged = assess(curve.corrected);
  const kept = classOf(judged);
  const words = kept === "primary" ? "Good for primary diagnosis (AAPM TG18)" : kept === "secondary" ? "Good for looking at images, not for primary diagnosis (AAPM TG18)" : "Outside of the limits for looking at images (AAPM TG18)";
  return h(`p.verdict${kept === "" ? ".is-bad" : measured && kept === "primary" ? ".is-good" : ""}`, { role: "status" }, measured ? t(words) : `${t("If the numbers are right")}: ${t(words)}`);
}

/** @param {Curve} curve @returns {HTMLElement} */
export function facts(curve) {
  const [own, corrected] = [assess(curve.asItIs), assess(curve.corrected)];
  const { primary } = CLASSES;
  return h(
    "dl.facts",
    null,
    fact(t("Brightest, L′max"), luminanceWords(own.white), "cd/m²", t("at least {0}", primary.white), own.white >= primary.white),
    fact(t("Darkest, L′min"), luminanceWords(/** @type {number} */ (curve.asItIs[0])), "cd/m²", curve.ambient > 0 ? t("with {0} of the room", curve.ambient) : t("the room is dark")),
    fact(t("Luminance ratio"), own.ratio.toFixed(0), "", t("at least {0}", primary.ratio), own.ratio >= primary.ratio),
    fact(t("Steps an eye can tell"), own.jnds.toFixed(0), "JND"),
    fact(t("Contrast error as it is"), percent(own.deviation), "", t("at most {0}", percent(primary.deviation)), own.deviation <= primary.deviation),
    fact(t("With the table"), percent(corrected.deviation), "", t("at most {0}", percent(primary.deviation)), corrected.deviation <= primary.deviation),
  );
}

/** @param {number} low @param {number} high @returns {[number, string][]} */
function decades(low, high) {
  const ticks = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000].filter((v) => v >= low && v <= high);
  return ticks.map((v) => [v, String(v)]);
}

/** @param {Curve} curve */
function luminanceChart(curve) {
  const { seen, top } = curve;
  const [low, high] = [/** @type {number} */ (seen[0]), /** @type {number} */ (seen[top])];
  const standard = curve.standard(top + 1);
  const levels = [...seen.keys()];
  return chart({
    title: t("Luminance"),
    unit: t("cd/m² by level"),
    x: [0, top],
    y: [low * 0.8, high * 1.25],
    logarithmic: true,
    xTicks: [[0, "0"], [(top + 1) / 4, String((top + 1) / 4)], [(top + 1) / 2, String((top + 1) / 2)], [(3 * (top + 1)) / 4, String((3 * (top + 1)) / 4)], [top, String(top)]],
    yTicks: decades(low * 0.8, high * 1.25),
    traces: [
      { label: t("Display"), colour: OWN, kind: "line", points: levels.map((v) => [v, /** @type {number} */ (seen[v])]) },
      { label: t("With the table"), colour: CORRECTED, kind: "dots", points: curve.corrected.map((v, i) => [(i * top) / (PATCHES - 1), v]) },
      { label: t("Function of PS3.14"), colour: FUNCTION, kind: "dashed", points: levels.map((v) => [v, /** @type {number} */ (standard[v])]) },
    ],
  });
}

/** @param {Curve} curve */
function stepsChart(curve) {
  const { seen, top } = curve;
  const jnds = Array.from(seen, jndIndex);
  const steps = jnds.slice(1).map((v, i) => v - /** @type {number} */ (jnds[i]));
  const mean = (/** @type {number} */ (jnds[top]) - /** @type {number} */ (jnds[0])) / top;
  // Where a display begins to glow a step may be many times the others: the chart is of the rest.
  const most = Math.min(Math.max(...steps), 4 * mean) * 1.1;
  const each = [0.5, 1, 2, 5, 10, 20].find((v) => most / v <= 5) ?? 50;
  return chart({
    title: t("Steps between levels"),
    unit: t("JND a level"),
    x: [0, top],
    y: [0, most],
    xTicks: [[0, "0"], [(top + 1) / 2, String((top + 1) / 2)], [top, String(top)]],
    yTicks: Array.from({ length: Math.floor(most / each) + 1 }, (_, i) => [i * each, String(i * each)]),
    traces: [
      { label: t("Display"), colour: OWN, kind: "line", points: steps.map((v, i) => [i + 0.5, v]) },
      { label: t("Function of PS3.14"), colour: FUNCTION, kind: "dashed", points: [[0, mean], [top, mean]] },
    ],
  });
}

/** @param {Curve} curve */
function contrastChart(curve) {
  const [own, corrected] = [assess(curve.asItIs), assess(curve.corrected)];
  const most = Math.min(100, Math.max(25, 110 * own.deviation, 110 * corrected.deviation));
  const each = most > 60 ? 50 : most > 30 ? 20 : 10;
  const ticks = Array.from({ length: 2 * Math.floor(most / each) + 1 }, (_, i) => (i - Math.floor(most / each)) * each);
  const points = (/** @type {number[]} */ deviations) => deviations.map((v, i) => /** @type {[number, number]} */ ([i + 1, v * 100]));
  return chart({
    title: t("Contrast response"),
    unit: t("% off the function, limit of 10 %"),
    x: [0.5, PATCHES - 0.5],
    y: [-most, most],
    xTicks: [1, 5, 9, 13, 17].map((v) => [v, String(v)]),
    yTicks: ticks.map((v) => [v, v > 0 ? `+${v}` : String(v)]),
    bands: [
      { from: -100 * CLASSES.secondary.deviation, to: 100 * CLASSES.secondary.deviation, colour: "rgb(94 200 220 / 6%)" },
      { from: -100 * CLASSES.primary.deviation, to: 100 * CLASSES.primary.deviation, colour: "rgb(94 200 220 / 12%)" },
    ],
    traces: [
      { label: t("Display"), colour: OWN, kind: "line", points: points(own.deviations) },
      { label: t("With the table"), colour: CORRECTED, kind: "dots", points: points(corrected.deviations) },
    ],
  });
}

/** @param {Curve} curve @returns {HTMLElement[]} */
export function charts(curve) {
  return [luminanceChart(curve), stepsChart(curve), contrastChart(curve)];
}
