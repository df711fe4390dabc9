// @ts-check
// Charts on a canvas: lines and dots over two axes, with words for those who do not see them.

import { h } from "../dom.js";

/** `points`: x, y. @typedef {{points: [number, number][], colour: string, kind: "line" | "dashed" | "dots", label: string}} Trace */
/**
 * @typedef {object} Plot
 * @property {string} title @property {string} unit of the ordinate
 * @property {[number, number]} x ends @property {[number, number]} y ends
 * @property {[number, string][]} xTicks @property {[number, string][]} yTicks
 * @property {boolean} [logarithmic] the ordinate
 * @property {{from: number, to: number, colour: string}[]} [bands] of the ordinate
 * @property {Trace[]} traces
 */

const MARGIN = { left: 40, right: 10, top: 8, bottom: 22 };

/** @param {Plot} plot @returns {HTMLElement} which draws itself as large as it is laid out */
export function chart(plot) {
  const canvas = h("canvas.chart-canvas", { role: "img", "aria-label": `${plot.title}: ${plot.traces.map(({ label }) => label).join(", ")}` });
  const legend = h(
    "div.chart-legend",
    null,
    ...plot.traces.map(({ label, colour, kind }) => {
      const sign = h(`i.chart-sign.is-${kind}`);
      sign.style.setProperty("--sign", colour);
      return h("span", null, sign, label);
    }),
  );
  new ResizeObserver(() => draw(canvas, plot)).observe(canvas);
  return h("figure.chart", null, h("figcaption", null, h("strong", null, plot.title), h("span.muted", null, plot.unit)), canvas, legend);
}

/** @param {HTMLCanvasElement} canvas @param {Plot} plot */
function draw(canvas, plot) {
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * devicePixelRatio);
  canvas.height = Math.round(height * devicePixelRatio);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const style = getComputedStyle(canvas);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name) || "#888";
  context.scale(devicePixelRatio, devicePixelRatio);
  context.font = `11px ${style.fontFamily}`;
  const inside = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  const place = (/** @type {number} */ v) => (plot.logarithmic ? Math.log10(v) : v);
  const [bottom, top] = plot.y.map(place);
  const x = (/** @type {number} */ v) => MARGIN.left + ((v - plot.x[0]) / (plot.x[1] - plot.x[0])) * inside.width;
  const y = (/** @type {number} */ v) => MARGIN.top + (1 - (place(v) - /** @type {number} */ (bottom)) / (/** @type {number} */ (top) - /** @type {number} */ (bottom))) * inside.height;
  for (const { from, to, colour: shade } of plot.bands ?? []) {
    context.fillStyle = shade;
    context.fillRect(MARGIN.left, y(to), inside.width, y(from) - y(to));
  }
  context.strokeStyle = colour("--line");
  context.fillStyle = colour("--muted");
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.beginPath();
  for (const [v, label] of plot.yTicks) {
    const at = Math.round(y(v)) + 0.5;
    context.moveTo(MARGIN.left, at);
    context.lineTo(width - MARGIN.right, at);
    context.fillText(label, MARGIN.left - 6, at);
  }
  context.stroke();
  context.textBaseline = "alphabetic";
  for (const [v, label] of plot.xTicks) {
    context.textAlign = v === plot.x[0] ? "left" : v === plot.x[1] ? "right" : "center";
    context.fillText(label, x(v), height - 6);
  }
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, MARGIN.top - 3, inside.width + 3, inside.height + 6);
  context.clip();
  for (const trace of plot.traces) trail(context, trace, x, y, colour);
  context.restore();
}

/** @param {CanvasRenderingContext2D} context @param {Trace} trace @param {(v: number) => number} x @param {(v: number) => number} y @param {(name: string) => string} colour */
function trail(context, { points, kind, colour: name }, x, y, colour) {
  const shade = colour(/** @type {string} */ (/var\((.*)\)/.exec(name)?.[1]));
  context.strokeStyle = context.fillStyle = shade;
  context.lineWidth = kind === "dashed" ? 1.5 : 2;
  context.setLineDash(kind === "dashed" ? [5, 4] : []);
  context.beginPath();
  for (const [i, [px, py]] of points.entries()) {
    if (kind === "dots") {
      context.moveTo(x(px) + 3, y(py));
      context.arc(x(px), y(py), 3, 0, 2 * Math.PI);
    } else if (i === 0) context.moveTo(x(px), y(py));
    else context.lineTo(x(px), y(py));
  }
  if (kind === "dots") context.fill();
  else context.stroke();
}
