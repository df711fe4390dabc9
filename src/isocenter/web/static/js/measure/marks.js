// @ts-check
// What can be done with the marks of a page: taken away, calibrated by, saved and read back.

import { Tag, text } from "../dataset.js";
import { isAbort } from "../dicomweb.js";
import { t } from "../words.js";

export class Marks {
  /** @param {import("../viewer.js").ViewerPage} page */
  constructor(page) {
    this.page = page;
  }

  remove() {
    const entry = this.page.active.painted?.entry;
    if (entry) this.page.book.remove(entry);
  }

  clear() {
    const entry = this.page.active.painted?.entry;
    if (entry) this.page.book.clear(entry);
  }

  async calibrate() {
    try {
      const { calibrateByLength } = await import("./calibrating.js");
      calibrateByLength(this.page.active, this.page.book, () => {
        this.page.layout.shown.forEach((viewport) => viewport.setView({}));
        this.page.tell(t("Lengths of this series go by what you said, until the page is left"));
      });
    } catch (error) {
      this.page.tell(error instanceof Error ? error.message : String(error), true);
    }
  }

  /** @param {"state" | "report"} as */
  async save(as = "state") {
    try {
      const { saveMarks, saveReport } = await import("./saving.js");
      const count = await (as === "report" ? saveReport : saveMarks)(this.page.client, this.page.book, this.page.active);
      const report = count === 1 ? t("1 mark saved as a measurement report") : t("{0} marks saved as a measurement report", count);
      const state = count === 1 ? t("1 mark saved as a presentation state") : t("{0} marks saved as a presentation state", count);
      this.page.tell(as === "report" ? report : state);
    } catch (error) {
      this.page.tell(error instanceof Error ? error.message : String(error), true);
    }
  }

  /** Those of a study. @param {string} study @param {import("../dataset.js").DataSet[]} series of it @param {() => boolean} wanted whether it is still on the screen */
  async load(study, series, wanted) {
    if (!series.some((ds) => ["PR", "SR"].includes(text(ds, Tag.Modality)))) return;
    try {
      const { loadMarks } = await import("./saving.js");
      await loadMarks(this.page.client, this.page.book, study, series);
    } catch (error) {
      if (wanted() && !isAbort(error)) this.page.tell(t("The saved marks of this study could not be read"), true);
    }
  }
}
