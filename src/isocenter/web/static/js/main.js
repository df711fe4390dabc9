// @ts-check
// Start: one client, five pages, and the address that says which is shown. A page's code is fetched when it is wanted,
// and what the page was sent with says what is wanted next (web/pages.py).

import { BASE } from "./base.js";
import { DicomWeb } from "./dicomweb.js";
import { Keyboard } from "./keyboard.js";
import { formatRoute, parseRoute } from "./router.js";
import { speak, t, wantedLanguage } from "./words.js";

/** @typedef {import("./router.js").Route} Route */
/** @typedef {import("./viewer.js").ViewerPage} ViewerPage */
/** @typedef {import("./panels/studies.js").StudiesPage} StudiesPage */
/** @typedef {import("./volume/page.js").VolumePage} VolumePage */
/** @typedef {import("./display/page.js").DisplayPage} DisplayPage */
/** @typedef {import("./procedures/page.js").ProceduresPage} ProceduresPage */

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const client = new DicomWeb(`${BASE.pathname}dicomweb`);
const keyboard = new Keyboard(document);
/** Address of the study list as it was left. */
let listAddress = formatRoute({ page: "studies", text: "", modality: "", from: "", to: "" });
/** @type {Promise<ViewerPage> | null} */
let viewerPage = null;
/** @type {Promise<StudiesPage> | null} */
let studiesPage = null;
/** @type {Promise<VolumePage> | null} */
let volumePage = null;
/** @type {Promise<DisplayPage> | null} */
let displayPage = null;
/** @type {Promise<ProceduresPage> | null} */
let proceduresPage = null;
/** Page on the screen. @type {ViewerPage | StudiesPage | VolumePage | DisplayPage | ProceduresPage | null} */
let shown = null;

async function help() {
  const { showHelp } = await import("./panels/help.js");
  showHelp(keyboard.bindings, viewerPage !== null && shown === (await viewerPage));
}

/** Modules that the page names for when what it shows first is on the screen. */
function takeLater() {
  const later = document.getElementById("later");
  if (later instanceof HTMLTemplateElement) document.head.append(later.content);
}

/** An address is a page's to write only while it names that page: the code of the next may be on its way. @param {Route} route */
function remember(route) {
  const kind = (/** @type {Route} */ one) => (one.page === "view" && one.planes ? "planes" : one.page);
  if (kind(parseRoute(location)) === kind(route)) history.replaceState(null, "", formatRoute(route));
}

/** The levels of this display, before any picture is painted; a list of studies needs none of it. */
async function loadDisplay() {
  await (await import("./display/screen.js")).display.load();
}

/** @param {import("./router.js").ViewRoute} route */
async function makeViewer(route) {
  const first = root.dataset.first ? await (await import("./first.js")).first : null;
  delete root.dataset.first;
  const series = first ? client.ahead(first.told, first.part ? first.told.frame : 0, first.part) : client.ahead(route, route.frame);
  // With an image on the screen the viewer comes with its whole series, and nothing changes under the user's hands.
  const [{ ViewerPage }] = await Promise.all([import("./viewer.js"), loadDisplay(), first && series]);
  const page = new ViewerPage(client, {
    back: () => go(listAddress),
    go,
    help,
    remember,
    planes: (route) => go(formatRoute(route)),
  }, first);
  first?.element.remove();
  if (first) early = first.kept;
  return page;
}

/** Frames the viewer has are not fetched again. */
async function makeVolume() {
  const [{ VolumePage }, { FrameLoader }] = await Promise.all([import("./volume/page.js"), import("./loader.js"), loadDisplay()]);
  return new VolumePage(client, (await viewerPage)?.loader ?? new FrameLoader(client), {
    back: (route) => go(formatRoute(route)),
    go,
    help,
    remember,
  });
}

async function makeDisplay() {
  const { DisplayPage } = await import("./display/page.js");
  // Back to the images whose greys are in question, if the way led here from them.
  return new DisplayPage({ back: () => (gone > 0 ? history.back() : go(listAddress)), help });
}

async function makeProcedures() {
  const { ProceduresPage } = await import("./procedures/page.js");
  return new ProceduresPage(client, { back: () => go(listAddress), help });
}

async function makeStudies() {
  const [{ StudiesPage }, { UploadPanel }, { languageButton }] = await Promise.all([import("./panels/studies.js"), import("./panels/upload.js"), import("./panels/language.js")]);
  const page = new StudiesPage(client, {
    open: (study) => go(formatRoute({ page: "view", study, series: "", instance: "", frame: 1, window: null, inverted: false })),
    upload: () => uploads.choose(),
    procedures: () => go(formatRoute({ page: "procedures" })),
    help,
    remember: (criteria) => {
      listAddress = formatRoute({ page: "studies", ...criteria });
      if (parseRoute(location).page === "studies") history.replaceState(null, "", listAddress);
    },
  });
  const uploads = new UploadPanel(client, () => shown === page && page.reload());
  page.element.querySelector(".bar-end")?.append(languageButton());
  // Nobody waits for a name in the corner: the list comes first.
  setTimeout(() => void import("./panels/account.js").then(({ showAccount }) => showAccount(page.element)).catch(() => undefined), 0);
  return page;
}

/** What was pressed, turned and dragged before the page could answer it. @type {import("./first.js").First["kept"]} */
let early = () => [];

function answerEarly() {
  /** Where each pointer went down: what it does further is told there. @type {Map<number, Element | null>} */
  const held = new Map();
  const under = (/** @type {MouseEvent} */ event) => document.elementFromPoint(event.clientX, event.clientY);
  for (const event of early()) {
    if (event instanceof KeyboardEvent) keyboard.press(event);
    else if (event instanceof WheelEvent) under(event)?.dispatchEvent(new WheelEvent(event.type, event));
    else {
      if (event.type === "pointerdown") held.set(event.pointerId, under(event));
      held.get(event.pointerId)?.dispatchEvent(new PointerEvent(event.type, event));
    }
  }
}

/** How often a page of ours led to another. */
let gone = 0;

/** @param {string} address */
function go(address) {
  gone += 1;
  history.pushState(null, "", address);
  void show(parseRoute(location));
}

/** @param {ViewerPage | StudiesPage | VolumePage | DisplayPage | ProceduresPage} page */
function bring(page) {
  if (shown === page) return;
  shown?.hide();
  if (shown) shown.element.hidden = true;
  page.element.hidden = false;
  if (!page.element.isConnected) root.append(page.element);
  keyboard.use(page.bindings);
  shown = page;
}

/** What nobody understood of an address, foreign or cut: the rest of it is shown. @param {string[]} unread */
async function tellUnread(unread) {
  const { say } = await import("./panels/dialog.js");
  say(unread.includes("/") ? t("This address names nothing here") : t("Not understood in this address, and left out: {0}", [...new Set(unread)].join(", ")));
}

/** @param {Route} route */
async function show(route) {
  if (route.unread) void tellUnread(route.unread);
  if (route.page === "view" && route.planes && route.series) {
    const page = await (volumePage ??= makeVolume());
    bring(page);
    await page.show(route);
    return;
  }
  if (route.page === "view") {
    const page = await (viewerPage ??= makeViewer(route));
    bring(page);
    await page.show(route);
    answerEarly();
    return;
  }
  if (route.page === "display") {
    const page = await (displayPage ??= makeDisplay());
    bring(page);
    await page.show();
    return;
  }
  if (route.page === "procedures") {
    const page = await (proceduresPage ??= makeProcedures());
    bring(page);
    await page.show();
    return;
  }
  const page = await (studiesPage ??= makeStudies());
  bring(page);
  document.title = `${t("Studies")} · Isocenter`;
  listAddress = formatRoute(route);
  await page.show(route);
  takeLater();
}

// Pages are made of words: these come first. English costs nothing.
await speak(wantedLanguage());
addEventListener("popstate", () => void show(parseRoute(location)));
await show(parseRoute(location));
// The map of keys should come at once, also when the server is gone.
setTimeout(() => void import("./panels/help.js").catch(() => undefined), 2000);
