// @ts-check
// Whether what a page shows is out of date: the server says when something was stored or deleted (web/changes.py), as
// long as somebody is there to look.

import { Attendance } from "../attendance.js";
import { fill, h, icon } from "../dom.js";
import { plural } from "../format.js";
import { whoIsIt } from "../session.js";
import { t } from "../words.js";

/** From one look to the next (ms). */
const PACE = 2000;

export class News {
  #attendance = new Attendance(() => this.#turn());
  /** @type {EventSource | null} */
  #source = null;
  #pause = 0;
  #again = false;
  /** Whether the server tells whoever sits here. @type {Promise<boolean> | null} */
  #told = null;

  /** @param {string} root of the DICOMweb service @param {() => Promise<void>} look at what has changed; it is called once at a time, and now and then for nothing */
  constructor(root, look) {
    this.root = root;
    this.look = look;
  }

  begin() {
    this.#attendance.begin();
  }

  end() {
    clearTimeout(this.#pause);
    this.#pause = 0;
    this.#attendance.end();
  }

  /** On or off, as it should be by now. */
  #turn() {
    const on = this.#attendance.present;
    if (on === (this.#source !== null)) return;
    this.#source?.close();
    this.#source = null;
    if (on) void this.#listen();
  }

  async #listen() {
    // Who may see some studies only hears of none: those look when they come back to the page.
    this.#told ??= whoIsIt().then(({ restricted }) => !restricted, () => false);
    const told = await this.#told;
    if (!this.#attendance.present || this.#source) return;
    if (!told) {
      this.#hear();
      return;
    }
    const source = new EventSource(`${this.root}/events?summary=true`);
    this.#source = source;
    // What came before anybody listened.
    source.addEventListener("open", () => this.#hear());
    source.addEventListener("changed", () => this.#hear());
  }

  /** Looks now, or a little later where that was a moment ago. */
  #hear() {
    if (!this.#attendance.present) {
      this.#turn(); // without a timer: as long as nothing comes, nothing is asked for
      return;
    }
    this.#again = true;
    if (this.#pause) return;
    this.#again = false;
    this.#pause = window.setTimeout(() => {
      this.#pause = 0;
      if (this.#again) this.#hear();
    }, PACE);
    void this.look();
  }
}

/** The word that there is more than the list shows, and the way to it. */
export class NewsSign {
  element = h("div.list-news", { role: "status" });
  #said = "";

  /** @param {() => void} show */
  constructor(show) {
    this.show = show;
  }

  get shown() {
    return this.#said !== "";
  }

  /** @param {number | null} more studies than are shown; null: the list is as it is shown */
  say(more) {
    const words = more === null ? "" : more > 0 ? plural(more, "new study", "new studies") : t("The list has changed");
    if (this.#said === words) return; // and it is not read out once more
    this.#said = words;
    fill(this.element, words && h("button.button.small", { type: "button", title: `${t("Show new studies")} (N)`, onclick: this.show }, icon("up"), h("span", null, words), h("span.show", null, t("Show"))));
  }
}
