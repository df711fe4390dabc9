// @ts-check
// What can be done with a study of the list: a menu at its row, and the windows that ask before something is done.

import { Tag, number, personName, text } from "../dataset.js";
import { RequestError } from "../dicomweb.js";
import { fill, h, icon, nameElement } from "../dom.js";
import { date, plural } from "../format.js";
import { Operation } from "../operation.js";
import { t } from "../words.js";
import { openDialog, say, told } from "./dialog.js";
import { menuItem } from "./menu.js";
import { showStatus } from "./status.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */

const REASONS = ["Wrong patient", "Duplicate", "Test images", "Poor quality"];
const GAP = 4;

export class StudyMenu {
  element = h("div.menu.floating", { role: "menu", "aria-label": t("Menu of the study"), hidden: true });
  /** Has the focus back afterwards. @type {HTMLElement | null} */
  #from = null;

  /**
   * @param {import("../dicomweb.js").DicomWeb} client
   * @param {{open: (study: string) => void, may: (scope: string) => boolean, gone: () => void}} actions
   */
  constructor(client, actions) {
    this.client = client;
    this.operation = new Operation(client);
    this.actions = actions;
    document.addEventListener("pointerdown", (event) => event.target instanceof Node && !this.element.contains(event.target) && this.close());
    addEventListener("blur", () => this.close());
    addEventListener("wheel", () => this.close(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** @param {DataSet} study @param {number} x @param {number} y on the screen @param {HTMLElement | null} from */
  show(study, x, y, from) {
    const uid = text(study, Tag.StudyInstanceUID);
    const then = (/** @type {() => void} */ run) => () => {
      this.close();
      run();
    };
    fill(
      this.element,
      menuItem({ label: t("Open"), key: "↵", symbol: "layers", run: then(() => this.actions.open(uid)) }),
      menuItem({ label: t("Download as ZIP"), key: "D", symbol: "download", run: then(() => this.download(study)) }),
      menuItem({ label: t("Download as DICOMDIR"), key: "⇧D", symbol: "disc", run: then(() => this.download(study, "&dicomdir=true")) }),
      this.actions.may("write") && menuItem({ label: t("Send to a peer…"), key: "S", symbol: "send", run: then(() => void this.send(study)) }),
      this.actions.may("delete") && menuItem({ label: t("Delete…"), key: "Del", symbol: "trash", run: then(() => this.remove(study)) }),
    );
    this.#from = from;
    this.element.hidden = false;
    const { width, height } = this.element.getBoundingClientRect();
    this.element.style.left = `${Math.max(GAP, Math.min(x, innerWidth - width - GAP))}px`;
    this.element.style.top = `${Math.max(GAP, Math.min(y, innerHeight - height - GAP))}px`;
    this.element.querySelector("button")?.focus();
  }

  close() {
    this.element.hidden = true;
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    event.stopPropagation();
    const buttons = [...this.element.querySelectorAll("button")];
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      buttons[(to + buttons.length) % buttons.length]?.focus();
    } else if (event.key === "Escape" || event.key === "Tab") {
      event.preventDefault();
      this.close();
      this.#from?.focus();
    }
  }

  status() {
    showStatus(this.operation);
  }

  /** @param {DataSet} study @param {string} [how] "&dicomdir=true": as it goes onto a disc or a stick */
  download(study, how = "") {
    const link = h("a", { href: this.client.zipAddress(text(study, Tag.StudyInstanceUID)) + how, download: "" });
    document.body.append(link);
    link.click();
    link.remove();
  }

  /** @param {DataSet} study */
  async send(study) {
    const problem = h("p.problem", { role: "alert" });
    const list = h("div.choices", { role: "radiogroup", "aria-label": t("Peer") });
    const commit = h("input", { type: "checkbox" });
    const go = h("button.button.primary", { type: "button", disabled: true, onclick: () => void start() }, icon("send"), h("span", null, t("Send")));
    const dialog = openDialog(
      "send",
      t("Send to a peer"),
      [this.#about(study), list, h("label.check", null, commit, t("Ask for Storage Commitment afterwards")), problem],
      [h("button.button", { type: "button", onclick: () => dialog.close() }, t("Cancel")), go],
    );
    const chosen = () => /** @type {HTMLInputElement | null} */ (list.querySelector("input:checked"))?.value;
    const start = async () => {
      go.disabled = true;
      try {
        const job = await this.operation.send(chosen() ?? "", text(study, Tag.StudyInstanceUID), commit.checked);
        dialog.close();
        const watch = h("button.button", { type: "button", onclick: () => this.status() }, t("Show the queue"));
        say(t("{0} on the way to {1}", plural(job.total, "object", "objects"), job.target), watch);
      } catch (error) {
        fill(problem, told(error));
        go.disabled = false;
      }
    };
    try {
      const peers = await this.operation.peers();
      const choices = peers.map(({ name, aet }, i) =>
        h("label.choice", null, h("input", { type: "radio", name: "peer", value: name, checked: i === 0 }), h("span", null, name), h("span.muted", null, aet)),
      );
      if (choices.length > 0) fill(list, ...choices);
      else fill(list, h("p.muted", null, t("No peer is configured. Name one as a [[peer]] in the settings file.")));
      go.disabled = choices.length === 0;
      list.querySelector("input")?.focus();
    } catch (error) {
      fill(problem, told(error));
    }
  }

  /** @param {DataSet} study */
  remove(study) {
    const problem = h("p.problem", { role: "alert" });
    const reason = h("input.field", { type: "text", maxlength: 1000, placeholder: t("Why? It is kept in the record."), "aria-label": t("Reason"), autocomplete: "off" });
    const go = h("button.button.danger", { type: "button", disabled: true, onclick: () => void start(false) }, icon("trash"), h("span", null, t("Delete")));
    const footer = [h("button.button", { type: "button", onclick: () => dialog.close() }, t("Cancel")), go];
    const chips = REASONS.map((why) => h("button.chip", { type: "button", onclick: () => set(t(why)) }, t(why)));
    const warning = h("p", null, t("The objects and all their copies here are removed and cannot be brought back."));
    const dialog = openDialog("delete", t("Delete the study?"), [this.#about(study), warning, reason, h("div.chips", null, ...chips), problem], footer);
    const set = (/** @type {string} */ why) => {
      reason.value = why;
      go.disabled = false;
      go.focus();
    };
    reason.addEventListener("input", () => (go.disabled = reason.value.trim() === ""));
    reason.addEventListener("keydown", (event) => event.key === "Enter" && !event.isComposing && !go.disabled && void start(false));
    reason.focus();
    const start = async (/** @type {boolean} */ force) => {
      go.disabled = true;
      try {
        await this.client.deleteStudy(text(study, Tag.StudyInstanceUID), reason.value.trim(), force);
        dialog.close();
        say(t("The study was deleted"));
        this.actions.gone();
      } catch (error) {
        const again = h("button.button.danger", { type: "button", onclick: () => void start(true) }, t("Delete anyway"));
        const wanted = error instanceof RequestError && error.status === 409;
        fill(problem, wanted ? t("It is still to be sent, or a peer is yet to be told of it.") : told(error), wanted && again);
        go.disabled = false;
      }
    };
  }

  /** @param {DataSet} study */
  #about(study) {
    const images = number(study, Tag.NumberOfStudyRelatedInstances) ?? 0;
    const facts = [text(study, Tag.PatientID), date(text(study, Tag.StudyDate)), text(study, Tag.StudyDescription), plural(images, "object", "objects")];
    return h(
      "div.about",
      null,
      nameElement(personName(study, Tag.PatientName), text(study, Tag.SpecificCharacterSet)),
      h("p.muted", null, facts.filter(Boolean).join(" · ")),
    );
  }
}
