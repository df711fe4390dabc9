// @ts-check
// The strip of series: a thumbnail each, and a button per clip where a series holds several multi-frame objects.

import { NO_PICTURE, Tag, number, text } from "../dataset.js";
import { fill, h, icon } from "../dom.js";
import { plural } from "../format.js";
import { t } from "../words.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("../stack.js").Stack} Stack */

/** @param {DataSet} a @param {DataSet} b */
function bySeriesNumber(a, b) {
  const [na, nb] = [number(a, Tag.SeriesNumber) ?? Infinity, number(b, Tag.SeriesNumber) ?? Infinity];
  if (na !== nb) return na - nb;
  return text(a, Tag.SeriesInstanceUID) < text(b, Tag.SeriesInstanceUID) ? -1 : 1;
}

/** @param {DataSet} series */
function hasPicture(series) {
  return !NO_PICTURE.has(text(series, Tag.Modality));
}

/** What was acquired comes before what was made from it, and is opened first. @param {DataSet} series */
function isDerived(series) {
  return !hasPicture(series) || text(series, Tag.Modality) === "SEG";
}

export class SeriesStrip {
  #list = h("ol.series-list");
  element = h("nav.series-strip", { "aria-label": t("Series") }, this.#list);
  /** @type {DataSet[]} in the order shown */
  series = [];
  /** @type {Map<string, HTMLLIElement>} */
  #cards = new Map();

  /**
   * @param {import("../dicomweb.js").DicomWeb} client
   * @param {(series: string, clip: number) => void} onopen
   */
  constructor(client, onopen) {
    this.client = client;
    this.onopen = onopen;
  }

  /** @param {string} study @param {DataSet[]} found */
  show(study, found) {
    const sorted = [...found].sort(bySeriesNumber);
    this.series = [...sorted.filter((ds) => !isDerived(ds)), ...sorted.filter(isDerived)];
    this.#cards.clear();
    fill(this.#list, ...this.series.map((ds) => this.#card(study, ds)));
  }

  clear() {
    this.series = [];
    this.#cards.clear();
    fill(this.#list, ...Array.from({ length: 3 }, () => h("li.series-card.is-waiting", null, h("div.thumb"), h("div.series-text"))));
  }

  /** @param {string} study @param {DataSet} ds */
  #card(study, ds) {
    const uid = text(ds, Tag.SeriesInstanceUID);
    const modality = text(ds, Tag.Modality);
    const images = number(ds, Tag.NumberOfSeriesRelatedInstances);
    const thumb = h("div.thumb", null, h("span.thumb-modality", null, modality || "?"));
    if (hasPicture(ds)) {
      const img = h("img", { alt: "", loading: "lazy", decoding: "async", draggable: "false" });
      img.addEventListener("load", () => thumb.classList.add("has-image"));
      img.addEventListener("error", () => img.remove());
      img.src = this.client.thumbnail(study, uid);
      thumb.append(img);
    } else {
      thumb.prepend(icon("document"));
    }
    const title = text(ds, Tag.SeriesDescription) || (modality ? t("{0} series", modality) : t("Series"));
    const details = [text(ds, Tag.SeriesNumber) && `# ${text(ds, Tag.SeriesNumber)}`, images !== undefined && plural(images, "object", "objects")].filter(Boolean).join(" · ");
    const button = h(
      "button.series-open",
      { type: "button", title, onclick: () => this.onopen(uid, 0) },
      thumb,
      h("span.series-text", null, h("span.series-title", null, title), h("span.series-detail", null, details)),
    );
    const card = h("li.series-card", { draggable: "true", "data-series": uid }, button, h("div.clips", { hidden: true }));
    card.addEventListener("dragstart", (event) => event.dataTransfer?.setData("application/x-isocenter-series", uid));
    this.#cards.set(uid, card);
    return card;
  }

  /** @param {string} series @param {Stack[]} stacks @param {number} clip shown */
  mark(series, stacks, clip) {
    for (const [uid, card] of this.#cards) {
      const current = uid === series;
      card.classList.toggle("is-current", current);
      card.querySelector("button")?.setAttribute("aria-current", String(current));
      if (current) card.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    const card = this.#cards.get(series);
    const clips = card?.querySelector(".clips");
    if (!(clips instanceof HTMLElement)) return;
    clips.hidden = stacks.length < 2;
    if (stacks.length < 2) return;
    fill(
      clips,
      ...stacks.slice(0, 60).map((stack, i) => h("button.clip", { type: "button", title: stack.label, "aria-pressed": String(i === clip), onclick: () => this.onopen(series, i) }, i + 1)),
    );
  }
}
