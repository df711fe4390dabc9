// @ts-check
// A structured report (PS3.3 C.17.3) as a page to read: containers are sections, items a line each, what an item says of
// another follows it, indented. Everything a report says is shown, also what no template foresees.

import { Tag, items, nameOf, number, numbers, text, texts } from "../dataset.js";
import { h, nameElement } from "../dom.js";
import { date, person, time } from "../format.js";
import { t } from "../words.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("./open.js").OpenImage} OpenImage */

const CONTENT = "0040A730";
const CONCEPT = "0040A043";
const VALUE_TYPE = "0040A040";
const RELATION = "0040A010";
const MEANING = "00080104";
const REFERENCED_SOP = "00081199";
const EVIDENCE = ["0040A375", "0040A385"];
/** Levels and items at most: a report that has more is not for reading. */
const DEEPEST = 32;
const MOST = 20_000;

/** @param {DataSet | undefined} ds @param {string} tag @returns {string} what a code means */
function meaning(ds, tag) {
  const code = items(ds, tag)[0];
  return text(code, MEANING) || text(code, "00080100") || text(code, "00080119") || text(code, "00080120");
}

/** @param {string} value DT or DA or TM @returns {string} */
function moment(value) {
  const found = /^(\d{8})(\d{2,6})?/.exec(value);
  return found ? [date(found[1] ?? ""), found[2] && time(found[2], true)].filter(Boolean).join(" ") : value;
}

/** @param {DataSet} ds @param {OpenImage} openImage @returns {HTMLElement} */
export function report(ds, openImage) {
  const writer = new Writer(ds, openImage);
  const facts = /** @type {[string, string][]} */ ([
    [t("Patient ID"), text(ds, Tag.PatientID)],
    [t("Born"), date(text(ds, Tag.PatientBirthDate))],
    [t("Study"), [text(ds, Tag.StudyDescription), date(text(ds, Tag.StudyDate))].filter(Boolean).join(" · ")],
    [t("Written"), [date(text(ds, Tag.ContentDate)), time(text(ds, Tag.ContentTime))].filter(Boolean).join(" ")],
    [t("Status"), [text(ds, "0040A491"), text(ds, "0040A493")].filter(Boolean).join(", ").toLowerCase()],
    ...items(ds, "0040A073").map((observer) => /** @type {[string, string]} */ ([t("Verified by"), [personOf(observer, "0040A075"), text(observer, "0040A027"), moment(text(observer, "0040A030"))].filter(Boolean).join(", ")])),
  ]);
  return h(
    "article.report",
    null,
    h("header", null, h("h2", null, meaning(ds, CONCEPT) || text(ds, Tag.SeriesDescription) || t("Report")), nameElement(nameOf(ds[Tag.PatientName]?.Value?.[0] ?? ""), text(ds, Tag.SpecificCharacterSet))),
    h("dl.report-facts", null, ...facts.filter(([, value]) => value).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))),
    writer.content(ds, "1", 0, text(ds, "0040A050") === "CONTINUOUS"),
    writer.cut && h("p.muted", null, t("The report goes on; its header (D) has all of it.")),
  );
}

/** @param {DataSet} ds @param {string} tag */
function personOf(ds, tag) {
  const value = ds[tag]?.Value?.[0];
  return value ? person(nameOf(value)).main : "";
}

class Writer {
  #left = MOST;
  /** Whether something was left out. */
  cut = false;
  /** Series of the objects that the report refers to. @type {Map<string, string>} */
  #series = new Map();
  /** @type {Map<string, HTMLElement>} by position (PS3.3 C.17.3.2.5) */
  #places = new Map();

  /** @param {DataSet} ds @param {OpenImage} openImage */
  constructor(ds, openImage) {
    this.openImage = openImage;
    for (const study of EVIDENCE.flatMap((tag) => items(ds, tag))) {
      for (const series of items(study, "00081115")) for (const one of items(series, REFERENCED_SOP)) this.#series.set(text(one, "00081155"), text(series, Tag.SeriesInstanceUID));
    }
  }

  /** What an item contains. @param {DataSet} ds @param {string} place @param {number} depth @param {boolean} flowing one text, not lines */
  content(ds, place, depth, flowing) {
    const body = h(flowing ? "div.report-body.is-flowing" : "div.report-body");
    items(ds, CONTENT).forEach((item, i) => {
      this.#left -= 1;
      if (this.#left < 0 || depth >= DEEPEST) this.cut = true;
      else body.append(this.#item(item, `${place}.${i + 1}`, depth));
    });
    return body;
  }

  /** @param {DataSet} item @param {string} place @param {number} depth @returns {HTMLElement} */
  #item(item, place, depth) {
    const type = text(item, VALUE_TYPE);
    const name = meaning(item, CONCEPT);
    const relation = text(item, RELATION);
    const inner = this.content(item, place, depth + 1, text(item, "0040A050") === "CONTINUOUS");
    /** @type {HTMLElement} */
    let element;
    if (type === "CONTAINER") {
      element = h("section.report-section", null, name && h(`h${Math.min(6, 3 + depth)}`, null, name), inner);
    } else {
      const value = type ? this.#value(item, type) : [this.#reference(item)];
      element = h("div.report-item", { "data-relation": relation || false }, name && h("span.report-name", null, name), h("span.report-value", null, ...value), inner.childElementCount > 0 && inner);
    }
    if (relation === "HAS OBS CONTEXT" || relation === "HAS ACQ CONTEXT") element.classList.add("is-context");
    if (relation === "INFERRED FROM" || relation === "SELECTED FROM") element.prepend(h("span.report-relation", null, relation === "INFERRED FROM" ? t("inferred from") : t("selected from")));
    this.#places.set(place, element);
    return element;
  }

  /** @param {DataSet} item @param {string} type @returns {import("../dom.js").Child[]} */
  #value(item, type) {
    switch (type) {
      case "TEXT":
        return [(item["0040A160"]?.Value ?? []).map(String).join("\\")];
      case "NUM":
        return [measured(item)];
      case "CODE":
        return [meaning(item, "0040A168")];
      case "PNAME":
        return [personOf(item, "0040A123")];
      case "DATETIME":
        return [moment(text(item, "0040A120"))];
      case "DATE":
        return [date(text(item, "0040A121"))];
      case "TIME":
        return [time(text(item, "0040A122"), true)];
      case "UIDREF":
        return [text(item, "0040A124")];
      case "IMAGE":
      case "COMPOSITE":
      case "WAVEFORM":
        return items(item, REFERENCED_SOP).map((one) => this.#object(one, type));
      case "SCOORD":
      case "SCOORD3D":
        return [t("{0}, {1} points", text(item, "00700023").toLowerCase(), Math.floor(numbers(item, "00700022").length / (type === "SCOORD" ? 2 : 3)))];
      case "TCOORD":
        return [[text(item, "0040A130").toLowerCase(), ...texts(item, "0040A138"), ...texts(item, "0040A13A")].join(" ")];
      default:
        return [type.toLowerCase()];
    }
  }

  /** An object that is referred to, with the way there. @param {DataSet} one @param {string} type */
  #object(one, type) {
    const instance = text(one, "00081155");
    const series = this.#series.get(instance);
    const [frame] = numbers(one, "00081160");
    const label = [type === "IMAGE" ? t("Image") : type === "WAVEFORM" ? t("Waveform") : t("Object"), frame && t("frame {0}", frame)].filter(Boolean).join(", ");
    if (!series) return h("span.muted", { title: instance }, label);
    return h("button.report-link", { type: "button", title: instance, onclick: () => this.openImage(series, instance, frame ?? 1) }, label);
  }

  /** An item said by reference to another one. @param {DataSet} item */
  #reference(item) {
    const place = numbers(item, "0040DB73").join(".");
    if (!place) return h("span.muted", null, t("unknown item"));
    const go = () => this.#places.get(place)?.scrollIntoView({ block: "center", behavior: "smooth" });
    return h("button.report-link", { type: "button", onclick: go }, t("see {0}", place));
  }
}

/** @param {DataSet} item @returns {string} a number with its unit */
function measured(item) {
  const value = items(item, "0040A300")[0];
  const qualifier = meaning(item, "0040A301");
  if (!value) return qualifier || t("no value");
  const unit = items(value, "004008EA")[0];
  const code = text(unit, "00080100");
  // Without a dimension ("1", "{ratio}", in UCUM) there is nothing to say; else the code is what people write.
  const written = code === "1" || code.startsWith("{") ? "" : code || text(unit, MEANING);
  return [number(value, "0040A30A") === undefined ? text(value, "0040A30A") : String(number(value, "0040A30A")), written, qualifier && `(${qualifier})`].filter(Boolean).join(" ");
}
