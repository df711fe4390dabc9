// @ts-check
// Text over the picture: who, what and how in the four corners, directions at the edges, a scale bar below.

import { Tag, number, personName, text, texts } from "./dataset.js";
import { fill, h, nameElement } from "./dom.js";
import { age, date, short, time } from "./format.js";
import { edgeMarkers, scaleBar } from "./geometry.js";
import { spacingAt } from "./measure/spacing.js";
import { quantityOf } from "./quantity.js";
import { t } from "./words.js";

/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {import("./dataset.js").DataSet} DataSet */

/** @param {string[]} lines @returns {HTMLElement[]} */
const rows = (lines) => lines.filter(Boolean).map((line) => h("div", null, line));

export class Overlay {
  #topLeft = h("div.corner.top-left");
  #topRight = h("div.corner.top-right");
  #bottomLeft = h("div.corner.bottom-left");
  #bottomRight = h("div.corner.bottom-right");
  #edges = {
    top: h("div.edge.top"),
    right: h("div.edge.right"),
    bottom: h("div.edge.bottom"),
    left: h("div.edge.left"),
  };
  #bar = h("div.scale-bar", { hidden: true }, h("i"), h("span"));
  /** What is said of the greys. @type {string[]} */
  window = [];
  /** @type {DataSet | null} whose texts stand in the upper corners */
  #ds = null;
  element = h("div.overlay", { "aria-hidden": "true" }, this.#topLeft, this.#topRight, this.#bottomLeft, this.#bottomRight, ...Object.values(this.#edges), this.#bar);

  /** @param {Viewport} viewport */
  update(viewport) {
    const { painted, stack } = viewport;
    const ds = (painted?.entry.image ?? stack?.images[0])?.ds ?? null;
    if (ds !== this.#ds) {
      this.#ds = ds;
      this.#patient(ds);
    }
    this.#place(viewport);
    this.#greys(viewport);
    this.#directions(viewport);
    this.#scale(viewport);
  }

  /** @param {DataSet | null} ds */
  #patient(ds) {
    if (!ds) {
      fill(this.#topLeft);
      fill(this.#topRight);
      return;
    }
    const born = text(ds, Tag.PatientBirthDate);
    const person = [text(ds, Tag.PatientSex), born && date(born), age(text(ds, Tag.PatientAge))].filter(Boolean).join(" · ");
    fill(this.#topLeft, nameElement(personName(ds, Tag.PatientName), text(ds, Tag.SpecificCharacterSet)), ...rows([text(ds, Tag.PatientID), person]));
    const when = [date(text(ds, Tag.StudyDate)), time(text(ds, Tag.StudyTime))].filter(Boolean).join(" ");
    fill(this.#topRight, ...rows([text(ds, Tag.InstitutionName), text(ds, Tag.StudyDescription), when, text(ds, Tag.AccessionNumber)]));
  }

  /** @param {Viewport} viewport */
  #place(viewport) {
    const { painted, length } = viewport;
    if (!painted) {
      fill(this.#bottomLeft);
      return;
    }
    const { ds } = painted.entry.image;
    const series = [text(ds, Tag.Modality), text(ds, Tag.SeriesNumber) && t("series {0}", text(ds, Tag.SeriesNumber))].filter(Boolean).join(" · ");
    const position = length > 1 ? `${painted.index + 1} / ${length}` : "";
    const location = number(ds, Tag.SliceLocation);
    const thickness = number(ds, Tag.SliceThickness);
    const slice = [location !== undefined && `${short(location)} mm`, thickness && t("thickness {0} mm", short(thickness))].filter(Boolean).join(" · ");
    fill(this.#bottomLeft, ...rows([series, text(ds, Tag.SeriesDescription), slice]), position && h("div.position", null, position));
  }

  /** @param {Viewport} viewport */
  #greys(viewport) {
    const entry = viewport.painted?.entry;
    if (!entry) {
      fill(this.#bottomRight);
      return;
    }
    const greys = viewport.greys;
    const voi = greys?.transform.voi;
    const quantity = quantityOf(entry.image, entry.frame);
    // The window in the numbers that the probe shows, where one is the other times a factor.
    const factor = quantity?.factor ?? 1;
    const named = quantity?.factor ? ` ${quantity.unit}` : "";
    let window = "";
    if (voi?.kind === "window") window = `W ${level(voi.width * factor)}  L ${level(voi.center * factor)}${named}`;
    const refused = quantity?.refused ? t("no SUV: {0}", t(quantity.refused)) : "";
    const label = [entry.image.state?.label, greys?.label, viewport.inverted && t("inverted")].filter(Boolean).join(" · ");
    const { columns, rows: height } = entry.image;
    this.window = [label, window, refused];
    fill(this.#bottomRight, ...rows([label, window, refused, `${columns} × ${height}  ${Math.round(viewport.view.zoom * 100)} %`]));
  }

  /** @param {Viewport} viewport */
  #directions(viewport) {
    const entry = viewport.painted?.entry;
    const markers = entry
      ? edgeMarkers(entry.image.plane(entry.frame).orientation, texts(entry.image.ds, Tag.PatientOrientation), viewport.view)
      : { left: "", right: "", top: "", bottom: "" };
    for (const side of /** @type {const} */ (["top", "right", "bottom", "left"])) {
      if (this.#edges[side].textContent !== markers[side]) this.#edges[side].textContent = markers[side];
    }
  }

  /** @param {Viewport} viewport */
  #scale(viewport) {
    const entry = viewport.painted?.entry;
    const spacing = entry && spacingAt(entry.image, entry.frame, [entry.image.columns / 2, entry.image.rows / 2]);
    this.#bar.hidden = spacing?.unit !== "mm";
    if (!spacing || this.#bar.hidden) return;
    const perCssPixel = (spacing.column / viewport.view.zoom) * devicePixelRatio;
    const bar = scaleBar(perCssPixel, Math.min(240, viewport.element.clientWidth / 4));
    const [line, label] = this.#bar.children;
    /** @type {HTMLElement} */ (line).style.width = `${bar.pixels}px`;
    /** @type {HTMLElement} */ (label).textContent = [bar.label, spacing.note && t(spacing.note)].filter(Boolean).join(" ");
  }
}

/** @param {number} v */
function level(v) {
  return Math.abs(v) >= 20 || Number.isInteger(v) ? String(Math.round(v)) : v.toFixed(1);
}
