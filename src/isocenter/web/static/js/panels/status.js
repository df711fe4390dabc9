// @ts-check
// How full the disk is, and what is on its way to peers: looked at again every few seconds while it is open.

import { Watch } from "../attendance.js";
import { isAbort } from "../dicomweb.js";
import { fill, h, icon } from "../dom.js";
import { count, moment, size, wholeMoment } from "../format.js";
import { t } from "../words.js";
import { openDialog, told } from "./dialog.js";

/** @typedef {import("../operation.js").Operation} Operation */
/** @typedef {import("../operation.js").ListedJob} Job */
/** @typedef {import("../operation.js").Queue} Queue */
/** @typedef {import("../operation.js").Storage} Storage */

const EVERY = 2000;
const MOST = 100;
/** What the kinds of jobs are, for people. @type {Record<string, string>} */
const KINDS = { forward: "Send", notify: "Notify", commitment: "Commitment report", "commitment-request": "Commitment request" };
/** @type {Record<string, string>} */
const STATES = { waiting: "Waiting", running: "Running", done: "Done", failed: "Failed", cancelled: "Cancelled" };

/** @param {Operation} operation */
export function showStatus(operation) {
  const disk = h("section.disk");
  const queue = h("section.queue", { "aria-live": "off" });
  const problem = h("p.problem", { role: "alert" });
  /** What keeps us from looking, which is over when we can. */
  const unseen = h("p.problem.unseen", { role: "alert" });
  const dialog = openDialog("status", t("Storage and queue"), [disk, queue, problem, unseen]);
  const closed = new AbortController();
  let drawn = "";
  const look = async () => {
    try {
      const [storage, jobs] = await Promise.all([operation.storage(closed.signal), operation.queue(MOST, closed.signal)]);
      drawDisk(disk, storage);
      // What is the same stays: a title that is being read would go with its row.
      if (drawn !== JSON.stringify(jobs)) drawQueue(queue, jobs, (job, verb) => void change(job, verb));
      drawn = JSON.stringify(jobs);
      fill(unseen);
    } catch (error) {
      if (isAbort(error)) return;
      if (unseen.textContent !== told(error)) fill(unseen, told(error)); // read out once
    }
  };
  const watch = new Watch(look, EVERY);
  dialog.addEventListener("close", () => {
    closed.abort();
    watch.end();
  });
  const change = async (/** @type {number} */ job, /** @type {"retry" | "cancel"} */ verb) => {
    try {
      await operation.change(job, verb);
      fill(problem);
    } catch (error) {
      fill(problem, told(error)); // it may have ended meanwhile
    }
    if (!closed.signal.aborted) await watch.now();
  };
  void watch.now();
}

/** @param {HTMLElement} place @param {Storage} storage */
function drawDisk(place, storage) {
  const used = storage.size - storage.free;
  const others = Math.max(0, used - storage.bytes);
  const share = (/** @type {number} */ bytes) => `${((100 * bytes) / Math.max(1, storage.size)).toFixed(2)}%`;
  const own = h("span.own");
  own.style.width = share(Math.min(used, storage.bytes));
  const rest = h("span.rest");
  rest.style.width = share(others);
  const figures = [
    [count(storage.patients), "Patients"],
    [count(storage.studies), "Studies"],
    [count(storage.series), "Series"],
    [count(storage.instances), "Objects"],
    [size(storage.bytes), "Stored"],
    [size(storage.free), "Free"],
  ];
  const low = storage.free < 2 * storage.reserve;
  fill(
    place,
    h("dl.figures", null, ...figures.map(([figure, name]) => h("div", null, h("dd", null, figure), h("dt", null, t(String(name)))))),
    h("div.disk-bar", { role: "img", "aria-label": t("{0} of {1} free", size(storage.free), size(storage.size)) }, own, rest),
    h("p.disk-legend", null, h("span.key.own"), t("Objects"), h("span.key.rest"), t("Others on this disk"), h("span.muted", null, t("{0} of {1} free", size(storage.free), size(storage.size)))),
    low && h("p.problem", null, icon("alert"), t("The disk is nearly full: nothing is stored any more below {0} of free space.", size(storage.reserve))),
  );
}

/** @param {HTMLElement} place @param {Queue} queue @param {(job: number, verb: "retry" | "cancel") => void} change */
function drawQueue(place, queue, change) {
  const counts = Object.entries(queue.counts).map(([state, n]) => h(`span.state.is-${state}`, null, `${count(n ?? 0)} ${t(STATES[state] ?? state).toLowerCase()}`));
  const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset["job"] : undefined;
  fill(
    place,
    h("header", null, h("h3", null, t("Queue")), ...counts),
    queue.jobs.length === 0
      ? h("p.muted.empty", null, t("Nothing is on its way. What is sent to peers, by hand or by a rule, is listed here."))
      : h("div.queue-scroll", null, h("table", null, h("tbody", null, ...queue.jobs.map((job) => row(job, change))))),
  );
  if (focused) /** @type {HTMLElement | null} */ (place.querySelector(`[data-job="${focused}"]`))?.focus();
}

/** @param {Job} job @param {(job: number, verb: "retry" | "cancel") => void} change */
function row(job, change) {
  const over = job.state === "done" || job.state === "cancelled" || job.state === "failed";
  const verb = job.state === "failed" || job.state === "cancelled" ? "retry" : "cancel";
  const bar = h("progress", { max: Math.max(1, job.total), value: job.done + job.failed, "aria-label": t("Progress") });
  const button = h("button.button.small", { type: "button", "data-job": job.id, onclick: () => change(job.id, verb) }, verb === "retry" ? t("Try again") : t("Cancel"));
  const changed = new Date(job.updated_at);
  return h(
    "tr",
    null,
    h("td", null, h(`span.state.is-${job.state}`, null, t(STATES[job.state] ?? job.state))),
    h("td", null, h("strong", null, job.target), h("span.muted", null, ` ${t(KINDS[job.kind] ?? job.kind)}`), ...troubles(job).map((why) => h("span.error", { title: why }, why))),
    h("td.amount", null, job.total > 0 && !over && bar, job.total > 0 && `${count(job.done)} / ${count(job.total)}`, job.failed > 0 && h("span.error", null, t("{0} failed", count(job.failed)))),
    h("td.muted", null, h("time", { datetime: job.updated_at, title: wholeMoment(changed) }, moment(changed))),
    h("td", null, job.state !== "done" && button),
  );
}

/** What is wrong with a job, and with objects of it. @param {Job} job @returns {string[]} */
function troubles({ state, last_error, reasons }) {
  const whys = reasons.map(({ why, count: n }) => (n > 1 ? `${why} (${count(n)})` : why));
  // A job that failed by its objects names the first of the reasons itself.
  const own = state !== "done" && last_error && !reasons.some(({ why }) => last_error.endsWith(why));
  return own ? [last_error, ...whys] : whys;
}
