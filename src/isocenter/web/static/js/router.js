// @ts-check
// Addresses of views. A copied address opens the same study list, or the same images shown in the same way.

import { BASE } from "./base.js";
import { UID, lookWords, readLook } from "./looks.js";

/** @typedef {import("./looks.js").Look} Look */
/** What a cell shows and how; null for an empty one. @typedef {{series: string, instance: string, frame: number, look: Look} | null} Cell */
/**
 * The cells where there are several; that of the route's own image, at `active`, is told by the path.
 * @typedef {{columns: number, rows: number, active: number, cells: Cell[]}} Grid
 */
/**
 * `unread` names what an address said and nobody understood; `planes`: the volume in three planes, in the words of
 * volume/state.js.
 * @typedef {{page: "studies", text: string, modality: string, from: string, to: string, sort?: string, unread?: string[]}} StudiesRoute
 * @typedef {{page: "view", study: string, series: string, instance: string, frame: number, grid?: Grid, planes?: string, unread?: string[]} & Look} ViewRoute
 * @typedef {{page: "display", unread?: string[]}} DisplayRoute
 * @typedef {{page: "procedures", unread?: string[]}} ProceduresRoute
 * @typedef {StudiesRoute | ViewRoute | DisplayRoute | ProceduresRoute} Route
 */

/** Orders of the study list: a column of search.js, which is not fetched for an image, and - before it for the other way. */
const SORT = /^-?(?:name|id|date|modality|description|accession|series|images)$/;
/** Folder the application lives in, with its trailing slash. */
const ROOT = BASE.pathname;

/** @param {URL | Location} url @returns {Route} */
export function parseRoute(url) {
  const query = new URLSearchParams(url.search);
  const path = url.pathname.startsWith(ROOT) ? url.pathname.slice(ROOT.length) : url.pathname.slice(1);
  const [page, ...uids] = path.split("/").filter(Boolean);
  if (page === "display" || page === "procedures") return { page };
  /** @type {string[]} */
  const unread = [];
  const [study = "", series = "", instance = ""] = UID.test(uids[0] ?? "") ? uids : [];
  if (page === "view" && study) {
    if (series && !UID.test(series)) unread.push("series");
    else if (instance && !UID.test(instance)) unread.push("instance");
    if (uids.length > 3) unread.push("path");
    const known = UID.test(series);
    const frame = query.get("frame") ?? "1";
    if (!/^[1-9]\d{0,6}$/.test(frame)) unread.push("frame");
    const look = readLook((name) => query.get(name), unread);
    const route = { page: /** @type {const} */ ("view"), study, series: known ? series : "", instance: known && UID.test(instance) ? instance : "", frame: Math.max(1, Math.trunc(Number(frame)) || 1), planes: query.get("planes") ?? "" };
    return { ...route, ...look, ...gridOf(query, unread), ...(unread.length > 0 ? { unread } : {}) };
  }
  if (page) unread.push("/");
  const day = (/** @type {string} */ name) => (/^\d{8}$/.test(query.get(name) ?? "") ? (query.get(name) ?? "") : "");
  const sort = query.get("sort") ?? "";
  if (sort && !SORT.test(sort)) unread.push("sort");
  return { page: "studies", text: query.get("q") ?? "", modality: query.get("modality") ?? "", from: day("from"), to: day("to"), sort: SORT.test(sort) ? sort : "", ...(unread.length > 0 ? { unread } : {}) };
}

/** @param {URLSearchParams} query @param {string[]} unread @returns {{grid?: Grid}} */
function gridOf(query, unread) {
  const said = query.get("grid");
  const found = /^([1-4])x([1-4])$/.exec(said ?? "");
  if (!found) {
    if (said !== null) unread.push("grid");
    return {};
  }
  const [columns, rows] = [Number(found[1]), Number(found[2])];
  const active = Math.trunc(Number(query.get("cell") ?? 1)) - 1;
  const usable = active >= 0 && active < columns * rows;
  if (!usable) unread.push("cell");
  const cells = query.getAll("in").slice(0, columns * rows).map((words) => cellOf(words, unread));
  return { grid: { columns, rows, active: usable ? active : 0, cells } };
}

/** @param {string} words series/instance/frame;name:value;... @param {string[]} unread @returns {Cell} */
function cellOf(words, unread) {
  const [place = "", ...said] = words.split(";");
  if (place === "") return null;
  const [series = "", instance = "", frame = "1"] = place.split("/");
  if (!UID.test(series) || !UID.test(instance) || !/^[1-9]\d{0,6}$/.test(frame)) {
    unread.push("in");
    return null;
  }
  const named = new Map(said.map((word) => /** @type {[string, string]} */ ([word.slice(0, word.indexOf(":")), word.slice(word.indexOf(":") + 1)])));
  return { series, instance, frame: Number(frame), look: readLook((name) => named.get(name) ?? null, unread) };
}

/** @param {Route} route @returns {string} path and query */
export function formatRoute(route) {
  const query = new URLSearchParams();
  let path = ROOT;
  if (route.page === "view") {
    path += ["view", route.study, route.series, route.instance].filter(Boolean).join("/");
    if (route.frame > 1) query.set("frame", String(route.frame));
    for (const [name, value] of lookWords(route)) query.set(name, value);
    if (route.planes) query.set("planes", route.planes);
    if (route.grid) {
      query.set("grid", `${route.grid.columns}x${route.grid.rows}`);
      if (route.grid.active > 0) query.set("cell", String(route.grid.active + 1));
      for (const cell of route.grid.cells) query.append("in", cell ? cellWords(cell) : "");
    }
  } else if (route.page === "display" || route.page === "procedures") {
    path += route.page;
  } else {
    if (route.text) query.set("q", route.text);
    if (route.modality) query.set("modality", route.modality);
    if (route.from) query.set("from", route.from);
    if (route.to) query.set("to", route.to);
    if (route.sort) query.set("sort", route.sort);
  }
  const search = query.toString().replaceAll(/%2C|%2F|%3A|%3B/g, decodeURIComponent);
  return search ? `${path}?${search}` : path;
}

/** @param {NonNullable<Cell>} cell */
function cellWords({ series, instance, frame, look }) {
  const place = [series, instance, ...(frame > 1 ? [frame] : [])].join("/");
  return [place, ...lookWords(look).map(([name, value]) => `${name}:${value}`)].join(";");
}
