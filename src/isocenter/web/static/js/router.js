// @ts-check
// Addresses of views. A copied address opens the same study list, or the same image with the same window.

import { BASE } from "./base.js";

/**
 * @typedef {{page: "studies", text: string, modality: string, from: string, to: string}} StudiesRoute
 * @typedef {{page: "view", study: string, series: string, instance: string, frame: number, window: {center: number, width: number} | null, inverted: boolean}} ViewRoute
 * @typedef {StudiesRoute | ViewRoute} Route
 */

const UID = /^[0-9.]{1,64}$/;

/** Folder the application lives in, with its trailing slash. */
const ROOT = BASE.pathname;

/** @param {URL | Location} url @returns {Route} */
export function parseRoute(url) {
  const query = new URLSearchParams(url.search);
  const path = url.pathname.startsWith(ROOT) ? url.pathname.slice(ROOT.length) : url.pathname.slice(1);
  const [page, study = "", series = "", instance = ""] = path.split("/").map((part) => (UID.test(part) || part === "view" ? part : ""));
  if (page === "view" && study) {
    const [center, width] = (query.get("window") ?? "").split(",").map(Number);
    const usable = center !== undefined && width !== undefined && Number.isFinite(center) && width > 0;
    const frame = Math.trunc(Number(query.get("frame")));
    return { page: "view", study, series, instance: series ? instance : "", frame: frame >= 1 ? frame : 1, window: usable ? { center, width } : null, inverted: query.get("invert") === "1" };
  }
  const day = (/** @type {string} */ name) => (/^\d{8}$/.test(query.get(name) ?? "") ? (query.get(name) ?? "") : "");
  return { page: "studies", text: query.get("q") ?? "", modality: query.get("modality") ?? "", from: day("from"), to: day("to") };
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
  } else {
    if (route.text) query.set("q", route.text);
    if (route.modality) query.set("modality", route.modality);
    if (route.from) query.set("from", route.from);
    if (route.to) query.set("to", route.to);
  }
  const search = query.toString().replaceAll("%2C", ",");
  return search ? `${path}?${search}` : path;
}

/** @param {number} v */
function round(v) {
  return Math.round(v * 1000) / 1000;
}
