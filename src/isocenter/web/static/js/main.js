// @ts-check
// Start: one client, two pages, and the address that says which is shown.

import { DicomWeb } from "./dicomweb.js";
import { Keyboard } from "./keyboard.js";
import { showHelp } from "./panels/help.js";
import { StudiesPage } from "./panels/studies.js";
import { UploadPanel } from "./panels/upload.js";
import { formatRoute, parseRoute } from "./router.js";
import { ViewerPage } from "./viewer.js";

/** @typedef {import("./router.js").Route} Route */

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const client = new DicomWeb(new URL("dicomweb", document.baseURI).pathname);
const keyboard = new Keyboard(document);
/** Address of the study list as it was left. */
let listAddress = formatRoute({ page: "studies", text: "", modality: "", from: "", to: "" });

const help = () => showHelp(keyboard.bindings, !viewer.element.hidden);

const viewer = new ViewerPage(client, {
  back: () => go(listAddress),
  help,
  remember: (route) => history.replaceState(null, "", formatRoute(route)),
});
const studies = new StudiesPage(client, {
  open: (study) => go(formatRoute({ page: "view", study, series: "", instance: "", frame: 1, window: null, inverted: false })),
  upload: () => uploads.choose(),
  help,
  remember: (criteria) => {
    listAddress = formatRoute({ page: "studies", ...criteria });
    history.replaceState(null, "", listAddress);
  },
});
const uploads = new UploadPanel(client, () => !studies.element.hidden && studies.reload());

/** @param {string} address */
function go(address) {
  history.pushState(null, "", address);
  show(parseRoute(location));
}

/** @param {Route} route */
function show(route) {
  const viewing = route.page === "view";
  if (!viewing && !viewer.element.hidden) viewer.hide();
  viewer.element.hidden = !viewing;
  studies.element.hidden = viewing;
  keyboard.use(viewing ? viewer.bindings : studies.bindings);
  if (route.page === "view") {
    void viewer.show(route);
    return;
  }
  document.title = "Studies · Isocenter";
  listAddress = formatRoute(route);
  studies.show(route);
}

viewer.element.hidden = true;
studies.element.hidden = true;
root.replaceChildren(studies.element, viewer.element);
addEventListener("popstate", () => show(parseRoute(location)));
show(parseRoute(location));
