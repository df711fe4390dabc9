// @ts-check
// The page of one study: opens series into viewports, and joins tools, keys, panels and the address to them.

import { chosenOf, routeOf } from "./address.js";
import { Cine } from "./cine.js";
import { Tag, personName, text } from "./dataset.js";
import { RequestError, isAbort } from "./dicomweb.js";
import { fill, h, icon, iconButton, nameElement } from "./dom.js";
import { displayBadge } from "./display/badge.js";
import { display } from "./display/screen.js";
import { date } from "./format.js";
import { LayersOffer } from "./layers/offer.js";
import { Layout } from "./layout.js";
import { Lens } from "./lens.js";
import { Linking, ReferenceLines } from "./linking.js";
import { Book } from "./measure/book.js";
import { Layer } from "./measure/layer.js";
import { Marks } from "./measure/marks.js";
import { Pen } from "./measure/pen.js";
import { spacingAt } from "./measure/spacing.js";
import { FrameLoader } from "./loader.js";
import { GridMenu } from "./panels/grids.js";
import { MeasureMenu } from "./panels/measures.js";
import { Scrubber } from "./panels/scrubber.js";
import { SeriesStrip } from "./panels/series.js";
import { WindowMenu } from "./panels/windows.js";
import { cineRate, isMovie, stacksOf } from "./stack.js";
import { ToolBox, attachTools } from "./tools.js";
import { Toolbar } from "./toolbar.js";
import { viewerBindings } from "./viewerkeys.js";
import { PlanesOffer } from "./volume/offer.js";
import { t } from "./words.js";

/** @typedef {import("./dataset.js").DataSet} DataSet */
/** @typedef {import("./stack.js").Stack} Stack */
/** @typedef {import("./viewport.js").Viewport} Viewport */
/** @typedef {import("./router.js").ViewRoute} ViewRoute */

/** Series whose metadata are kept: enough to go to and fro. */
const SERIES_KEPT = 40;
/** History API calls are rationed by browsers; a drag must not use them up. */
const ADDRESS_DELAY = 300;
/** Milliseconds for which a word about what was done stays. */
const TOAST = 5000;

export class ViewerPage {
  #stage = h("div.stage");
  #title = h("h1.study-title");
  #problem = h("div.page-problem", { role: "alert", hidden: true });
  /** What changed, for those who do not see it: said when it has come to rest, as the address is. */
  #said = h("p.visually-hidden.said", { role: "status" });
  /** @type {Map<string, Promise<Stack[]>>} by series */
  #stacks = new Map();
  /** @type {WeakMap<Viewport, Cine>} */
  #cines = new WeakMap();
  #study = "";
  /** On the screen before its series. @type {import("./first.js").First | null} */
  #first;
  /** Loaded when it is first opened. @type {import("./panels/header.js").HeaderPanel | null} */
  header = null;
  #addressTimer = 0;
  #arriving = false;
  /** @type {AbortController} */
  #opening = new AbortController();

  /**
   * @param {import("./dicomweb.js").DicomWeb} client
   * @param {{back: () => void, go: (address: string) => void, help: () => void, remember: (route: ViewRoute) => void, planes: (route: ViewRoute) => void}} actions
   * @param {import("./first.js").First | null} [first] what is on the screen already
   */
  constructor(client, actions, first = null) {
    this.client = client;
    this.actions = actions;
    this.#study = first?.told.study ?? "";
    this.#first = first;
    this.loader = new FrameLoader(client);
    this.tools = new ToolBox();
    this.book = new Book();
    this.pen = new Pen(this.book);
    this.marks = new Marks(this);
    this.lens = new Lens();
    this.scrubber = new Scrubber();
    this.strip = new SeriesStrip(client, (series, clip) => void this.openSeries(series, { clip }));
    this.layout = new Layout(this.loader, (viewport) => this.#adopt(viewport), first?.canvas);
    this.linking = new Linking(this.layout);
    this.grids = new GridMenu(this);
    this.windows = new WindowMenu(() => this.layout.active);
    this.measures = new MeasureMenu(this);
    this.layers = new LayersOffer(this);
    this.planes = new PlanesOffer(this);
    this.toolbar = new Toolbar(this);
    this.loader.onprogress = () => this.scrubber.drawLoaded();
    this.layout.addEventListener("active", () => {
      this.#follow();
      this.linking.redraw(this.active);
      this.active.updateLayers();
    });
    this.layout.addEventListener("shape", () => this.#fillEmpty());
    display.addEventListener("change", () => this.layout.shown.forEach((viewport) => viewport.regrey()));
    this.book.addEventListener("change", () => this.layout.shown.forEach((viewport) => viewport.updateLayers()));
    this.tools.addEventListener("change", () => this.pen.cancel());
    this.#stage.append(this.strip.element, h("div.centre", null, this.layout.element, this.scrubber.element, this.#problem, this.#said));
    this.element = h(
      "main.viewer-page",
      null,
      h("header.bar", null, iconButton("back", "Study list", () => actions.back(), "Esc"), this.#title, displayBadge(actions.go), this.toolbar.element),
      this.#stage,
    );
    this.bindings = viewerBindings(this);
    this.strip.clear();
    this.#follow();
  }

  /** @returns {Viewport} */
  get active() {
    return this.layout.active;
  }

  /** @returns {Cine} of the active viewport */
  get cine() {
    return /** @type {Cine} */ (this.#cines.get(this.active));
  }

  /** @param {Viewport} viewport */
  #adopt(viewport) {
    const cine = new Cine(viewport);
    this.#cines.set(viewport, cine);
    cine.addEventListener("change", () => this.#changed(viewport));
    viewport.addEventListener("change", (event) => {
      const { detail } = /** @type {CustomEvent} */ (event);
      if (viewport === this.layout.active && detail === "frame") this.linking.follow(viewport);
      if (detail === "shown") this.linking.redraw(viewport);
      this.#changed(viewport);
    });
    attachTools(viewport, this.tools, {
      activate: (to) => this.layout.activate(to),
      probe: (at, event) => this.scrubber.probe(event && at.probe(event.clientX, event.clientY)),
      pen: this.pen,
      lens: this.lens,
    });
    viewport.addEventListener("touched", () => this.layout.activate(viewport));
    viewport.addLayer(new ReferenceLines(() => this.linking));
    viewport.addLayer(new Layer(this.book));
    viewport.element.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("application/x-isocenter-series")) return;
      event.preventDefault();
      viewport.element.classList.add("is-target");
    });
    viewport.element.addEventListener("dragleave", () => viewport.element.classList.remove("is-target"));
    viewport.element.addEventListener("drop", (event) => {
      viewport.element.classList.remove("is-target");
      const series = event.dataTransfer?.getData("application/x-isocenter-series");
      if (!series) return;
      event.preventDefault();
      this.layout.activate(viewport);
      void this.openSeries(series, {});
    });
  }

  /** @param {Viewport} viewport */
  #changed(viewport) {
    clearTimeout(this.#addressTimer);
    if (!this.cine.playing) this.#addressTimer = window.setTimeout(() => this.#remember(), ADDRESS_DELAY);
    if (viewport !== this.layout.active) return;
    this.scrubber.update();
    this.toolbar.update();
    this.header?.show(this.#shownHeader());
    viewport.describe();
  }

  #follow() {
    const viewport = this.active;
    this.scrubber.follow(viewport, this.cine);
    // Whoever opens a series tells why it does not come.
    if (viewport.stack) void this.#mark(viewport.stack).catch(() => undefined);
    this.#changed(viewport);
  }

  #remember() {
    // An address whose cells are still on their way says more than the screen does.
    if (this.#arriving || this.element.hidden || !this.element.isConnected) return;
    const route = routeOf(this.layout);
    if (route) this.actions.remember(route);
    const words = this.active.words;
    if (this.#said.textContent !== words) this.#said.textContent = words;
  }

  // --- opening

  /** @param {ViewRoute} route */
  async show(route) {
    this.#opening.abort();
    this.#opening = new AbortController();
    const { signal } = this.#opening;
    this.#tellProblem(null);
    this.#arriving = true;
    if (route.study !== this.#study) this.#clear(route.study);
    if (route.grid) {
      this.layout.setShape(route.grid);
      this.layout.activate(/** @type {Viewport} */ (this.layout.shown[route.grid.active]));
    }
    try {
      // With the series known, its first image does not wait for the list of series.
      const opened = route.series && !route.state ? this.openSeries(route.series, { at: route }) : null;
      await this.#listSeries(route.study, signal);
      const first = text(this.strip.series[0], Tag.SeriesInstanceUID);
      await (opened ?? this.openSeries(route.series || first, { at: route }));
      if (!this.active.stack && !this.strip.series.some((ds) => text(ds, Tag.SeriesInstanceUID) === route.series)) {
        this.tell(t("The series that the address names is not in this study: its first one is shown"), true);
        await this.openSeries(first, {});
      }
      if (opened && this.active.stack) await this.#mark(this.active.stack);
      await this.#openCells(route);
    } catch (error) {
      if (!isAbort(error) && !signal.aborted) this.#tellProblem(error);
    }
    if (signal.aborted) return;
    this.#arriving = false;
    this.#changed(this.active);
  }

  /** The other cells: as the address has them, or the next series. @param {ViewRoute} route */
  async #openCells(route) {
    const { shown } = this.layout;
    if (!route.grid?.cells.some(Boolean)) {
      this.#fillEmpty();
      return;
    }
    const opening = route.grid.cells.map((cell, i) => {
      const viewport = shown[i];
      return cell && viewport && viewport !== this.active && this.openSeries(cell.series, { viewport, at: { ...cell, ...cell.look } });
    });
    await Promise.all(opening);
  }

  /** @param {string} study @param {AbortSignal} signal */
  async #listSeries(study, signal) {
    if (this.strip.series.length > 0) return;
    const series = await this.client.searchSeries(study, signal);
    if (series.length === 0) throw new RequestError(404, t("There is no such study."), t("It may have been deleted, or the address is incomplete."));
    if (study !== this.#study) return;
    this.strip.show(study, series);
    this.layers.study(study, series);
    void this.marks.load(study, series, () => study === this.#study);
  }

  /** @param {string} study */
  #clear(study) {
    this.#study = study;
    this.#stacks.clear();
    this.strip.clear();
    this.layers.study(study, []);
    fill(this.#title);
    for (const viewport of this.layout.viewports) {
      this.#cines.get(viewport)?.stop();
      viewport.setStack(null);
    }
  }

  /** @param {unknown} error */
  #tellProblem(error) {
    this.#problem.hidden = error === null;
    if (error && !this.#title.textContent) fill(this.#title, "Isocenter");
    if (error === null) return;
    const title = error instanceof Error ? error.message : String(error);
    const hint = error instanceof RequestError ? error.hint : "";
    fill(this.#problem, icon("alert"), h("h2", null, title), h("p", null, hint), h("div.actions", null, h("button.button", { type: "button", onclick: () => this.actions.back() }, t("Study list"))));
    if (this.strip.series.length === 0) fill(/** @type {Element} */ (this.strip.element.firstElementChild));
  }

  /** @param {string} series @returns {Promise<Stack[]>} */
  #load(series) {
    let stacks = this.#stacks.get(series);
    if (!stacks) {
      stacks = this.client.seriesMetadata(this.#study, series).then((metadata) => stacksOf(metadata));
      this.#stacks.set(series, stacks);
      stacks.catch(() => this.#stacks.delete(series));
      for (const old of this.#stacks.keys()) if (this.#stacks.size > SERIES_KEPT) this.#stacks.delete(old);
    }
    return stacks;
  }

  /**
   * @param {string} series
   * @param {{clip?: number, at?: {instance: string, frame: number} & Partial<import("./looks.js").Look>, viewport?: Viewport}} options
   *   which of the series' stacks, or what a route or a cell of it names; and where, if not in the active viewport
   */
  async openSeries(series, { clip = 0, at, viewport = this.active }) {
    const study = this.#study;
    if (viewport === this.active) this.strip.mark(series, [], 0);
    let stacks;
    try {
      stacks = await this.#load(series);
    } catch (error) {
      if (study !== this.#study || isAbort(error)) return;
      if (viewport === this.active) this.#tellProblem(error);
      else this.tell(error instanceof Error ? error.message : String(error), true);
      return;
    }
    if (study !== this.#study) return;
    if (viewport === this.active) this.#tellProblem(null);
    let stack = stacks[clip] ?? stacks[0];
    if (!stack) return;
    let index = this.linking.placeFor(stack, viewport);
    if (at?.instance) {
      const found = stacks.find(({ images }) => images.some(({ path }) => path.instance === at.instance));
      stack = found ?? stack;
      index = stack.entries.findIndex(({ image, frame }) => image.path.instance === at.instance && frame === at.frame);
      if (!found || (index < 0 && stack.entries.length > 0)) this.tell(t("The image that the address names is not in this series: its first one is shown"), true);
      index = Math.max(0, index);
    }
    if (at?.state) [stack, index] = await this.#underState(stack, index, at.state);
    if (study !== this.#study) return;
    this.#nameStudy(stack);
    const cine = /** @type {Cine} */ (this.#cines.get(viewport));
    cine.reset();
    cine.setRate(cineRate(stack));
    const chosen = chosenOf(at?.window ?? null, stack.entries[index]);
    if (this.#first) await this.#keepFirst(stack.entries[index]);
    if (study !== this.#study) return;
    this.linking.quietly(() => viewport.setStack(stack, index, { ...at, chosen }));
    if (isMovie(stack) && !at?.instance) cine.start();
    if (stack.entries.length === 0) void this.#showDocument(viewport, stack);
    if (this.layout.active === viewport) this.strip.mark(series, stacks, stacks.indexOf(stack));
    if (viewport === this.active && !(document.activeElement instanceof HTMLInputElement)) viewport.element.focus({ preventScroll: true });
  }

  /** What is on the screen before its series stays there until it can be painted again. @param {import("./loader.js").Entry} [entry] */
  async #keepFirst(entry) {
    const told = this.#first?.told;
    this.#first = null;
    // What cannot be had is told of when it is shown.
    if (entry && told?.instance === entry.image.path.instance && told.frame === entry.frame) await this.loader.get(entry).catch(() => undefined);
  }

  /** @param {Stack} stack @param {number} index @param {string} state @returns {Promise<[Stack, number]>} as the state shows it; as it is, where there is no such state */
  async #underState(stack, index, state) {
    const shown = await this.layers.under(stack, state);
    if (!shown) this.tell(t("The presentation state that the address names is not of this image"), true);
    const entry = stack.entries[index];
    const at = shown?.entries.findIndex(({ image, frame }) => image.path.instance === entry?.image.path.instance && frame === entry.frame) ?? index;
    return [shown ?? stack, Math.max(0, at)];
  }

  /** @param {Viewport} viewport @param {Stack} stack without pictures */
  async #showDocument(viewport, stack) {
    const image = stack.images[0];
    if (!image) return;
    try {
      const { openDocument } = await import("./documents/open.js");
      const page = await openDocument(this.client, image, (series, instance, frame) => void this.openSeries(series, { at: { instance, frame } }));
      if (page && viewport.stack === stack) viewport.host(page);
    } catch (error) {
      if (viewport.stack === stack) this.tell(error instanceof Error ? error.message : String(error), true);
    }
  }

  /** New cells get the series that are not on the screen yet, in their order. */
  #fillEmpty() {
    const { shown } = this.layout;
    const seen = new Set(shown.map(({ stack }) => stack?.series));
    const rest = this.strip.series.map((ds) => text(ds, Tag.SeriesInstanceUID)).filter((uid) => !seen.has(uid));
    for (const viewport of shown) {
      const series = viewport.stack ? undefined : rest.shift();
      if (series) void this.openSeries(series, { viewport });
    }
  }

  /** @param {Stack} stack */
  async #mark(stack) {
    const stacks = await this.#load(stack.series);
    this.strip.mark(stack.series, stacks, stacks.indexOf(stack));
  }

  /** @param {Stack} stack */
  #nameStudy(stack) {
    const ds = stack.images[0]?.ds;
    if (!ds) return;
    const detail = [text(ds, Tag.PatientID), text(ds, Tag.StudyDescription), date(text(ds, Tag.StudyDate))].filter(Boolean).join(" · ");
    fill(this.#title, nameElement(personName(ds, Tag.PatientName), text(ds, Tag.SpecificCharacterSet)), h("span.muted", null, detail));
    const name = this.#title.querySelector(".person-main")?.textContent ?? "";
    document.title = `${name} · Isocenter`;
  }

  // --- actions for keys and buttons

  /** Next or previous stack: the clips of a series first, then the next series. @param {1 | -1} way */
  async step(way) {
    const { stack } = this.active;
    if (!stack) return;
    const stacks = await this.#load(stack.series);
    const clip = stacks.indexOf(stack) + way;
    if (stacks[clip]) {
      await this.openSeries(stack.series, { clip });
      return;
    }
    const uids = this.strip.series.map((ds) => text(ds, Tag.SeriesInstanceUID));
    const next = uids[uids.indexOf(stack.series) + way];
    if (next) await this.openSeries(next, {});
  }

  /** @returns {DataSet | null} of the painted image, or of an object without picture */
  #shownHeader() {
    const { painted, stack } = this.active;
    return (painted?.entry.image ?? stack?.images[0])?.ds ?? null;
  }

  /** @param {boolean} [open] */
  async toggleHeader(open = !this.header?.open) {
    if (!this.header) {
      const { HeaderPanel } = await import("./panels/header.js");
      // Pressed twice before the code was here: one panel is enough.
      this.header ??= new HeaderPanel(() => void this.toggleHeader(false));
      this.#stage.append(this.header.element);
      this.header.show(this.#shownHeader());
    }
    this.header.setOpen(open);
    if (!open) this.active.element.focus();
    this.toolbar.update();
  }

  /** @param {{together?: boolean, lines?: boolean}} change */
  link(change) {
    this.linking.set(change);
    this.tell(change.together !== undefined ? (change.together ? t("Cells scroll together") : t("Cells scroll by themselves")) : change.lines ? t("Reference lines are shown") : t("Reference lines are hidden"));
  }

  /** As large on the screen as in the patient. */
  async trueSize() {
    const viewport = this.active;
    const entry = viewport.painted?.entry;
    if (!entry) return;
    const spacing = spacingAt(entry.image, entry.frame, [entry.image.columns / 2, entry.image.rows / 2]);
    if (spacing.unit !== "mm") {
      this.tell(t("This image does not say how large its pixels are"), true);
      return;
    }
    const { pixelSize } = await import("./truesize.js");
    const size = pixelSize() ?? (await (await import("./panels/screen.js")).measureScreen());
    if (size === null) return;
    viewport.zoomTo(spacing.column / size);
    this.tell([t("True size"), spacing.note && t(spacing.note)].filter(Boolean).join(", "));
  }

  /** A panel beside the pictures. @param {HTMLElement} panel */
  besides(panel) {
    this.#stage.append(panel);
  }

  toggleText() {
    this.element.classList.toggle("no-overlay");
    this.toolbar.update();
  }

  /** A word at the foot of the picture that goes by itself. @param {string} words @param {boolean} [problem] */
  tell(words, problem = false) {
    const toast = h(problem ? "div.toast.is-problem" : "div.toast", { role: problem ? "alert" : "status" }, words);
    this.element.querySelector(".toast")?.remove();
    this.element.append(toast);
    setTimeout(() => toast.remove(), TOAST);
  }

  /** Leaves what is open first, then the study. */
  escape() {
    if (this.pen.cancel()) return;
    if (this.tools.drawing) this.tools.choose("window");
    else if (this.header?.open) void this.toggleHeader(false);
    else this.actions.back();
  }

  /** The page is going off the screen. */
  hide() {
    this.#opening.abort();
    clearTimeout(this.#addressTimer);
    for (const viewport of this.layout.viewports) this.#cines.get(viewport)?.stop();
    this.loader.plan([]);
    for (const menu of [this.windows, this.measures, this.grids]) menu.close();
    this.pen.cancel();
  }
}
