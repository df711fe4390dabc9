// @ts-check
// The study list: search as you type, modality chips with counts, date ranges, sortable columns. Searching and sorting
// are the server's; the page holds the rows that are on the screen and little more.

import { asset } from "../base.js";
import { Tag, text } from "../dataset.js";
import { RequestError, isAbort } from "../dicomweb.js";
import { fill, h, icon, iconButton } from "../dom.js";
import { count, dayFromNow, plural } from "../format.js";
import { formatRoute } from "../router.js";
import { COLUMNS, readSort, searchTerms, sortTerm, sortWords } from "../search.js";
import { StudyPages, tally } from "../studypages.js";
import { t } from "../words.js";
import { say, told } from "./dialog.js";
import { News, NewsSign } from "./news.js";
import { RowWindow } from "./rowwindow.js";
import { StudyMenu } from "./studymenu.js";
import { showPictures, studyRow, waitingRow } from "./studyrow.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("../search.js").Criteria} Criteria */
/** @typedef {import("../keyboard.js").Binding} Binding */

const DEBOUNCE = 160;
/** Pictures are fetched when the list has come to rest for so long (ms). */
const AT_REST = 120;
/** A list whose order has moved is read again after so long (ms): studies come in crowds. */
const SETTLED = 400;

const SPANS = [
  { label: "Any date", days: 0 },
  { label: "Today", days: 1 },
  { label: "7 days", days: 7 },
  { label: "30 days", days: 30 },
  { label: "1 year", days: 365 },
];

export class StudiesPage {
  #search = h("input", { type: "search", "aria-label": t("Search studies"), placeholder: t("Search name, ID, date, modality, accession, description"), spellcheck: "false", autocomplete: "off" });
  #chips = h("div.chips", { role: "group", "aria-label": t("Modality") });
  #spans = h("div.segments", { role: "group", "aria-label": t("Study date") });
  #count = h("p.result-count", { role: "status" });
  /** What the heads of the columns do, where there is no room for columns. */
  #order = h("select.order-column", { "aria-label": t("Sort by") }, ...COLUMNS.map(({ id, label }) => h("option", { value: id }, t(label))));
  #turn = h("button.order-turn", { type: "button" });
  #sign = new NewsSign(() => void this.#showNew());
  #head = h("tr");
  #body = h("tbody");
  #state = h("div.list-state", { hidden: true });
  #table = h("table.studies", null, h("thead", null, this.#head), this.#body);
  #space = h("div.rows-space", null, this.#table);
  #scroll = h("div.list-scroll", null, this.#space, this.#state);
  /** @type {Criteria} */
  #criteria = { text: "", modality: "", from: "", to: "" };
  #days = 0;
  #sort = readSort("");
  /** How many studies of the search, its modality apart, have each modality. @type {Record<string, number>} */
  #counts = {};
  /** What the filters show. */
  #drawn = "";
  /** What is shown; null before the first answer. @type {StudyPages | null} */
  #pages = null;
  #selected = -1;
  #timer = 0;
  #rest = 0;
  #again = 0;
  /** @type {{pages: StudyPages, counting: AbortController} | null} */
  #running = null;
  #rows;
  #menu;
  #news;
  /** Something came while the list was on its way. */
  #late = false;
  element;

  /**
   * @param {import("../dicomweb.js").DicomWeb} client
   * @param {{open: (study: string) => void, upload: () => void, procedures: () => void, help: () => void, remember: (criteria: Criteria) => void}} actions
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
    this.#news = new News(client.root, () => this.#look());
    this.element = h(
      "main.studies-page",
      null,
      h("h1.visually-hidden", null, t("Studies")),
      h(
        "header.bar",
        null,
        h("a.brand", { href: formatRoute({ page: "studies", text: "", modality: "", from: "", to: "" }), "aria-label": t("Isocenter, all studies") }, icon("brand"), h("span", null, "Isocenter")),
        h("label.search", null, icon("search"), this.#search, h("kbd", null, "/")),
        h("div.bar-end", null, iconButton("calendar", "Scheduled procedures", () => actions.procedures(), "W"), h("span.needs-write", null, iconButton("disk", t("Storage and queue"), () => this.#menu.status(), "Q")), h("button.button.primary", { type: "button", onclick: () => actions.upload(), title: `${t("Upload DICOM files")} (U)` }, icon("upload"), h("span", null, t("Upload"))), h("span.wide-only", null, iconButton("help", "Keyboard map", () => actions.help(), "?"))),
      ),
      h("div.filters", null, this.#spans, this.#chips, this.#sign.element, this.#count, h("div.order", null, this.#order, this.#turn)),
      this.#scroll,
      this.#menu.element,
    );
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = window.setTimeout(() => this.#apply({ text: this.#search.value }), DEBOUNCE);
    });
    this.#order.addEventListener("change", () => {
      const column = COLUMNS.find(({ id }) => id === this.#order.value);
      if (column) this.#apply({ sort: sortWords({ column: column.id, descending: column.descending ?? false }) });
    });
    this.#turn.addEventListener("click", () => this.#apply({ sort: sortWords({ ...this.#sort, descending: !this.#sort.descending }) }));
    this.#search.addEventListener("keydown", (event) => this.#onSearchKey(event));
    this.#body.addEventListener("click", (event) => this.#onRowClick(event));
    this.#body.addEventListener("contextmenu", (event) => this.#onContextMenu(event));
    this.#rows = new RowWindow(this.#scroll, this.#space, this.#body, {
      row: (index) => this.#row(index),
      looked: (from, to) => {
        this.#pages?.look(from, to);
        this.#rested();
      },
    });
    this.#drawHead();
  }

  /** @returns {Binding[]} */
  get bindings() {
    return [
      { keys: ["/"], label: "Search", group: "Study list", run: () => this.#search.select() },
      { keys: ["ArrowDown", "j"], label: "Next study", group: "Study list", run: () => this.#select(this.#selected + 1) },
      { keys: ["ArrowUp", "k"], label: "Previous study", group: "Study list", run: () => this.#select(this.#selected - 1) },
      { keys: ["Home"], label: "First study", group: "Study list", run: () => this.#select(0) },
      { keys: ["End"], label: "Last study", group: "Study list", run: () => this.#select(Infinity) },
      { keys: ["PageDown", "PageUp"], label: "A screen on or back", group: "Study list", run: (key) => this.#select(this.#selected + (key === "PageDown" ? this.#rows.fit : -this.#rows.fit)) },
      { keys: ["Enter"], label: "Open the study", group: "Study list", run: () => this.#openSelected() },
      { keys: ["m"], label: "Menu of the study", group: "Study list", run: () => this.#onSelected((study) => this.#showMenu(study)) },
      { keys: ["d"], label: "Download the study", group: "Study list", run: () => this.#onSelected((study) => this.#menu.download(study)) },
      { keys: ["Shift+D"], label: "Download it as DICOMDIR", group: "Study list", run: () => this.#onSelected((study) => this.#menu.download(study, "&dicomdir=true")) },
      { keys: ["s"], label: "Send the study to a peer", group: "Study list", run: () => this.#onSelected((study) => void (this.#may("write") && this.#menu.send(study))) },
      { keys: ["Delete"], label: "Delete the study", group: "Study list", run: () => this.#onSelected((study) => void (this.#may("delete") && this.#menu.remove(study))) },
      { keys: ["Escape"], label: "Clear the search", group: "Study list", run: () => this.#apply({ text: "", modality: "", from: "", to: "" }) },
      { keys: ["q"], label: "Storage and queue", group: "Study list", run: () => void (this.#may("write") && this.#menu.status()) },
      { keys: ["w"], label: "Scheduled procedures", group: "Study list", run: () => this.actions.procedures() },
      { keys: ["u"], label: "Upload files", group: "Study list", run: () => this.actions.upload() },
      { keys: ["n"], label: "Show new studies", group: "Study list", run: () => void this.#showNew() },
      { keys: ["r"], label: "Reload", group: "Study list", run: () => this.reload() },
      { keys: ["?"], label: "This map", group: "Study list", run: () => this.actions.help() },
    ];
  }

  /** @param {Criteria} criteria */
  show(criteria) {
    this.#criteria = { ...criteria };
    if (this.#search.value !== criteria.text) this.#search.value = criteria.text;
    const sort = readSort(criteria.sort ?? "");
    if (sortWords(sort) !== sortWords(this.#sort)) {
      this.#sort = sort;
      this.#drawHead();
    }
    this.#days = SPANS.find(({ days }) => days > 0 && criteria.from === dayFromNow(1 - days))?.days ?? 0;
    return this.#run(true);
  }

  /** The page is going off the screen. */
  hide() {
    clearTimeout(this.#timer);
    clearTimeout(this.#again);
    this.#news.end();
    this.#stop();
  }

  reload() {
    void this.#run(false);
  }

  #stop() {
    this.#running?.pages.stop();
    this.#running?.counting.abort();
  }

  /** @param {Partial<Criteria>} change */
  #apply(change) {
    const next = { ...this.#criteria, ...change };
    this.actions.remember(next);
    void this.show(next);
  }

  // --- searching

  /** @param {boolean} fromTop otherwise the studies on the screen stay there, as far as they are still in the list */
  async #run(fromTop) {
    this.#stop();
    clearTimeout(this.#again);
    const terms = searchTerms(this.#criteria);
    const pages = new StudyPages(this.client, [...terms, ["includefield", "StudyDescription"], sortTerm(this.#sort.column, this.#sort.descending)], {
      come: (first, n) => this.#pages === pages && this.#came(first, n),
      moved: () => {
        if (this.#running?.pages === pages) this.#again ||= window.setTimeout(() => void this.#run(false), SETTLED);
      },
      failed: (error) => this.#pages === pages && say(told(error)),
    });
    const running = { pages, counting: new AbortController() };
    this.#running = running;
    this.#again = 0;
    this.#scroll.setAttribute("aria-busy", "true");
    this.#drawFilters();
    const slow = window.setTimeout(() => this.element.classList.add("is-searching"), 250);
    void this.#tally(running.counting.signal);
    try {
      const seen = fromTop ? { from: 0, to: 0 } : this.#rows.seen;
      await pages.begin(seen.from, seen.to);
      if (this.#running === running) this.#take(pages, fromTop);
    } catch (error) {
      if (!isAbort(error) && this.#running === running) this.#fail(error);
    } finally {
      clearTimeout(slow);
      if (this.#running === running) {
        this.element.classList.remove("is-searching");
        this.#scroll.setAttribute("aria-busy", "false");
        this.#news.begin();
        if (this.#late) void this.#look();
      }
    }
  }

  // --- what came meanwhile

  /** Something was stored or deleted: rows say so in place; a list that is another one waits until somebody wants it, as nothing moves under the eyes. */
  async #look() {
    const shown = this.#pages;
    this.#late = this.#scroll.getAttribute("aria-busy") === "true";
    if (this.#late) return;
    const fresh = await shown?.anew(this.#rows.seen);
    if (fresh === undefined && shown) return;
    if (this.#pages !== shown || (shown && this.#running?.pages !== shown)) return;
    if (!shown || !fresh || (shown.total === 0 && fresh.total > 0)) {
      void this.#run(true); // There is nothing to lose one's place in.
      return;
    }
    const other = shown.adopt(fresh);
    this.#sign.say(other ? null : fresh.total - shown.total);
    for (const index of other ?? []) this.#rows.renew(index, 1, shown.total);
    if (other?.length) this.#rested();
  }

  async #showNew() {
    if (!this.#sign.shown) return;
    await this.#run(true);
    if (document.activeElement === document.body) this.#select(0); // the button that was pressed is gone
  }

  /** @param {AbortSignal} signal */
  async #tally(signal) {
    try {
      this.#counts = await tally(this.client, searchTerms({ ...this.#criteria, modality: "" }), signal);
      this.#drawFilters();
    } catch (error) {
      // Chips without numbers of today are better than none; what is wrong is told by the list itself.
      if (!isAbort(error) && !(error instanceof RequestError)) throw error;
    }
  }

  /** @param {StudyPages} pages @param {boolean} fromTop */
  #take(pages, fromTop) {
    const uid = (/** @type {number} */ index) => text(this.#study(index), Tag.StudyInstanceUID);
    const top = this.#rows.seen.from;
    const [chosen, first] = [uid(this.#selected), uid(top)];
    const now = first ? pages.find(first) : -1;
    this.#selected = chosen ? pages.find(chosen) : -1;
    this.#pages = pages;
    this.#sign.say(null);
    this.#sayTotal();
    this.#state.hidden = pages.total > 0;
    this.#scroll.classList.toggle("is-empty", pages.total === 0);
    this.#rows.show(pages.total, fromTop, !fromTop && top > 0 && now >= 0 ? now - top : 0);
    if (pages.total === 0) this.#sayEmpty();
  }

  #sayTotal() {
    const total = this.#pages?.total ?? 0;
    fill(this.#count, plural(total, "study", "studies"));
    this.#table.setAttribute("aria-rowcount", String(total + 1));
  }

  /** @param {number} first @param {number} n */
  #came(first, n) {
    this.#sayTotal();
    this.#rows.renew(first, n, this.#pages?.total ?? 0);
    if (this.#selected >= first && this.#selected < first + n && document.activeElement === document.body) {
      this.#rows.row(this.#selected)?.querySelector("a")?.focus({ preventScroll: true });
    }
    this.#rested();
  }

  #rested() {
    clearTimeout(this.#rest);
    this.#rest = window.setTimeout(() => showPictures(this.#body, this.client.root), AT_REST);
  }

  /** @param {number} index @returns {DataSet | undefined} */
  #study(index) {
    return index < 0 ? undefined : this.#pages?.at(index);
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#pages = null;
    this.#selected = -1;
    this.#rows.show(0);
    fill(this.#count);
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
    const { column, descending } = this.#sort;
    const way = t(descending ? "Descending" : "Ascending");
    this.#order.value = column;
    fill(this.#turn, icon(descending ? "down" : "up"));
    this.#turn.setAttribute("aria-label", way);
    this.#turn.title = way;
    fill(
      this.#head,
      h("td.c-picture"),
      ...COLUMNS.map(({ id, label, descending = false }) => {
        const current = this.#sort.column === id;
        const button = h("button", { type: "button" }, t(label), icon(this.#sort.descending && current ? "down" : "up"));
        button.addEventListener("click", () => {
          this.#apply({ sort: sortWords({ column: id, descending: current ? !this.#sort.descending : descending }) });
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
    const shown = Object.entries(this.#counts).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    if (modality && !(modality in this.#counts)) shown.unshift([modality, 0]);
    // What is the same stays: a press that began on a button would end on another one, and do nothing.
    const drawn = JSON.stringify([this.#days, modality, shown]);
    if (this.#drawn === drawn) return;
    this.#drawn = drawn;
    fill(
      this.#spans,
      ...SPANS.map(({ label, days }) =>
        h("button", { type: "button", "aria-pressed": String(days === this.#days), onclick: () => this.#apply({ from: days ? dayFromNow(1 - days) : "", to: "" }) }, t(label)),
      ),
    );
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

  /** @param {number} index */
  #row(index) {
    const study = this.#study(index);
    const row = study ? studyRow(study, index, (event) => this.#onMore(event)) : waitingRow(index);
    row.classList.toggle("is-selected", index === this.#selected);
    return row;
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
      else if (this.#pages && this.#pages.total > 0) {
        this.#select(Math.max(0, this.#selected));
        if (this.#pages.total === 1) this.#openSelected();
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
    const study = this.#study(this.#selected);
    if (study) run(study);
  }

  /** @param {string} scope */
  #may(scope) {
    return (this.element.dataset["scopes"] ?? "").split(" ").includes(scope);
  }

  /** At the end of the chosen row. @param {DataSet} study */
  #showMenu(study) {
    const row = this.#rows.row(this.#selected);
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
    const total = this.#pages?.total ?? 0;
    if (total === 0) return;
    const to = Math.min(total - 1, Math.max(0, index));
    this.#rows.reveal(to);
    this.#mark(to);
    const link = this.#rows.row(to)?.querySelector("a");
    if (link) link.focus({ preventScroll: true });
    else if (document.activeElement instanceof HTMLElement) document.activeElement.blur(); // until it has come
  }

  #openSelected() {
    const study = this.#study(this.#selected);
    if (study) this.actions.open(text(study, Tag.StudyInstanceUID));
  }
}
