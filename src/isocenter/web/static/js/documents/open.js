// @ts-check
// Objects that are no images, in the place of a picture: reports, documents, curves, videos. Each is a page to read and
// scroll; tools of pictures do not reach into it.

import { Tag, text } from "../dataset.js";
import { h } from "../dom.js";
import { t } from "../words.js";

/** @typedef {import("../image.js").Image} Image */
/** @typedef {import("../dicomweb.js").DicomWeb} DicomWeb */
/** Opens an image that a document refers to. @typedef {(series: string, instance: string, frame: number) => void} OpenImage */

/** Encapsulated documents (PS3.4 B.5) whose media type no browser shows by itself. */
const OTHER_DOCUMENTS = { "1.2.840.10008.5.1.4.1.1.104.2": "CDA", "1.2.840.10008.5.1.4.1.1.104.3": "STL", "1.2.840.10008.5.1.4.1.1.104.4": "OBJ", "1.2.840.10008.5.1.4.1.1.104.5": "MTL" };
const PDF = "1.2.840.10008.5.1.4.1.1.104.1";
const WAVEFORM_SEQUENCE = "54000100";
const VALUE_TYPE = "0040A040";

/**
 * @param {DicomWeb} client @param {Image} image an object without a picture @param {OpenImage} openImage
 * @returns {Promise<HTMLElement | null>} null for what cannot be shown
 */
export async function openDocument(client, image, openImage) {
  const { ds, path } = image;
  const kind = text(ds, Tag.SOPClassUID);
  const address = client.address(path, "/rendered");
  if (image.isVideo) return video(address);
  // The browser's own reader, in a frame of our own origin.
  if (kind === PDF) return page("is-pdf", h("iframe", { src: `${address}#navpanes=0&view=FitH`, title: text(ds, Tag.DocumentTitle) || "PDF" }));
  const other = OTHER_DOCUMENTS[/** @type {keyof typeof OTHER_DOCUMENTS} */ (kind)];
  if (other) return download(ds, other, address);
  if (ds[WAVEFORM_SEQUENCE]) return page("is-waveform", ...(await (await import("./waveform.js")).waveforms(client, ds)));
  if (text(ds, VALUE_TYPE) === "CONTAINER") return page("is-report", (await import("./report.js")).report(ds, openImage));
  return null;
}

/** @param {string} name @param {...Node} children */
function page(name, ...children) {
  return h(`div.document.${name}`, { tabindex: "0" }, ...children);
}

/** @param {import("../dataset.js").DataSet} ds @param {string} type @param {string} address */
function download(ds, type, address) {
  const title = text(ds, Tag.DocumentTitle) || t("{0} document", type);
  return page("is-file", h("h2", null, title), h("p", null, t("Browsers do not show {0} documents.", type)), h("a.button.primary", { href: address, download: "" }, t("Save it")));
}

/** @param {string} address */
function video(address) {
  const element = h("video", { src: address, controls: true, loop: true, muted: true, autoplay: true, playsinline: true });
  const problem = h("div.document-problem", { role: "alert", hidden: true }, h("p", null, t("This browser cannot play the video.")), h("a.button", { href: address, download: "" }, t("Save it")));
  element.addEventListener("error", () => {
    element.hidden = true;
    problem.hidden = false;
  });
  // Its keys are those of the browser's controls.
  element.addEventListener("keydown", (event) => event.key === " " && event.stopPropagation());
  return page("is-video", element, problem);
}
