// @ts-check
// Drop target over the whole page and the card that reports an upload.

import { fill, h, icon, iconButton } from "../dom.js";
import { count, plural, size } from "../format.js";
import { droppedFiles, upload } from "../upload.js";
import { t } from "../words.js";

/** @typedef {import("../upload.js").UploadState} UploadState */

export class UploadPanel {
  #card = h("section.upload-card", { "aria-label": t("Upload"), hidden: true });
  #title = h("strong", { role: "status" });
  #close = iconButton("close", "Dismiss", () => (this.#going ? this.#running?.abort() : (this.#card.hidden = true)));
  #all = h("progress", { "aria-label": t("Upload") });
  #line = h("p.upload-line");
  #name = h("span.upload-name");
  #share = h("span.upload-share");
  #one = h("progress.is-one", { "aria-label": t("This file") });
  #file = h("div.upload-file", null, h("p", null, this.#name, this.#share), this.#one);
  #reasons = h("ul");
  #going = false;
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
    // Made once: what changes many times a second must not take the focus from the button, nor be read out.
    this.#card.append(h("header", null, this.#title, this.#close), this.#all, this.#line, this.#file, this.#reasons);
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
    this.#show(title, false, detail);
    fill(this.#reasons);
  }

  /** @param {string} title @param {boolean} going @param {string} line */
  #show(title, going, line) {
    this.#going = going;
    this.#card.hidden = false;
    this.#card.setAttribute("aria-busy", String(going));
    if (this.#title.textContent !== title) this.#title.textContent = title;
    const label = t(going ? "Cancel the upload" : "Dismiss");
    this.#close.setAttribute("aria-label", label);
    this.#close.title = label;
    this.#all.hidden = !going;
    this.#file.hidden = true;
    this.#reasons.hidden = this.#reasons.childElementCount === 0;
    this.#line.textContent = line;
  }

  /** @param {UploadState} state */
  #progress(state) {
    const { done, stored, known, refused, error, part } = state;
    const title = error || (done ? (stored > 0 ? t("Upload finished") : t("Nothing was stored")) : t("Uploading"));
    const ended = [plural(stored - known, "object stored", "objects stored"), known > 0 && t("{0} already there", count(known)), refused > 0 && t("{0} refused", count(refused))];
    const going = `${t("{0} of {1}", size(state.sent), size(state.bytes))} · ${t("file {0} of {1}", count(Math.min(state.files, state.seen + 1)), count(state.files))}`;
    fill(this.#reasons, ...[...state.reasons].map(([reason, n]) => h("li", null, `${n} × ${reason}`)));
    this.#show(title, !done, done ? ended.filter(Boolean).join(" · ") : going);
    this.#all.max = Math.max(1, state.bytes);
    this.#all.value = state.sent;
    this.#file.hidden = done || state.name === "";
    this.#name.textContent = state.name;
    const whole = part.size > 0 && part.sent >= part.size;
    this.#share.textContent = whole ? t("being stored") : part.size > 0 ? `${Math.floor((100 * part.sent) / part.size)} %` : "";
    this.#one.max = Math.max(1, part.size);
    this.#one.value = part.sent;
  }
}
