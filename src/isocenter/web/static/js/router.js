// @ts-check
// Addresses of views. A copied address opens the same study list, or the same image with the same window.

import { BASE } from "./base.js";

/** How the image lies, where it was turned or mirrored. @typedef {{turn: number, flipX: boolean, flipY: boolean}} Lie */
/** What a cell shows; null for an empty one. @typedef {{series: string, instance: string, frame: number} | null} Cell */
/**
 * The cells where there are several; that of the route's own image, at `active`, is told by the path.
 * @typedef {{columns: number, rows: number, active: number, cells: Cell[]}} Grid
 */
/**
 * @typedef {{page: "studies", text: string, modality: string, from: string, to: string}} StudiesRoute
 * @typedef {{page: "view", study: string, series: string, instance: string, frame: number, window: {center: number, width: number} | null, inverted: boolean, lie?: Lie, grid?: Grid, planes?: string}} ViewRoute `planes`: the volume in three planes, in the words of volume/state.js
 * @typedef {{page: "display", unread?: string[]}} DisplayRoute
 * @typedef {StudiesRoute | ViewRoute | DisplayRoute} Route
 */

const UID = /^[0-9.]{1,64}$/;

/** Folder the application lives in, with its trailing slash. */
const ROOT = BASE.pathname;

/** @param {URL | Location} url @returns {Route} */
export function parseRoute(url) {
  const query = new URLSearchParams(url.search);
  const path = url.pathname.startsWith(ROOT) ? url.pathname.slice(ROOT.length) : url.pathname.slice(1);
  const [page, study = "", series = "", instance = ""] = path.split("/").map((part) => (UID.test(part) || part === "view" || part === "display" ? part : ""));
  if (page === "display") return { page };
  if (page === "view" && study) {
    const [center, width] = (query.get("window") ?? "").split(",").map(Number);
    const usable = center !== undefined && width !== undefined && Number.isFinite(center) && width > 0;
    const frame = Math.trunc(Number(query.get("frame")));
    return { page: "view", study, series, instance: series ? instance : "", frame: frame >= 1 ? frame : 1, window: usable ? { center, width } : null, inverted: query.get("invert") === "1", planes: query.get("planes") ?? "", ...lieOf(query), ...gridOf(query) };
  }
  const day = (/** @type {string} */ name) => (/^\d{8}$/.test(query.get(name) ?? "") ? (query.get(name) ?? "") : "");
  return { page: "studies", text: query.get("q") ?? "", modality: query.get("modality") ?? "", from: day("from"), to: day("to") };
}

/** @param {URLSearchParams} query @returns {{lie?: Lie}} */
function lieOf(query) {
  const [turn, flip] = [Math.trunc(Number(query.get("turn"))), query.get("flip") ?? ""];
  const lie = { turn: turn > 0 && turn < 4 ? turn : 0, flipX: flip.includes("x"), flipY: flip.includes("y") };
  return lie.turn || lie.flipX || lie.flipY ? { lie } : {};
}

/** @param {URLSearchParams} query @returns {{grid?: Grid}} */
function gridOf(query) {
  const found = /^([1-4])x([1-4])$/.exec(query.get("grid") ?? "");
  if (!found) return {};
  const [columns, rows] = [Number(found[1]), Number(found[2])];
  const active = Math.trunc(Number(query.get("cell"))) - 1;
  const cells = query.getAll("in").slice(0, columns * rows).map((text) => {
    const [series = "", instance = "", frame = "1"] = text.split("/");
    return UID.test(series) && UID.test(instance) ? { series, instance, frame: Math.max(1, Math.trunc(Number(frame)) || 1) } : null;
  });
  return { grid: { columns, rows, active: active >= 0 && active < columns * rows ? active : 0, cells } };
}

/** @param {Route} route @returns {string} path and query */
export function formatRoute(route) {
  const query = new URLSearchParams();
  let path = ROOT;
  if (route.page === "view") {
    path += ["view", route.study, route.series, route.instance].filter(Boolean).join("/");
    if (route.frame > 1) query.set("frame", String(route.frame));
    if (route.window) query.set("window", `${round(route.window.center)},${round(route.window.width)}`);
    if (route.inverted) query.set("invert", "1");
    if (route.lie?.turn) query.set("turn", String(route.lie.turn));
    if (route.lie?.flipX || route.lie?.flipY) query.set("flip", `${route.lie.flipX ? "x" : ""}${route.lie.flipY ? "y" : ""}`);
    if (route.planes) query.set("planes", route.planes);
    if (route.grid) {
      query.set("grid", `${route.grid.columns}x${route.grid.rows}`);
      if (route.grid.active > 0) query.set("cell", String(route.grid.active + 1));
      for (const cell of route.grid.cells) query.append("in", cell ? [cell.series, cell.instance, ...(cell.frame > 1 ? [cell.frame] : [])].join("/") : "");
    }
  } else if (route.page === "display") {
    path += "display";
  } else {
    if (route.text) query.set("q", route.text);
    if (route.modality) query.set("modality", route.modality);
    if (route.from) query.set("from", route.from);
    if (route.to) query.set("to", route.to);
  }
  const search = query.toString().replaceAll(/%2C|%2F|%3A|%3B/g, decodeURIComponent);
  return search ? `${path}?${search}` : path;
}

/** @param {number} v */
function round(v) {
  return Math.round(v * 1000) / 1000;
}
