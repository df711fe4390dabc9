// @ts-check
// One study in the list: a row of facts with a small picture, or a quiet row as long as it is on its way.

import { BASE } from "../base.js";
import { NO_PICTURE, Tag, number, personName, text, texts } from "../dataset.js";
import { h, icon, iconButton, nameElement } from "../dom.js";
import { age, count, date, time } from "../format.js";
import { formatRoute } from "../router.js";
import { t } from "../words.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */

/** Studies that turned out to have none: not asked for again. @type {Set<string>} */
const without = new Set();
/** Side of a picture in pixels, enough for a fine screen. */
const PICTURE = 96;
const WAITING = ["name", "id", "date", "modality", "description", "accession", "series", "images"];

/** A row whose study is not there yet. @param {number} index */
export function waitingRow(index) {
  return h("tr.is-waiting", { "data-index": index, "aria-rowindex": index + 2 }, h("td.c-picture", null, h("span.study-picture")), ...WAITING.map((name) => h(`td.c-${name}`, null, h("span.bone"))), h("td.c-ohif"), h("td.c-more"));
}

/** @param {DataSet} study @param {number} index @param {(event: MouseEvent) => void} onmore */
export function studyRow(study, index, onmore) {
  const uid = text(study, Tag.StudyInstanceUID);
  const href = formatRoute({ page: "view", study: uid, series: "", instance: "", frame: 1, window: null, inverted: false });
  const born = [text(study, Tag.PatientSex), date(text(study, Tag.PatientBirthDate)), age(text(study, Tag.PatientAge))].filter(Boolean).join(" · ");
  const modalities = texts(study, Tag.ModalitiesInStudy).filter(Boolean);
  const pictured = modalities.some((m) => !NO_PICTURE.has(m));
  const figure = (/** @type {string} */ tag) => {
    const n = number(study, tag);
    return n === undefined ? "" : count(n);
  };
  return h(
    "tr",
    { "data-index": index, "data-study": uid, "aria-rowindex": index + 2 },
    h("td.c-picture", null, h("span.study-picture", { "data-wanted": pictured && uid }, icon(pictured ? "layers" : "document"))),
    h("td.c-name", null, h("a", { href }, nameElement(personName(study, Tag.PatientName), text(study, Tag.SpecificCharacterSet))), born && h("span.born", null, born)),
    h("td.c-id", null, text(study, Tag.PatientID)),
    h("td.c-date", null, h("span", null, date(text(study, Tag.StudyDate))), h("span.muted", null, time(text(study, Tag.StudyTime)))),
    h("td.c-modality", null, ...modalities.map((m) => h("span.badge", null, m))),
    h("td.c-description", { title: text(study, Tag.StudyDescription) || false }, text(study, Tag.StudyDescription)),
    h("td.c-accession", null, text(study, Tag.AccessionNumber)),
    h("td.c-series", null, figure(Tag.NumberOfStudyRelatedSeries)),
    h("td.c-images", null, figure(Tag.NumberOfStudyRelatedInstances), h("span.unit", null, number(study, Tag.NumberOfStudyRelatedInstances) === 1 ? ` ${t("image")}` : ` ${t("images")}`)),
    // Shown where OHIF is mounted; account.js asks.
    h("td.c-ohif", null, h("a.badge", { href: new URL(`ohif/viewer?StudyInstanceUIDs=${uid}`, BASE).href, target: "_blank", title: t("Open in OHIF, in a new tab") }, "OHIF")),
    h("td.c-more", null, iconButton("more", t("Menu of the study"), onmore, "M")),
  );
}

/**
 * The small pictures of the rows that are on the screen: once per study and visit, and the server is asked whether the
 * one the browser has kept is still right.
 * @param {HTMLTableSectionElement} body @param {string} root of the DICOMweb service
 */
export function showPictures(body, root) {
  for (const place of body.querySelectorAll(".study-picture[data-wanted]")) {
    if (!(place instanceof HTMLElement)) continue;
    const study = place.dataset["wanted"] ?? "";
    delete place.dataset["wanted"];
    if (without.has(study)) continue;
    const img = h("img", { alt: "", decoding: "async", draggable: "false", src: `${root}/studies/${study}/thumbnail?viewport=${PICTURE},${PICTURE}` });
    img.addEventListener("load", () => place.classList.add("has-image"));
    img.addEventListener("error", () => {
      without.add(study);
      img.remove();
    });
    place.append(img);
  }
}
