// @ts-check
// The header of the shown instance: every element, sequences unfolded, with a filter over tag, name and value.

import { asset } from "../base.js";
import { items, nameOf } from "../dataset.js";
import { fill, h, iconButton } from "../dom.js";
import { count, size } from "../format.js";
import { t } from "../words.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("../dataset.js").Attribute} Attribute */
/** @typedef {{tag: string, depth: number, name: string, vr: string, value: string, haystack: string}} Row */

/** Rows put on the page at once; enhanced multi-frame headers have hundreds of thousands. */
const PAGE = 600;
/** Rows gathered at most. */
const MOST = 20_000;

/** @type {Promise<Record<string, Record<string, string>>> | null} group to element to keyword */
let keywords = null;

function loadKeywords() {
  keywords ??= fetch(asset("data/keywords.json")).then((response) => {
    if (!response.ok) throw new Error(`keywords.json: ${response.status}`);
    return response.json();
  });
  return keywords;
}

/** @param {string} keyword PatientName @returns {string} Patient Name */
function spaced(keyword) {
  return keyword.replace(/([a-z0-9])([A-Z])/g, "$1 $2").replace(/([A-Z]+)([A-Z][a-z])/g, "$1 $2");
}

/** @param {Attribute} attribute @returns {string} */
function shown(attribute) {
  if (attribute.BulkDataURI) return "bulk data";
  if (attribute.InlineBinary) return `${size(Math.floor((attribute.InlineBinary.length * 3) / 4))} inline`;
  const values = attribute.Value ?? [];
  if (attribute.vr === "SQ") return values.length === 1 ? "1 item" : `${values.length} items`;
  if (attribute.vr === "PN") {
    return values
      .map(nameOf)
      .map((name) => [name.alphabetic, name.ideographic, name.phonetic].join("=").replace(/=+$/, ""))
      .join("\\");
  }
  return values.map((v) => (v === null ? "" : String(v))).join("\\");
}

/** @param {DataSet} ds @param {Record<string, Record<string, string>>} names @returns {Row[]} */
function flatten(ds, names) {
  /** @type {Row[]} */
  const rows = [];
  /** @type {{tags: [string, Attribute][], depth: number}[]} */
  const open = [{ tags: Object.entries(ds).sort(), depth: 0 }];
  while (open.length > 0 && rows.length < MOST) {
    const level = /** @type {typeof open[number]} */ (open.at(-1));
    const next = level.tags.shift();
    if (!next) {
      open.pop();
      continue;
    }
    const [tag, attribute] = next;
    if (tag.startsWith("#")) {
      rows.push({ tag: "", depth: level.depth, name: tag.slice(1), vr: "", value: "", haystack: "" });
      open.push({ tags: Object.entries(/** @type {any} */ (attribute)).sort(), depth: level.depth });
      continue;
    }
    const odd = Number.parseInt(tag.slice(3, 4), 16) % 2 === 1;
    const keyword = names[tag.slice(0, 4)]?.[tag.slice(4)] ?? (tag.endsWith("0000") ? "GroupLength" : odd ? "Private" : "");
    const name = spaced(keyword);
    const value = shown(attribute);
    const label = `(${tag.slice(0, 4)},${tag.slice(4)})`;
    rows.push({ tag: label, depth: level.depth, name, vr: attribute.vr, value, haystack: `${tag} ${label} ${keyword} ${name} ${value}`.toLowerCase() });
    if (attribute.vr === "SQ") {
      const inner = items(/** @type {any} */ ({ x: attribute }), "x");
      open.push({ tags: inner.map((item, i) => /** @type {[string, any]} */ ([`#Item ${i + 1}`, item])), depth: level.depth + 1 });
    }
  }
  return rows;
}

export class HeaderPanel {
  #filter = h("input.field", { type: "search", placeholder: t("Filter by tag, name or value"), "aria-label": t("Filter the header"), spellcheck: "false", autocomplete: "off" });
  #summary = h("span.muted");
  #body = h("tbody");
  #more = h("button.button", { type: "button", hidden: true }, t("Show more"));
  /** @type {Row[]} */
  #rows = [];
  /** @type {DataSet | null} */
  #ds = null;
  #limit = PAGE;
  element;

  /** @param {() => void} onclose */
  constructor(onclose) {
    this.element = h(
      "aside.header-panel",
      { "aria-label": t("Header"), hidden: true },
      h("header", null, h("h2", null, t("Header")), this.#summary, iconButton("close", "Close the header", onclose, "D")),
      h("div.header-filter", null, this.#filter),
      h(
        "div.header-scroll",
        { tabindex: "0" },
        h("table", null, h("thead", null, h("tr", null, ...["Tag", "Name", "VR", "Value"].map((name) => h("th", { scope: "col" }, t(name))))), this.#body),
        this.#more,
      ),
    );
    this.#filter.addEventListener("input", () => {
      this.#limit = PAGE;
      this.#draw();
    });
    this.#more.addEventListener("click", () => {
      this.#limit += PAGE;
      this.#draw();
    });
  }

  get open() {
    return !this.element.hidden;
  }

  /** @param {boolean} open */
  setOpen(open) {
    this.element.hidden = !open;
    if (open) {
      void this.#load();
      this.#filter.focus();
    }
  }

  /** @param {DataSet | null} ds */
  show(ds) {
    if (ds === this.#ds) return;
    this.#ds = ds;
    if (this.open) void this.#load();
  }

  async #load() {
    const ds = this.#ds;
    /** @type {Record<string, Record<string, string>>} */
    let names = {};
    try {
      names = await loadKeywords();
    } catch (error) {
      // Tags and values are worth showing without their names.
      keywords = null;
      console.warn("isocenter: keyword table not loaded", error);
    }
    if (ds !== this.#ds) return;
    this.#rows = ds ? flatten(ds, names) : [];
    this.#limit = PAGE;
    this.#draw();
  }

  #draw() {
    const words = this.#filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = words.length === 0 ? this.#rows : this.#rows.filter(({ haystack }) => haystack && words.every((word) => haystack.includes(word)));
    const elements = found.reduce((n, row) => n + (row.tag ? 1 : 0), 0);
    this.#summary.textContent = t("{0} elements", `${count(elements)}${this.#rows.length >= MOST ? "+" : ""}`);
    fill(
      this.#body,
      ...found.slice(0, this.#limit).map((row) => {
        const tr = h(
          row.tag ? "tr" : "tr.item",
          null,
          h("td.tag", null, row.tag),
          h("td.name", null, row.name || (row.tag ? "Unknown" : "")),
          h("td.vr", null, row.vr),
          h("td.value", { title: row.value.length > 60 ? row.value.slice(0, 2000) : false }, row.value.slice(0, 400)),
        );
        tr.style.setProperty("--depth", String(row.depth));
        return tr;
      }),
    );
    if (found.length === 0) this.#body.append(h("tr", null, h("td.none", { colspan: "4" }, words.length ? t("Nothing in the header matches.") : t("No header."))));
    this.#more.hidden = found.length <= this.#limit;
  }
}
