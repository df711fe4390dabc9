// @ts-check
// The page of a volume: three planes and a rendering of one series, with the bar over them and the line below.

import { asset } from "../base.js";
import { Tag, personName, text } from "../dataset.js";
import { RequestError, isAbort } from "../dicomweb.js";
import { displayBadge } from "../display/badge.js";
import { display } from "../display/screen.js";
import { fill, h, icon, iconButton, nameElement } from "../dom.js";
import { date } from "../format.js";
import { Image } from "../image.js";
import { WindowMenu } from "../panels/windows.js";
import { ToolBox } from "../tools.js";
import { t } from "../words.js";
import { judge } from "./judge.js";
import { volumeBindings } from "./keys.js";
import { VolumeRoom } from "./room.js";
import { MOST_SLAB, PROJECTIONS } from "./state.js";
import { apply } from "./vectors.js";

/** @typedef {import("../router.js").ViewRoute} ViewRoute */
/** @typedef {import("./judge.js").Candidate} Candidate */
/** @typedef {import("./reslice.js").Projection} Projection */

/** History API calls are rationed by browsers; a drag must not use them up. */
const ADDRESS_DELAY = 300;
/** mm a slab has when its kind is chosen first, and by how much a key changes it. */
const FIRST_SLAB = 10;
const SLAB_STEPS = [0, 1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200];

/** @type {{tool: import("../tools.js").ToolName, label: string, key: string, icon: string}[]} */
const TOOLS = [
  { tool: "window", label: "Window and level", key: "W", icon: "contrast" },
  { tool: "pan", label: "Pan", key: "P", icon: "pan" },
  { tool: "zoom", label: "Zoom", key: "Z", icon: "zoom" },
  { tool: "scroll", label: "Step through", key: "S", icon: "scroll" },
];
/** @type {[Projection | null, string, string][]} */
const SLABS = [
  [null, "Plane", "One plane, without a slab"],
  ["max", "MIP", "Brightest of the slab"],
  ["min", "MinIP", "Darkest of the slab"],
  ["mean", "Mean", "Mean of the slab"],
];

export class VolumePage {
  tools = new ToolBox();
  /** @type {VolumeRoom | null} */
  room = null;
  #title = h("h1.study-title");
  #stage = h("div.volume-stage");
  #slabs = h("div.segments", { role: "group", "aria-label": t("Slab") });
  #thickness = h("input.thickness", { type: "range", min: "0", max: String(SLAB_STEPS.length - 1), step: "1", "aria-label": t("Thickness of the slab") });
  #mm = h("output.slab-mm");
  #which = h("select.volume-choice", { "aria-label": t("Volume"), hidden: true });
  #progress = h("progress.volume-progress", { "aria-label": t("Slices loaded") });
  #words = h("span.volume-words", { role: "status" });
  #probe = h("output.volume-probe", { "aria-live": "off" });
  #toolbar = h("div.toolbar", { role: "toolbar", "aria-label": t("Tools") });
  /** @type {Map<string, HTMLElement>} */
  #toggles = new Map();
  /** @type {ViewRoute | null} */
  #route = null;
  /** @type {Candidate[]} */
  #candidates = [];
  /** @type {Image[]} */
  #images = [];
  #opening = new AbortController();
  #addressTimer = 0;

  /**
   * @param {import("../dicomweb.js").DicomWeb} client @param {import("../loader.js").FrameLoader} loader
   * @param {{back: (route: ViewRoute) => void, go: (address: string) => void, help: () => void, remember: (route: ViewRoute) => void}} actions
   */
  constructor(client, loader, actions) {
    this.client = client;
    this.loader = loader;
    this.actions = actions;
    document.head.append(h("link", { rel: "stylesheet", href: asset("css/volume.css") }));
    this.windows = new WindowMenu(() => /** @type {VolumeRoom} */ (this.room).asViewport);
    this.#fillToolbar();
    this.element = h(
      "main.viewer-page.volume-page",
      null,
      h("header.bar", null, iconButton("back", "Back to the images", () => this.#back(), "Esc"), this.#title, this.#toolbar),
      this.#stage,
      h("footer.volume-foot", null, this.#progress, this.#which, this.#words, this.#probe, displayBadge(actions.go)),
    );
    display.addEventListener("change", () => this.room?.greysChanged());
    this.bindings = volumeBindings(this);
    this.tools.addEventListener("change", () => this.#update());
    this.#which.addEventListener("change", () => this.#choose(Number(this.#which.value), ""));
    // The slider's own keys; elsewhere the arrows step and turn.
    this.#thickness.addEventListener("keydown", (event) => event.key.startsWith("Arrow") && event.stopPropagation());
    this.#thickness.addEventListener("input", () => this.#setSlab(SLAB_STEPS[Number(this.#thickness.value)] ?? 0));
  }

  #fillToolbar() {
    const toggle = (/** @type {string} */ name, /** @type {HTMLElement} */ button) => {
      this.#toggles.set(name, button);
      return button;
    };
    const tools = TOOLS.map(({ tool, label, key, icon: symbol }) => toggle(tool, iconButton(symbol, label, () => this.tools.choose(tool), key)));
    fill(
      this.#slabs,
      ...SLABS.map(([projection, label, title]) => toggle(`slab-${projection ?? "none"}`, h("button", { type: "button", title: t(title), onclick: () => this.#setKind(projection) }, t(label)))),
    );
    fill(
      this.#toolbar,
      h("div.tool-group", { role: "group", "aria-label": t("Left button") }, ...tools),
      this.windows.element,
      h("div.tool-group.slab-group", null, this.#slabs, this.#thickness, this.#mm),
      h(
        "div.tool-group",
        { role: "group", "aria-label": t("View") },
        toggle("invert", iconButton("invert", "Invert", () => this.room?.setInverted(!this.room.greying.inverted), "I")),
        toggle("crossing", iconButton("crosshair", "Lines", () => this.room?.state.setCrossing(!this.room.state.crossing), "C")),
        iconButton("slices", "Along the slices as taken", () => this.room?.state.align(), "G"),
        iconButton("fit", "Fit", () => this.room?.state.fit(), "F"),
        iconButton("reset", "Reset", () => this.reset(), "R"),
      ),
      h(
        "div.tool-group",
        { role: "group", "aria-label": t("Panels") },
        toggle("big", iconButton("grid", "This pane alone, or all", () => this.enlarge(), "Enter")),
        toggle("text", iconButton("text", "Text on the pictures", () => this.toggleText(), "O")),
        iconButton("help", "Keyboard map", () => this.actions.help(), "?"),
      ),
    );
    this.#toolbar.addEventListener("pointerdown", (event) => {
      if (event.target instanceof Element && event.target.closest("button.tool:not(.wide), .segments button")) event.preventDefault();
    });
  }

  /** @param {ViewRoute} route */
  async show(route) {
    const same = this.#route && this.room && this.#route.series === route.series && this.#route.study === route.study;
    this.#route = route;
    if (same && this.room) {
      if (route.planes && route.planes !== this.room.state.toString()) this.room.state.parse(route.planes);
      return;
    }
    this.#opening.abort();
    this.#opening = new AbortController();
    const { signal } = this.#opening;
    this.#clear();
    this.#words.textContent = t("Reading the headers of the series");
    try {
      this.#images = (await this.client.seriesMetadata(route.study, route.series, signal)).map((ds) => new Image(ds));
      if (signal.aborted) return;
      this.#nameStudy();
      const { candidates, reason } = judge(this.#images);
      if (reason) throw new RequestError(0, t("This series is no volume"), `${reason[0]?.toUpperCase()}${reason.slice(1)}.`);
      this.#candidates = candidates.filter((one) => one.reason === "");
      const holds = (/** @type {Candidate} */ { volume }) => volume.planes.some(({ instance, frame }) => instance === route.instance && (frame === route.frame || route.frame === 1));
      this.#choose(Math.max(0, this.#candidates.findIndex(holds)), route.planes ?? "");
    } catch (error) {
      if (!isAbort(error) && !signal.aborted) this.#tellProblem(error);
    }
  }

  /** @param {number} index of the candidates @param {string} planes words of an address */
  #choose(index, planes) {
    const candidate = this.#candidates[index];
    const route = this.#route;
    if (!candidate || !route) return;
    const kept = this.room && !planes ? this.room.state.toString() : planes;
    this.room?.close();
    try {
      this.room = new VolumeRoom(candidate, this.#images, this.loader, this.tools);
    } catch (error) {
      this.#tellProblem(error);
      return;
    }
    const { room } = this;
    this.#toolbar.hidden = false;
    fill(this.#which, ...this.#candidates.map(({ label }, at) => h("option", { value: String(at), selected: at === index }, label)));
    this.#which.hidden = this.#candidates.length < 2;
    if (route.window) room.greying.chosen = "lut" in route.window ? route.window : { ...route.window, label: "" };
    room.greying.inverted = route.inverted;
    if (kept) room.state.parse(kept);
    // From the stack: the planes meet in the slice that was shown there.
    if (!kept.includes("at:")) room.state.moveTo(middleOf(candidate, route, room.data));
    room.layOut();
    fill(this.#stage, room.element);
    room.addEventListener("change", (event) => this.#changed(/** @type {CustomEvent} */ (event).detail));
    /** @type {HTMLElement | null} */ (room.element.querySelector(".pane:not([hidden])"))?.focus({ preventScroll: true });
    this.#update();
    void room.data.load();
  }

  /** @param {string} what */
  #changed(what) {
    const { room } = this;
    if (!room) return;
    if (what === "probe") {
      if (this.#probe.textContent !== room.probed) this.#probe.textContent = room.probed;
      return;
    }
    if (what === "problem") {
      this.#tellProblem(room.data.problem ?? new Error("The volume cannot be shown."));
      return;
    }
    if (what === "progress") this.#tellProgress();
    else this.#update();
    if (what === "progress" && !room.data.complete) return;
    clearTimeout(this.#addressTimer);
    this.#addressTimer = window.setTimeout(() => this.#remember(), ADDRESS_DELAY);
  }

  #tellProgress() {
    const { room } = this;
    if (!room) return;
    const { data, candidate } = room;
    const { length } = data.slices;
    this.#progress.hidden = data.complete;
    this.#progress.max = length;
    this.#progress.value = data.loaded;
    const missed = data.missed.length > 0 ? t("{0} of {1} slices could not be read and are empty: {2}", data.missed.length, length, data.missed[0] ?? "") : "";
    const small = data.reduce > 1 ? t("Shown with {0} × {0} pixels in one, as the whole would not fit into memory", data.reduce) : "";
    const state = data.complete ? t("{0} slices", length) : t("{0} of {1} slices, sharpening as they come", data.loaded, length);
    const words = [state, small, ...candidate.notes, missed].filter(Boolean).join(" · ");
    if (this.#words.textContent !== words) this.#words.textContent = words;
    this.#words.classList.toggle("is-warning", Boolean(missed || small || candidate.notes.length));
  }

  #update() {
    const { room } = this;
    const slab = room?.state.slab ?? { mm: 0, projection: "max" };
    /** @type {Record<string, boolean>} */
    const pressed = {
      [this.tools.active]: true,
      [`slab-${slab.mm > 0 ? slab.projection : "none"}`]: true,
      invert: room?.greying.inverted ?? false,
      crossing: room?.state.crossing ?? true,
      big: room?.state.big !== null,
      text: !this.element.classList.contains("no-overlay"),
    };
    for (const [name, button] of this.#toggles) button.setAttribute("aria-pressed", String(pressed[name] ?? false));
    this.#thickness.value = String(SLAB_STEPS.findLastIndex((mm) => mm <= slab.mm));
    this.#mm.textContent = slab.mm > 0 ? `${Math.round(slab.mm * 10) / 10} mm` : t("off");
    this.#tellProgress();
  }

  /** @param {unknown} error */
  #tellProblem(error) {
    this.room?.close();
    this.room = null;
    this.#toolbar.hidden = true;
    if (!this.#title.textContent) fill(this.#title, "Isocenter");
    const title = error instanceof Error ? error.message : String(error);
    const hint = error instanceof RequestError ? error.hint : "";
    const back = h("button.button", { type: "button", onclick: () => this.#back() }, t("Back to the images"));
    fill(this.#stage, h("div.page-problem", { role: "alert" }, icon("alert"), h("h2", null, title), h("p", null, hint), h("div.actions", null, back)));
    this.#words.textContent = "";
    this.#progress.hidden = true;
  }

  #nameStudy() {
    const ds = this.#images[0]?.ds;
    if (!ds) return;
    const detail = [text(ds, Tag.PatientID), text(ds, Tag.SeriesDescription), date(text(ds, Tag.StudyDate))].filter(Boolean).join(" · ");
    fill(this.#title, nameElement(personName(ds, Tag.PatientName), text(ds, Tag.SpecificCharacterSet)), h("span.muted", null, detail));
    document.title = `${this.#title.querySelector(".person-main")?.textContent ?? ""} · ${t("planes")} · Isocenter`;
  }

  #clear() {
    this.room?.close();
    this.room = null;
    this.#candidates = [];
    this.#toolbar.hidden = true;
    this.#which.hidden = true;
    this.#progress.hidden = false;
    this.#progress.removeAttribute("value");
    fill(this.#stage);
    fill(this.#title);
  }

  // --- the address

  /** @returns {ViewRoute | null} */
  #here() {
    const { room } = this;
    if (!room || !this.#route) return null;
    const { chosen, inverted } = room.greying;
    const plane = room.candidate.volume.planes[0];
    return {
      ...this.#route,
      instance: plane?.instance ?? "",
      frame: plane?.frame ?? 1,
      window: chosen,
      inverted,
      planes: room.state.toString(),
    };
  }

  #remember() {
    const here = this.#here();
    if (!here || this.element.hidden || !this.element.isConnected) return;
    this.#route = here;
    this.actions.remember(here);
  }

  /** The image of the stack nearest to the crossing. */
  #back() {
    const route = this.#here() ?? this.#route;
    if (!route) return;
    const { room } = this;
    if (room) {
      const { planes, places } = room.candidate.volume;
      const depth = room.data.inverse[0]?.reduce((sum, v, i) => sum + v * (room.state.point[i] ?? 1), 0) ?? 0;
      const nearest = places.reduce((best, place, at) => (Math.abs(place - depth) < Math.abs((places[best] ?? 0) - depth) ? at : best), 0);
      route.instance = planes[nearest]?.instance ?? "";
      route.frame = planes[nearest]?.frame ?? 1;
    }
    this.actions.back({ ...route, planes: "" });
  }

  // --- actions for keys and buttons

  /** @param {Projection | null} projection */
  #setKind(projection) {
    if (!projection) this.room?.state.setSlab({ mm: 0 });
    else this.room?.state.setSlab({ projection, mm: this.room.state.slab.mm || FIRST_SLAB });
  }

  /** @param {number} mm */
  #setSlab(mm) {
    this.room?.state.setSlab({ mm: Math.min(MOST_SLAB, mm) });
  }

  nextSlab() {
    const { room } = this;
    if (!room) return;
    const kinds = [null, ...PROJECTIONS];
    const now = room.state.slab.mm > 0 ? room.state.slab.projection : null;
    this.#setKind(kinds[(kinds.indexOf(now) + 1) % kinds.length] ?? null);
  }

  /** @param {1 | -1} way */
  thicker(way) {
    const mm = this.room?.state.slab.mm ?? 0;
    const next = way > 0 ? SLAB_STEPS.find((step) => step > mm) : SLAB_STEPS.findLast((step) => step < mm);
    if (next !== undefined) this.#setSlab(next);
  }

  enlarge() {
    const { room } = this;
    if (room) room.state.setBig(room.state.big ? null : room.active);
  }

  reset() {
    const { room } = this;
    if (!room) return;
    room.greying.inverted = false;
    room.setWindow(null);
    room.state.reset();
  }

  toggleText() {
    this.element.classList.toggle("no-overlay");
    this.#update();
  }

  escape() {
    if (this.room?.state.big) this.room.state.setBig(null);
    else this.#back();
  }

  /** The page is going off the screen: memory is given back. */
  hide() {
    this.#opening.abort();
    clearTimeout(this.#addressTimer);
    this.windows.close();
    this.#clear();
    this.#route = null;
  }
}

/** @param {Candidate} candidate @param {ViewRoute} route @param {import("./data.js").VolumeData} data @returns {import("./vectors.js").Vector} middle of the slice a route names, else of all */
function middleOf({ volume }, route, data) {
  const at = volume.planes.findIndex(({ instance, frame }) => instance === route.instance && frame === route.frame);
  const place = volume.places[at];
  const [slices, rows, columns] = data.size;
  return apply(data.affine, [place ?? (slices - 1) / 2, (rows - 1) / 2, (columns - 1) / 2]);
}
