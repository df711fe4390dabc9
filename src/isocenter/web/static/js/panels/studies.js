// @ts-check
// The study list: search as you type, modality chips with counts, date ranges, sortable columns.

import { BASE, asset } from "../base.js";
import { Tag, number, personName, text, texts } from "../dataset.js";
import { RequestError, isAbort } from "../dicomweb.js";
import { fill, h, icon, iconButton, nameElement } from "../dom.js";
import { age, count, date, plural, time } from "../format.js";
import { formatRoute } from "../router.js";
import { planSearch, runSearch, sortStudies } from "../search.js";
import { t } from "../words.js";
import { StudyMenu } from "./studymenu.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("../search.js").Column} Column */
/** @typedef {import("../search.js").Criteria} Criteria */
/** @typedef {import("../keyboard.js").Binding} Binding */

const DEBOUNCE = 160;
/** Studies fetched without being asked for more. */
const MOST = 1000;
/** Rows put on the page at a time. */
const ROWS = 100;

/** @type {{id: Column, label: string, descending?: boolean}[]} */
const COLUMNS = [
  { id: "name", label: "Patient" },
  { id: "id", label: "Patient ID" },
  { id: "date", label: "Study date", descending: true },
  { id: "modality", label: "Modality" },
  { id: "description", label: "Description" },
  { id: "accession", label: "Accession" },
  { id: "series", label: "Series", descending: true },
  { id: "images", label: "Images", descending: true },
];

const SPANS = [
  { label: "Any date", days: 0 },
  { label: "Today", days: 1 },
  { label: "7 days", days: 7 },
  { label: "30 days", days: 30 },
  { label: "1 year", days: 365 },
];

/** @param {number} daysBack @returns {string} DA in local time */
function dayValue(daysBack) {
  const day = new Date();
  day.setDate(day.getDate() - daysBack);
  return `${day.getFullYear()}${String(day.getMonth() + 1).padStart(2, "0")}${String(day.getDate()).padStart(2, "0")}`;
}

export class StudiesPage {
  #search = h("input", { type: "search", "aria-label": t("Search studies"), placeholder: t("Search name, ID, date, modality, accession, description"), spellcheck: "false", autocomplete: "off" });
  #chips = h("div.chips", { role: "group", "aria-label": t("Modality") });
  #spans = h("div.segments", { role: "group", "aria-label": t("Study date") });
  #count = h("p.result-count", { role: "status" });
  #head = h("tr");
  #body = h("tbody");
  #state = h("div.list-state", { hidden: true });
  #end = h("div.list-end");
  #scroll = h("div.list-scroll", null, h("table.studies", null, h("thead", null, this.#head), this.#body), this.#state, this.#end);
  /** @type {Criteria} */
  #criteria = { text: "", modality: "", from: "", to: "" };
  #days = 0;
  /** @type {{column: Column, descending: boolean}} */
  #sort = { column: "date", descending: true };
  #most = MOST;
  /** @type {DataSet[]} */
  #found = [];
  #complete = true;
  /** Chip counts of the last search without a modality. @type {Map<string, number>} */
  #counts = new Map();
  /** @type {DataSet[]} sorted, filtered */
  #rows = [];
  #drawn = 0;
  #selected = -1;
  #timer = 0;
  /** @type {AbortController | null} */
  #running = null;
  #menu;
  element;

  /**
   * @param {import("../dicomweb.js").DicomWeb} client
   * @param {{open: (study: string) => void, upload: () => void, help: () => void, remember: (criteria: Criteria) => void}} actions
   */
  constructor(client, actions) {
    this.client = client;
    this.actions = actions;
    document.head.append(h("link", { rel: "stylesheet", href: asset("css/list.css") }));
    this.#menu = new StudyMenu(client, {
      open: actions.open,
      may: (scope) => this.#may(scope),
      gone: () => this.reload(),
    });
    this.element = h(
      "main.studies-page",
      null,
      h(
        "header.bar",
        null,
        h("a.brand", { href: formatRoute({ page: "studies", text: "", modality: "", from: "", to: "" }), "aria-label": t("Isocenter, all studies") }, icon("brand"), h("span", null, "Isocenter")),
        h("label.search", null, icon("search"), this.#search, h("kbd", null, "/")),
        h("div.bar-end", null, h("span.needs-write", null, iconButton("disk", t("Storage and queue"), () => this.#menu.status(), "Q")), h("button.button.primary", { type: "button", onclick: () => actions.upload(), title: `${t("Upload DICOM files")} (U)` }, icon("upload"), h("span", null, t("Upload"))), iconButton("help", "Keyboard map", () => actions.help(), "?")),
      ),
      h("div.filters", null, this.#spans, this.#chips, this.#count),
      this.#scroll,
    );
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = window.setTimeout(() => this.#apply({ text: this.#search.value }), DEBOUNCE);
    });
    this.#search.addEventListener("keydown", (event) => this.#onSearchKey(event));
    this.#body.addEventListener("click", (event) => this.#onRowClick(event));
    this.#body.addEventListener("contextmenu", (event) => this.#onContextMenu(event));
    new IntersectionObserver((seen) => seen.some((e) => e.isIntersecting) && this.#drawMore(), { root: this.#scroll, rootMargin: "400px" }).observe(this.#end);
    this.#drawHead();
  }

  /** @returns {Binding[]} */
  get bindings() {
    return [
      { keys: ["/"], label: "Search", group: "Study list", run: () => this.#search.select() },
      { keys: ["ArrowDown", "j"], label: "Next study", group: "Study list", run: () => this.#select(this.#selected + 1) },
      { keys: ["ArrowUp", "k"], label: "Previous study", group: "Study list", run: () => this.#select(this.#selected - 1) },
      { keys: ["Home"], label: "First study", group: "Study list", run: () => this.#select(0) },
      { keys: ["Enter"], label: "Open the study", group: "Study list", run: () => this.#openSelected() },
      { keys: ["m"], label: "Menu of the study", group: "Study list", run: () => this.#onSelected((study) => this.#showMenu(study)) },
      { keys: ["d"], label: "Download the study", group: "Study list", run: () => this.#onSelected((study) => this.#menu.download(study)) },
      { keys: ["s"], label: "Send the study to a peer", group: "Study list", run: () => this.#onSelected((study) => void (this.#may("write") && this.#menu.send(study))) },
      { keys: ["Delete"], label: "Delete the study", group: "Study list", run: () => this.#onSelected((study) => void (this.#may("delete") && this.#menu.remove(study))) },
      { keys: ["Escape"], label: "Clear the search", group: "Study list", run: () => this.#apply({ text: "", modality: "", from: "", to: "" }) },
      { keys: ["q"], label: "Storage and queue", group: "Study list", run: () => void (this.#may("write") && this.#menu.status()) },
      { keys: ["u"], label: "Upload files", group: "Study list", run: () => this.actions.upload() },
      { keys: ["r"], label: "Reload", group: "Study list", run: () => this.reload() },
      { keys: ["?"], label: "This map", group: "Study list", run: () => this.actions.help() },
    ];
  }

  /** @param {Criteria} criteria */
  show(criteria) {
    this.#criteria = { ...criteria };
    if (this.#search.value !== criteria.text) this.#search.value = criteria.text;
    this.#days = SPANS.find(({ days }) => days > 0 && criteria.from === dayValue(days - 1))?.days ?? 0;
    this.#most = MOST;
    return this.#run();
  }

  /** The page is going off the screen. */
  hide() {
    clearTimeout(this.#timer);
    this.#running?.abort();
  }

  reload() {
    void this.#run();
  }

  /** @param {Partial<Criteria>} change */
  #apply(change) {
    const next = { ...this.#criteria, ...change };
    this.actions.remember(next);
    void this.show(next);
  }

  // --- searching

  async #run() {
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    this.#scroll.setAttribute("aria-busy", "true");
    const criteria = this.#criteria;
    this.#drawFilters();
    const slow = window.setTimeout(() => this.element.classList.add("is-searching"), 250);
    try {
      const plan = planSearch(criteria);
      const { studies, complete } = await runSearch(this.client, plan, this.#most, (so) => this.#take(so, false), running.signal);
      this.#take(studies, complete);
    } catch (error) {
      if (isAbort(error)) return;
      this.#fail(error);
    } finally {
      clearTimeout(slow);
      if (this.#running === running) {
        this.element.classList.remove("is-searching");
        this.#scroll.setAttribute("aria-busy", "false");
      }
    }
  }

  /** @param {DataSet[]} studies @param {boolean} complete */
  #take(studies, complete) {
    this.#found = studies;
    this.#complete = complete;
    if (!this.#criteria.modality) {
      this.#counts = new Map();
      for (const study of studies) for (const m of new Set(texts(study, Tag.ModalitiesInStudy))) if (m) this.#counts.set(m, (this.#counts.get(m) ?? 0) + 1);
    }
    this.#drawFilters();
    this.#drawRows();
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#found = [];
    this.#rows = [];
    fill(this.#body);
    fill(this.#count);
    fill(this.#end);
    const known = error instanceof RequestError;
    this.#say(
      "alert",
      known ? error.message : t("The study list cannot be loaded."),
      known ? error.hint : String(error),
      h("button.button", { type: "button", onclick: () => this.reload() }, t("Try again")),
    );
  }

  /** @param {string} symbol @param {string} title @param {string} detail @param {...Node} actions */
  #say(symbol, title, detail, ...actions) {
    this.#state.hidden = false;
    this.#scroll.classList.add("is-empty");
    fill(this.#state, icon(symbol), h("h2", null, title), h("p", null, detail), h("div.actions", null, ...actions));
  }

  // --- drawing

  #drawHead() {
    fill(
      this.#head,
      ...COLUMNS.map(({ id, label, descending = false }) => {
        const current = this.#sort.column === id;
        const button = h("button", { type: "button" }, t(label), icon(this.#sort.descending && current ? "down" : "up"));
        button.addEventListener("click", () => {
          this.#sort = { column: id, descending: current ? !this.#sort.descending : descending };
          this.#drawHead();
          this.#drawRows();
          /** @type {HTMLElement | null} */ (this.#head.querySelector(`.c-${id} button`))?.focus();
        });
        return h(`th.c-${id}`, { scope: "col", "aria-sort": current ? (this.#sort.descending ? "descending" : "ascending") : "none" }, button);
      }),
      h("td.c-ohif"),
      h("td.c-more"),
    );
  }

  #drawFilters() {
    const { modality } = this.#criteria;
    fill(
      this.#spans,
      ...SPANS.map(({ label, days }) =>
        h("button", { type: "button", "aria-pressed": String(days === this.#days), onclick: () => this.#apply({ from: days ? dayValue(days - 1) : "", to: "" }) }, t(label)),
      ),
    );
    const shown = [...this.#counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    if (modality && !this.#counts.has(modality)) shown.unshift([modality, 0]);
    fill(
      this.#chips,
      ...shown.map(([name, n]) =>
        h(
          "button.chip",
          { type: "button", "aria-pressed": String(name === modality), onclick: () => this.#apply({ modality: name === modality ? "" : name }) },
          h("span", null, name),
          n > 0 && h("span.chip-count", null, count(n)),
        ),
      ),
    );
  }

  #drawRows() {
    const selected = text(this.#rows[this.#selected], Tag.StudyInstanceUID);
    this.#rows = sortStudies(this.#found, this.#sort.column, this.#sort.descending);
    fill(this.#body);
    this.#drawn = 0;
    this.#selected = selected ? this.#rows.findIndex((ds) => text(ds, Tag.StudyInstanceUID) === selected) : -1;
    this.#drawMore();
    const images = this.#rows.reduce((n, ds) => n + (number(ds, Tag.NumberOfStudyRelatedInstances) ?? 0), 0);
    fill(this.#count, `${plural(this.#rows.length, "study", "studies")}${this.#complete ? "" : "+"}`, h("span.muted", null, ` · ${plural(images, "object", "objects")}`));
    const more = h("button.button", { type: "button", onclick: () => { this.#most += MOST; this.reload(); } }, t("Load more"));
    fill(this.#end, !this.#complete && this.#rows.length >= this.#most && h("p", null, t("There are more studies. Narrow the search, or "), more));
    this.#state.hidden = this.#rows.length > 0;
    this.#scroll.classList.toggle("is-empty", this.#rows.length === 0);
    if (this.#rows.length === 0 && this.#complete) this.#sayEmpty();
  }

  #sayEmpty() {
    const { text: words, modality, from, to } = this.#criteria;
    if (words || modality || from || to) {
      this.#say("search", t("No study matches"), t("Try fewer words, another modality or a longer time."), h("button.button", { type: "button", onclick: () => this.#apply({ text: "", modality: "", from: "", to: "" }) }, t("Clear the search")));
      return;
    }
    this.#say(
      "upload",
      t("The archive is empty"),
      t("Drop DICOM files or folders anywhere on this page, or send them from a scanner."),
      h("button.button.primary", { type: "button", onclick: () => this.actions.upload() }, icon("upload"), h("span", null, t("Choose files"))),
    );
  }

  #drawMore() {
    const next = this.#rows.slice(this.#drawn, this.#drawn + ROWS);
    this.#body.append(...next.map((study, i) => this.#row(study, this.#drawn + i)));
    this.#drawn += next.length;
  }

  /** @param {DataSet} study @param {number} index */
  #row(study, index) {
    const uid = text(study, Tag.StudyInstanceUID);
    const href = formatRoute({ page: "view", study: uid, series: "", instance: "", frame: 1, window: null, inverted: false });
    const born = [text(study, Tag.PatientSex), date(text(study, Tag.PatientBirthDate)), age(text(study, Tag.PatientAge))].filter(Boolean).join(" · ");
    const modalities = texts(study, Tag.ModalitiesInStudy).filter(Boolean);
    const figure = (/** @type {string} */ tag) => {
      const n = number(study, tag);
      return n === undefined ? "" : count(n);
    };
    return h(
      index === this.#selected ? "tr.is-selected" : "tr",
      { "data-index": index, "data-study": uid },
      h("td.c-name", null, h("a", { href }, nameElement(personName(study, Tag.PatientName), text(study, Tag.SpecificCharacterSet))), born && h("span.born", null, born)),
      h("td.c-id", null, text(study, Tag.PatientID)),
      h("td.c-date", null, h("span", null, date(text(study, Tag.StudyDate))), h("span.muted", null, time(text(study, Tag.StudyTime)))),
      h("td.c-modality", null, ...modalities.map((m) => h("span.badge", null, m))),
      h("td.c-description", { title: text(study, Tag.StudyDescription) || false }, text(study, Tag.StudyDescription)),
      h("td.c-accession", null, text(study, Tag.AccessionNumber)),
      h("td.c-series", null, figure(Tag.NumberOfStudyRelatedSeries)),
      h("td.c-images", null, figure(Tag.NumberOfStudyRelatedInstances), h("span.unit", null, number(study, Tag.NumberOfStudyRelatedInstances) === 1 ? " image" : " images")),
      // Shown where OHIF is mounted; account.js asks.
      h("td.c-ohif", null, h("a.badge", { href: new URL(`ohif/viewer?StudyInstanceUIDs=${uid}`, BASE).href, target: "_blank", title: "Open in OHIF, in a new tab" }, "OHIF")),
      h("td.c-more", null, iconButton("more", t("Menu of the study"), (event) => this.#onMore(event), "M")),
    );
  }

  // --- choosing

  /** @param {KeyboardEvent} event */
  #onSearchKey(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowDown") {
      event.preventDefault();
      this.#search.blur();
      this.#select(Math.max(0, this.#selected));
    } else if (event.key === "Enter") {
      clearTimeout(this.#timer);
      if (this.#search.value !== this.#criteria.text) this.#apply({ text: this.#search.value });
      else if (this.#rows.length > 0) {
        this.#select(Math.max(0, this.#selected));
        if (this.#rows.length === 1) this.#openSelected();
        else this.#search.blur();
      }
    } else if (event.key === "Escape" && this.#search.value === "") this.#search.blur();
  }

  /** @param {MouseEvent} event */
  #onRowClick(event) {
    if (!(event.target instanceof Element) || event.defaultPrevented) return;
    const row = event.target.closest("tr");
    // A modified click on the link is the browser's: new tab, new window.
    if (!row || event.ctrlKey || event.metaKey || event.shiftKey || event.target.closest(".c-ohif, .c-more")) return;
    if (String(getSelection() ?? "") && !event.target.closest("a")) return;
    event.preventDefault();
    this.#selected = Number(row.dataset["index"]);
    this.#openSelected();
  }

  /** @param {MouseEvent} event */
  #onMore(event) {
    event.preventDefault();
    const row = event.currentTarget instanceof Element ? event.currentTarget.closest("tr") : null;
    if (!row) return;
    this.#mark(Number(row.dataset["index"]));
    this.#onSelected((study) => this.#showMenu(study));
  }

  /** @param {MouseEvent} event */
  #onContextMenu(event) {
    const row = event.target instanceof Element ? event.target.closest("tr") : null;
    if (!row || event.shiftKey || String(getSelection() ?? "")) return; // with Shift the browser's own
    event.preventDefault();
    this.#mark(Number(row.dataset["index"]));
    this.#onSelected((study) => this.#menu.show(study, event.clientX, event.clientY, row.querySelector("a")));
  }

  /** @param {(study: DataSet) => void} run */
  #onSelected(run) {
    const study = this.#rows[this.#selected];
    if (study) run(study);
  }

  /** @param {string} scope */
  #may(scope) {
    return (this.element.dataset["scopes"] ?? "").split(" ").includes(scope);
  }

  /** At the end of the chosen row. @param {DataSet} study */
  #showMenu(study) {
    const row = this.#body.rows[this.#selected];
    const { right = 0, bottom = 0 } = row?.querySelector(".c-more")?.getBoundingClientRect() ?? {};
    this.#menu.show(study, right - 288, bottom - 8, row?.querySelector("a") ?? null);
  }

  /** @param {number} index */
  #mark(index) {
    this.#selected = index;
    for (const row of this.#body.rows) row.classList.toggle("is-selected", Number(row.dataset["index"]) === index);
  }

  /** @param {number} index */
  #select(index) {
    if (this.#rows.length === 0) return;
    const to = Math.min(this.#rows.length - 1, Math.max(0, index));
    while (this.#drawn <= to) this.#drawMore();
    this.#mark(to);
    const row = this.#body.rows[to];
    row?.scrollIntoView({ block: "nearest" });
    row?.querySelector("a")?.focus({ preventScroll: true });
  }

  #openSelected() {
    const study = this.#rows[this.#selected];
    if (study) this.actions.open(text(study, Tag.StudyInstanceUID));
  }
}
