// @ts-check
// Drop target over the whole page and the card that reports an upload.

import { fill, h, icon, iconButton } from "../dom.js";
import { count, plural, size } from "../format.js";
import { droppedFiles, upload } from "../upload.js";
import { t } from "../words.js";

/** @typedef {import("../upload.js").UploadState} UploadState */

export class UploadPanel {
  #card = h("section.upload-card", { "aria-label": t("Upload"), "aria-live": "polite", hidden: true });
  #input = h("input", { type: "file", multiple: true, hidden: true, "aria-label": t("Files to upload") });
  #veil = h("div.drop-veil", { hidden: true }, icon("upload"), h("strong", null, t("Drop to add to the archive")), h("span", null, t("DICOM files, folders and ZIP files")));
  /** @type {AbortController | null} */
  #running = null;

  /** @param {import("../dicomweb.js").DicomWeb} client @param {() => void} onstored */
  constructor(client, onstored) {
    this.client = client;
    this.onstored = onstored;
    this.#input.addEventListener("change", () => {
      const files = [...(this.#input.files ?? [])];
      this.#input.value = "";
      void this.#start(files);
    });
    document.body.append(this.#card, this.#input, this.#veil);
    this.#watchDrops();
  }

  choose() {
    this.#input.click();
  }

  #watchDrops() {
    let depth = 0;
    const files = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
    const show = () => (this.#veil.hidden = depth === 0);
    addEventListener("dragenter", (event) => {
      if (!files(event)) return;
      depth += 1;
      show();
    });
    addEventListener("dragleave", (event) => {
      if (!files(event)) return;
      depth = Math.max(0, depth - 1);
      show();
    });
    addEventListener("dragover", (event) => files(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      if (!files(event) || !event.dataTransfer) return;
      event.preventDefault();
      depth = 0;
      show();
      droppedFiles(event.dataTransfer).then(
        (list) => this.#start(list),
        () => this.#say(t("The dropped files cannot be read."), ""),
      );
    });
  }

  /** @param {File[]} files */
  async #start(files) {
    if (this.#running) {
      this.#say(t("An upload is running."), t("Wait for its end, then drop again."));
      return;
    }
    if (files.length === 0) {
      this.#say(t("Nothing to upload."), t("No files were found in what was dropped."));
      return;
    }
    const running = new AbortController();
    this.#running = running;
    const state = await upload(this.client, files, (now) => this.#progress(now), running.signal);
    this.#running = null;
    if (state.stored > 0) this.onstored();
  }

  /** @param {string} title @param {string} detail */
  #say(title, detail) {
    this.#card.hidden = false;
    fill(this.#card, h("header", null, h("strong", null, title), iconButton("close", "Dismiss", () => (this.#card.hidden = true))), h("p", null, detail));
  }

  /** @param {UploadState} state */
  #progress(state) {
    const { done, stored, known, refused, error } = state;
    const fresh = stored - known;
    const title = error || (done ? (stored > 0 ? t("Upload finished") : t("Nothing was stored")) : t("Uploading"));
    const close = done
      ? iconButton("close", "Dismiss", () => (this.#card.hidden = true))
      : iconButton("close", "Cancel the upload", () => this.#running?.abort());
    const bar = h("progress", { max: Math.max(1, state.bytes), value: state.sent, "aria-label": t("Upload") });
    const line = done
      ? [plural(fresh, "object stored", "objects stored"), known > 0 && t("{0} already there", count(known)), refused > 0 && t("{0} refused", count(refused))].filter(Boolean).join(" · ")
      : `${t("{0} of {1}", size(state.sent), size(state.bytes))} · ${t("file {0} of {1}", count(Math.min(state.files, state.seen + 1)), count(state.files))}`;
    const reasons = [...state.reasons].map(([reason, n]) => h("li", null, `${n} × ${reason}`));
    this.#card.hidden = false;
    fill(this.#card, h("header", null, h("strong", null, title), close), !done && bar, h("p", null, line), !done && state.name && h("p.upload-name", null, state.name), reasons.length > 0 && h("ul", null, ...reasons));
  }
}
