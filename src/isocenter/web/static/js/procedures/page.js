// @ts-check
// Scheduled procedures: what modalities and people are to do, today unless other days are wanted.

import { Watch } from "../attendance.js";
import { asset } from "../base.js";
import { Tag, personName, text } from "../dataset.js";
import { RequestError, isAbort } from "../dicomweb.js";
import { fill, h, icon, iconButton, nameElement } from "../dom.js";
import { count, date, dayFromNow, moment, time } from "../format.js";
import { told } from "../panels/dialog.js";
import { t } from "../words.js";
import { fetchSteps } from "./steps.js";

/** @typedef {import("./steps.js").Step} Step */
/** @typedef {import("../keyboard.js").Binding} Binding */

/** Looked at again after so long (ms). */
const EVERY = 30_000;
/** @type {{id: string, label: string, days: [number, number] | null}[]} */
const SPANS = [
  { id: "today", label: "Today", days: [0, 0] },
  { id: "week", label: "Next 7 days", days: [0, 6] },
  { id: "past", label: "Last 7 days", days: [-6, 0] },
  { id: "any", label: "Any date", days: null },
];
const COLUMNS = ["Time", "Patient", "Patient ID", "Procedure", "Modality", "Station", "Accession", "State"];
/** @type {Record<string, string>} States for people */
const STATES = { "SCHEDULED": "Scheduled", "IN PROGRESS": "In progress", "STARTED": "Started", "ARRIVED": "Arrived", "READY": "Ready", "DEPARTED": "Departed", "COMPLETED": "Completed", "CANCELED": "Canceled", "DISCONTINUED": "Discontinued" };

export class ProceduresPage {
  #search = h("input", { type: "search", "aria-label": t("Search procedures"), placeholder: t("Search name, ID, procedure, modality, station, state"), spellcheck: "false", autocomplete: "off" });
  #spans = h("div.segments", { role: "group", "aria-label": t("Days") });
  #count = h("p.result-count", { role: "status" });
  #body = h("tbody");
  #state = h("div.list-state", { hidden: true });
  /** That what is shown may be out of date, and since when. */
  #stale = h("div.stale", { role: "alert", hidden: true });
  #scroll = h("div.procedures-scroll", null, h("table.procedures", null, h("thead", null, h("tr", null, ...COLUMNS.map((name) => h("th", { scope: "col" }, t(name))))), this.#body), this.#state);
  #span = "today";
  /** @type {Step[]} */
  #steps = [];
  #complete = true;
  /** What `#steps` are of, and when they were asked for; null as long as there are none. @type {{days: string, at: Date} | null} */
  #shown = null;
  #watch = new Watch(() => this.#load(), EVERY);
  /** @type {AbortController | null} */
  #running = null;

  /** @param {import("../dicomweb.js").DicomWeb} client @param {{back: () => void, help: () => void}} actions */
  constructor(client, actions) {
    this.client = client;
    this.actions = actions;
    document.head.append(h("link", { rel: "stylesheet", href: asset("css/procedures.css") }));
    this.element = h(
      "main.procedures-page",
      null,
      h("header.bar", null, iconButton("back", "Back to the list", actions.back, "Esc"), h("h1", null, t("Scheduled procedures")), h("label.search", null, icon("search"), this.#search, h("kbd", null, "/")), h("div.bar-end", null, iconButton("help", "Keyboard map", actions.help, "?"))),
      h("div.filters", null, this.#spans, this.#count),
      this.#stale,
      this.#scroll,
    );
    this.#search.addEventListener("input", () => this.#draw());
    this.#search.addEventListener("keydown", (event) => event.key === "Enter" && !event.isComposing && this.#search.blur());
  }

  /** @returns {Binding[]} */
  get bindings() {
    const group = "Scheduled procedures";
    return [
      { keys: ["/"], label: "Search", group, run: () => this.#search.select() },
      { keys: ["1", "2", "3", "4"], label: "Today, or other days", group, shown: "1 – 4", run: (key) => this.#choose(SPANS[Number(key) - 1]?.id ?? "today") },
      { keys: ["r"], label: "Reload", group, run: () => void this.#watch.now() },
      { keys: ["Escape"], label: "Back to the list", group, run: () => this.#leave() },
      { keys: ["?"], label: "This map", group, run: () => this.actions.help() },
    ];
  }

  async show() {
    document.title = `${t("Scheduled procedures")} · Isocenter`;
    await this.#watch.now();
  }

  hide() {
    this.#watch.end();
    this.#running?.abort();
  }

  #leave() {
    if (document.activeElement === this.#search && this.#search.value) {
      this.#search.value = "";
      this.#draw();
    } else this.actions.back();
  }

  /** @param {string} span */
  #choose(span) {
    this.#span = span;
    void this.#watch.now();
  }

  async #load() {
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    this.#drawSpans();
    const span = SPANS.find(({ id }) => id === this.#span)?.days;
    const days = span ? `${dayFromNow(span[0])}-${dayFromNow(span[1])}` : "";
    const at = new Date();
    this.#scroll.setAttribute("aria-busy", "true");
    try {
      const { steps, complete } = await fetchSteps(this.client, days, running.signal);
      this.#steps = steps;
      this.#complete = complete;
      this.#shown = { days, at };
      this.#stale.hidden = true;
      this.#draw();
    } catch (error) {
      if (isAbort(error)) return;
      // What was there is better than nothing, as long as it is of these days.
      if (this.#shown?.days === days) this.#age(this.#shown.at, error);
      else this.#fail(error);
    }
    this.#scroll.setAttribute("aria-busy", "false");
  }

  /** @param {Date} at @param {unknown} error */
  #age(at, error) {
    const words = `${t("As it was at {0}: it may have changed since.", moment(at))} ${told(error)}`;
    if (!this.#stale.hidden && this.#stale.textContent?.startsWith(words)) return; // read out once
    this.#stale.hidden = false;
    fill(this.#stale, icon("alert"), h("span", null, words), this.#again());
  }

  #again() {
    return h("button.button", { type: "button", onclick: () => void this.#watch.now() }, t("Try again"));
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#steps = [];
    this.#shown = null;
    this.#stale.hidden = true;
    fill(this.#body);
    fill(this.#count);
    const known = error instanceof RequestError;
    this.#say("alert", known ? error.message : t("The procedures cannot be loaded."), known ? error.hint : String(error), this.#again());
  }

  /** @param {string} symbol @param {string} title @param {string} detail @param {...Node} actions */
  #say(symbol, title, detail, ...actions) {
    this.#state.hidden = false;
    this.#scroll.classList.add("is-empty");
    fill(this.#state, icon(symbol), h("h2", null, title), h("p", null, detail), h("div.actions", null, ...actions));
  }

  #drawSpans() {
    fill(this.#spans, ...SPANS.map(({ id, label }) => h("button", { type: "button", "aria-pressed": String(id === this.#span), onclick: () => this.#choose(id) }, t(label))));
  }

  #draw() {
    const words = this.#search.value.normalize("NFC").toLowerCase().split(/[\s,^]+/).filter(Boolean);
    const steps = this.#steps.filter((step) => words.every((word) => step.words.includes(word)));
    const many = new Set(steps.map((step) => step.day)).size > 1 || this.#span !== "today";
    fill(this.#body, ...steps.map((step) => this.#row(step, many)));
    fill(this.#count, t(steps.length === 1 ? "{0} procedure" : "{0} procedures", `${count(steps.length)}${this.#complete ? "" : "+"}`));
    this.#state.hidden = steps.length > 0;
    this.#scroll.classList.toggle("is-empty", steps.length === 0);
    if (steps.length > 0) return;
    if (this.#steps.length > 0) this.#say("search", t("No procedure matches"), t("Try fewer words, or other days."));
    else this.#say("calendar", this.#span === "today" ? t("Nothing is scheduled for today") : t("Nothing is scheduled for these days"), t("What a hospital's system schedules here for modalities and for people stands on this page, with how far it has come. Modalities ask for it, and nobody has to type a name again."));
  }

  /** @param {Step} step @param {boolean} withDay */
  #row(step, withDay) {
    const name = nameElement(personName(step.ds, Tag.PatientName), text(step.ds, Tag.SpecificCharacterSet));
    return h(
      `tr.is-${step.progress}`,
      null,
      h("td.p-time", null, withDay && h("span", null, `${date(step.day)} `), h("strong", null, time(step.time))),
      h("td.p-name", null, name),
      h("td.p-id", null, text(step.ds, Tag.PatientID)),
      h("td.p-what", { title: step.what || false }, step.what),
      h("td.p-modality", null, step.modality ? h("span.badge", null, step.modality) : h("span.muted", null, t("Work item"))),
      h("td.p-station", null, step.station),
      h("td.p-accession", null, step.accession),
      h("td.p-state", null, h(`span.p-progress.is-${step.progress}`, null, t(STATES[step.state] ?? step.state))),
    );
  }
}
