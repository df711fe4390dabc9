// @ts-check
// Curves on paper: an electrocardiogram as it is read, 25 mm a second and 10 mm a millivolt over a grid of millimetres,
// with the pulse that proves it. What is no voltage fills the height of its row, and says its range.

import { Tag, items, number, text } from "../dataset.js";
import { fill, h } from "../dom.js";
import { short } from "../format.js";
import { fromBase64 } from "../tables.js";
import { t } from "../words.js";
import { samples } from "./samples.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("./samples.js").Group} Group */
/** @typedef {import("./samples.js").Channel} Channel */
/**
 * A part of a channel on the paper, in millimetres: `x` is where its second `from` is, `y` its zero line, `rise` what a
 * unit of its values is high.
 * @typedef {{channel: Channel, x: number, y: number, from: number, to: number, rise: number, zero: number}} Strip
 */

const SPEEDS = [12.5, 25, 50];
const GAINS = [5, 10, 20];
/** The usual order of leads on a page, columns first. */
const PAGE = [["I", "II", "III"], ["aVR", "aVL", "aVF"], ["V1", "V2", "V3"], ["V4", "V5", "V6"]];
const RHYTHM = "II";
/** Millimetres: before the first second, after the last, above and below, and a row. */
const [LEFT, RIGHT, ABOVE, BELOW, ROW] = [12, 6, 8, 8, 26];
const PULSE = { start: 3, width: 5 };
/** Seconds on one paper. */
const LONGEST = 10;
/** CSS pixels of a millimetre, at least and at most. */
const [SMALLEST, LARGEST] = [2.6, 6];

/**
 * @param {import("../dicomweb.js").DicomWeb} client @param {DataSet} ds @returns {Promise<HTMLElement[]>} what is shown of
 * the object's waveforms
 */
export async function waveforms(client, ds) {
  const groups = items(ds, "54000100");
  const read = await Promise.all(
    groups.map(async (group) => {
      const data = group["54001010"];
      const bytes = data?.InlineBinary ? fromBase64(data.InlineBinary) : await client.bulk(data?.BulkDataURI ?? "");
      return samples(group, bytes);
    }),
  );
  const title = [text(ds, Tag.StudyDescription), text(ds, Tag.SeriesDescription)].filter(Boolean)[0] ?? t("Waveform");
  return [h("header.waveform-head", null, h("h2", null, title), said(ds)), ...read.map((group) => new Paper(group).element)];
}

/** What the recorder found: measures and sentences. @param {DataSet} ds */
function said(ds) {
  const notes = items(ds, "0040B020");
  const sentences = notes.map((note) => text(note, "00700006")).filter(Boolean);
  const measures = notes.flatMap((note) => {
    const value = number(note, "0040A30A");
    const name = text(items(note, "0040A043")[0], "00080104");
    if (value === undefined || !name) return [];
    const unit = text(items(note, "004008EA")[0], "00080100");
    return [h("div", null, h("dt", null, name), h("dd", null, [short(value), unit].filter((word) => word && word !== "1").join(" ")))];
  });
  return h("div", null, ...sentences.map((sentence) => h("p", null, sentence)), measures.length > 0 && h("dl.report-facts", null, ...measures.slice(0, 24)));
}

class Paper {
  #canvas = h("canvas.paper", { role: "img" });
  #sheet = h("div.paper-sheet", { tabindex: "0" }, this.#canvas);
  #readout = h("output.paper-readout", { "aria-live": "off" });
  #controls = h("div.paper-controls");
  #speed = 25;
  #gain = 10;
  #start = 0;
  #pageOrder;
  /** @type {Strip[]} */
  #strips = [];
  /** CSS pixels of a millimetre. */
  #mm = 4;
  element;

  /** @param {Group} group */
  constructor(group) {
    this.group = group;
    this.seconds = (group.channels[0]?.values.length ?? 0) / group.frequency;
    this.leads = new Map(group.channels.map((channel) => [channel.label, channel]));
    this.paged = PAGE.flat().every((name) => this.leads.has(name)) && this.seconds >= 4;
    this.#pageOrder = this.paged;
    this.element = h("section.waveform", null, h("header", null, h("h3", null, group.label || t("Waveform")), this.#controls, this.#readout), this.#sheet);
    this.#canvas.addEventListener("pointermove", (event) => this.#read(event));
    this.#canvas.addEventListener("pointerleave", () => fill(this.#readout));
    new ResizeObserver(() => this.#draw()).observe(this.#sheet);
    this.#drawControls();
  }

  #drawControls() {
    /** @template T @param {string} label @param {[T, string][]} choices @param {T} now @param {(to: T) => void} choose */
    const segments = (label, choices, now, choose) =>
      h(
        "div.segments",
        { role: "group", "aria-label": label },
        ...choices.map(([value, name]) => h("button", { type: "button", "aria-pressed": String(value === now), onclick: () => { choose(value); this.#drawControls(); this.#draw(); } }, name)),
      );
    const start = h("input", { type: "range", min: "0", max: String(Math.max(0, this.seconds - LONGEST)), step: "0.5", value: String(this.#start), "aria-label": t("Start of the paper, in seconds") });
    start.addEventListener("input", () => {
      this.#start = Number(start.value);
      this.#draw();
    });
    fill(
      this.#controls,
      this.paged && segments(t("Layout"), [[true, "3 × 4"], [false, "12 × 1"]], this.#pageOrder, (to) => (this.#pageOrder = to)),
      segments(t("Speed"), SPEEDS.map((speed) => [speed, `${speed} mm/s`]), this.#speed, (to) => (this.#speed = to)),
      this.group.channels.some(({ scale }) => scale) && segments(t("Gain"), GAINS.map((gain) => [gain, `${gain} mm/mV`]), this.#gain, (to) => (this.#gain = to)),
      this.seconds > LONGEST && start,
    );
  }

  /** @returns {Strip[]} */
  #layOut() {
    const length = Math.min(LONGEST, this.seconds - this.#start);
    const end = this.#start + length;
    const strip = (/** @type {Channel} */ channel, /** @type {number} */ row, /** @type {number} */ from, /** @type {number} */ to) => {
      const middle = ABOVE + (row + 0.5) * ROW;
      const x = LEFT + (from - this.#start) * this.#speed;
      if (channel.scale) return { channel, x, y: middle, from, to, rise: channel.scale * this.#gain, zero: 0 };
      let [least, most] = [Infinity, -Infinity];
      for (const value of channel.values) [least, most] = [Math.min(least, value), Math.max(most, value)];
      return { channel, x, y: middle, from, to, rise: (ROW * 0.8) / Math.max(1e-9, most - least), zero: (least + most) / 2 };
    };
    if (!this.#pageOrder) return this.group.channels.map((channel, row) => strip(channel, row, this.#start, end));
    const part = length / PAGE.length;
    const parts = PAGE.flatMap((names, column) =>
      names.map((name, row) => strip(/** @type {Channel} */ (this.leads.get(name)), row, this.#start + column * part, this.#start + (column + 1) * part)),
    );
    return [...parts, strip(/** @type {Channel} */ (this.leads.get(RHYTHM)), 3, this.#start, end)];
  }

  #draw() {
    const space = this.#sheet.clientWidth;
    if (space === 0) return;
    const shown = Math.min(LONGEST, this.seconds - this.#start);
    // Millimetres are as wide as lets ten seconds at the usual speed be seen at once.
    this.#mm = Math.min(LARGEST, Math.max(SMALLEST, space / (LEFT + RIGHT + Math.max(6, shown) * 25)));
    this.#strips = this.#layOut();
    const rows = this.#pageOrder ? 4 : this.group.channels.length;
    const [width, height] = [Math.max(space / this.#mm, LEFT + RIGHT + shown * this.#speed), ABOVE + BELOW + rows * ROW];
    const canvas = this.#canvas;
    const k = this.#mm * devicePixelRatio;
    canvas.width = Math.round(width * k);
    canvas.height = Math.round(height * k);
    canvas.style.width = `${canvas.width / devicePixelRatio}px`;
    canvas.style.height = `${canvas.height / devicePixelRatio}px`;
    const words = [`${this.#speed} mm/s`, this.group.channels.some(({ scale }) => scale) && `${this.#gain} mm/mV`, `${short(this.group.frequency)} Hz`].filter(Boolean).join("   ");
    canvas.setAttribute("aria-label", `${this.group.label}, ${this.group.channels.map(({ label }) => label).join(" ")}, ${words}`);
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    context.setTransform(k, 0, 0, k, 0, 0);
    grid(context, width, height);
    context.lineJoin = "round";
    for (const strip of this.#strips) this.#trace(context, strip);
    context.fillStyle = "#5d4a48";
    context.font = "500 3px system-ui, sans-serif";
    context.fillText(words, LEFT, height - 2.5);
  }

  /** @param {CanvasRenderingContext2D} context @param {Strip} strip */
  #trace(context, { channel, x, y, from, to, rise, zero }) {
    const { frequency } = this.group;
    context.strokeStyle = "#16181d";
    context.lineWidth = 0.32;
    context.beginPath();
    if (channel.scale && x === LEFT) {
      const top = y - this.#gain;
      context.moveTo(PULSE.start - 1.5, y);
      for (const [px, py] of /** @type {[number, number][]} */ ([[PULSE.start, y], [PULSE.start, top], [PULSE.start + PULSE.width, top], [PULSE.start + PULSE.width, y], [LEFT - 1, y]])) context.lineTo(px, py);
    }
    const [first, last] = [Math.round(from * frequency), Math.min(channel.values.length, Math.round(to * frequency))];
    for (let i = first; i < last; i += 1) {
      const px = x + (i / frequency - from) * this.#speed;
      const py = y - (/** @type {number} */ (channel.values[i]) - zero) * rise;
      if (i === first) context.moveTo(px, py);
      else context.lineTo(px, py);
    }
    context.stroke();
    context.fillStyle = "#16181d";
    context.font = "600 3.4px system-ui, sans-serif";
    context.fillText(channel.scale ? channel.label : [channel.label, channel.unit && `(${channel.unit})`].filter(Boolean).join(" "), x + 1, y - ROW / 2 + 5);
    // Where one lead ends and the next begins.
    if (x > LEFT) {
      context.lineWidth = 0.25;
      context.beginPath();
      context.moveTo(x, y - 4);
      context.lineTo(x, y + 4);
      context.stroke();
    }
  }

  /** Lead, time and value under the pointer. @param {PointerEvent} event */
  #read(event) {
    const [x, y] = [event.offsetX / this.#mm, event.offsetY / this.#mm];
    const strip = this.#strips.find((one) => Math.abs(y - one.y) <= ROW / 2 && x >= one.x && x < one.x + (one.to - one.from) * this.#speed);
    const at = strip ? strip.from + (x - strip.x) / this.#speed : 0;
    const value = strip?.channel.values[Math.round(at * this.group.frequency)];
    if (!strip || value === undefined) {
      fill(this.#readout);
      return;
    }
    const { label, scale, unit } = strip.channel;
    fill(this.#readout, `${label}   ${at.toFixed(3)} s   ${scale ? `${(value * scale).toFixed(3)} mV` : `${short(value)} ${unit}`}`);
  }
}

/** Lines each millimetre, stronger ones each five. @param {CanvasRenderingContext2D} context @param {number} width @param {number} height mm */
function grid(context, width, height) {
  context.fillStyle = "#fffaf8";
  context.fillRect(0, 0, width, height);
  for (const [step, colour, thick] of /** @type {[number, string, number][]} */ ([[1, "#f8deda", 0.12], [5, "#eeb5ad", 0.2]])) {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.beginPath();
    for (let x = LEFT % step; x <= width; x += step) {
      context.moveTo(x, 0);
      context.lineTo(x, height);
    }
    for (let y = (ABOVE + ROW / 2) % step; y <= height; y += step) {
      context.moveTo(0, y);
      context.lineTo(width, y);
    }
    context.stroke();
  }
}
