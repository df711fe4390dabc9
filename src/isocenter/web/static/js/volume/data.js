// @ts-check
// A volume on its way from frames of a series into the worker that cuts planes out of it. Slices are fetched from coarse
// to fine, and each plane can be cut from the first slice on.

import { isAbort } from "../dicomweb.js";
import { modalityValue } from "../greys.js";
import { add, apply, applyLinear, inverse, norm, unit } from "./vectors.js";

/** @typedef {import("../image.js").Image} Image */
/** @typedef {import("../loader.js").FrameLoader} FrameLoader */
/** @typedef {import("./stacks.js").Volume} Volume */
/** @typedef {import("./reslice.js").Cut} Cut */
/** @typedef {import("./vectors.js").Vector} Vector */
/** Where a slice's values come from, and how they become the volume's. @typedef {{image: Image, frame: number, place: number, signed: boolean, scale: number, shift: number}} Slice */

/** Bytes of voxels above which rows and columns are averaged: the page is not alone on its machine. */
export const MOST_BYTES = 512 * 1024 * 1024;
/** Pixels that may be averaged into one on each side; beyond, the picture would be no help. */
const MOST_REDUCED = 4;
/** Frames fetched at a time: what a browser opens to one server without HTTP/2. */
const CONCURRENT = 6;

const WORKER = new URL("./worker.js", import.meta.url).href;
/** The only script address this application makes itself: the policy of the page allows this one name, and the name this address. */
const policy = /** @type {any} */ (globalThis).trustedTypes?.createPolicy("isocenter-worker", { createScriptURL: () => WORKER });

/** Why a volume cannot be had. */
export class VolumeError extends Error {}

/**
 * By how much rows and columns must be reduced for the volume to fit.
 * @param {[number, number, number]} shape @param {number} most bytes @returns {number} raises VolumeError where it cannot
 */
export function reductionFor([slices, rows, columns], most) {
  for (let reduce = 1; reduce <= MOST_REDUCED; reduce += 1) {
    if (2 * slices * Math.floor(rows / reduce) * Math.floor(columns / reduce) <= most) return reduce;
  }
  throw new VolumeError(`${slices} slices of ${rows} × ${columns} are more than a browser can hold (${Math.round(most / 2 ** 20)} MB).`);
}

/** Every place once, coarse to fine, so that a whole picture is there early and sharpens. @param {number} count @returns {number[]} */
export function coarseFirst(count) {
  const seen = new Set();
  for (let step = 16; step >= 1; step /= 2) {
    for (let i = Math.min(count - 1, step >> 1); i < count; i += step) seen.add(i);
    if (step === 16) [0, count - 1].forEach((i) => seen.add(i));
  }
  for (let i = 0; i < count; i += 1) seen.add(i);
  return [...seen];
}

export class VolumeData extends EventTarget {
  /** @type {Worker} */
  #worker;
  #stop = new AbortController();
  /** @type {Map<number, {resolve: (result: any) => void, reject: (error: Error) => void}>} */
  #asked = new Map();
  #next = 0;
  /** Cuts by who wants them: one under way, one waiting, and newer ones replace the waiting one. @type {Map<string, {busy: boolean, waiting: (() => void) | null}>} */
  #cuts = new Map();
  loaded = 0;
  /** Stored values seen so far. */
  low = 0;
  high = 0;
  /** Milliseconds the worker took for the last cut of each. @type {Map<string, number>} */
  cost = new Map();
  /** Why slices could not be read, one for each. @type {string[]} */
  missed = [];
  /** What stopped the loading. @type {Error | null} */
  problem = null;

  /**
   * @param {Volume} volume @param {Image[]} images the objects its planes count @param {FrameLoader} loader
   * @param {number} [most] bytes. Raises VolumeError where it is too big.
   */
  constructor(volume, images, loader, most = MOST_BYTES) {
    super();
    this.volume = volume;
    this.loader = loader;
    const [rows, columns] = /** @type {import("./planes.js").Plane} */ (volume.planes[0]).shape;
    const slices = (volume.places.at(-1) ?? 0) + 1;
    /** @type {[number, number, number]} */
    this.shape = [slices, rows, columns];
    this.reduce = reductionFor(this.shape, most);
    const { slope, intercept, signed, slices: sources, padding } = commonValues(volume, images);
    this.slope = slope;
    this.intercept = intercept;
    this.signed = signed;
    this.slices = sources;
    this.padding = padding;
    /** The image whose header speaks for all: the middle one, as it shows the most. */
    this.middle = /** @type {Slice} */ (sources[sources.length >> 1]);
    this.affine = reduced(volume.affine, this.reduce);
    this.inverse = inverse(this.affine);
    const real = Array.from({ length: slices }, () => false);
    for (const place of volume.places) real[place] = true;
    // A worker of our own address: the page's policy admits no other script.
    this.#worker = new Worker(policy ? policy.createScriptURL("") : WORKER, { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#hear(data);
    this.#worker.onerror = (event) => this.#fail(new VolumeError(event.message || "The worker that cuts planes could not be started."));
    this.#send({ type: "open", shape: { shape: this.shape, signed, reduce: this.reduce, real, padding } });
  }

  get complete() {
    return this.loaded + this.missed.length === this.slices.length;
  }

  /** Size of the box of voxels after reduction: slices, rows, columns. @returns {Vector} */
  get size() {
    const [slices, rows, columns] = this.shape;
    return [slices, Math.floor(rows / this.reduce), Math.floor(columns / this.reduce)];
  }

  /** Middle of the box. @returns {Vector} LPS mm */
  get centre() {
    return apply(this.affine, /** @type {Vector} */ (this.size.map((n) => (n - 1) / 2)));
  }

  /** @param {Vector} direction of length one @returns {number} mm from one voxel to the next, along the axis it follows most */
  stepAlong(direction) {
    return 1 / Math.max(...applyLinear(this.inverse, direction).map(Math.abs));
  }

  /** How far the box reaches along a direction. @param {Vector} direction of length one @returns {number} mm */
  extentAlong(direction) {
    return [0, 1, 2].reduce((sum, axis) => sum + Math.abs((this.size[axis] ?? 0) * this.affine.reduce((s, row, i) => s + (row[axis] ?? 0) * (direction[i] ?? 0), 0)), 0);
  }

  /** The point of the box nearest to a point, along its own axes. @param {Vector} point @returns {Vector} */
  inside(point) {
    const place = apply(this.inverse, point).map((v, i) => Math.min((this.size[i] ?? 1) - 0.5, Math.max(-0.5, v)));
    return apply(this.affine, /** @type {Vector} */ (place));
  }

  /** @returns {Vector[]} directions in which places, rows and columns go on, of length one */
  get axes() {
    return [0, 1, 2].map((axis) => unit(/** @type {Vector} */ (this.affine.map((row) => row[axis] ?? 0))));
  }

  /** @param {number} stored value of the volume @returns {number} modality value */
  value(stored) {
    return stored * this.slope + this.intercept;
  }

  // --- loading

  /** Fetches all slices; "progress" tells of each, "problem" of what stopped it. */
  async load() {
    const order = coarseFirst(this.slices.length).map((i) => /** @type {Slice} */ (this.slices[i]));
    const next = async () => {
      for (let slice = order.shift(); slice && !this.#stop.signal.aborted; slice = order.shift()) {
        try {
          const frame = await this.loader.get({ image: slice.image, frame: slice.frame }, this.#stop.signal);
          if (!this.#stop.signal.aborted) this.#put(slice, frame);
        } catch (error) {
          if (this.#stop.signal.aborted || isAbort(error)) return;
          // A slice that cannot be read stays empty, and never looks like its neighbour.
          this.missed.push(error instanceof Error ? error.message : String(error));
          this.#send({ type: "drop", place: slice.place });
          this.dispatchEvent(new Event("progress"));
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENT }, next));
  }

  /** @param {Slice} slice @param {import("../pixels.js").Frame} frame */
  #put(slice, frame) {
    if (frame.kind !== "values") throw new VolumeError("its pixels are colours");
    const { image, place, signed, scale, shift } = slice;
    const source = image.values(slice.frame).modality.lut;
    // Voxels are laid out by the header; a codestream may know better (Image.readAs).
    if (!source && image.signed !== signed) throw new VolumeError("its codestreams are signed, its header is not");
    const lut = source && this.loader.tables.lut(source);
    let pixels = frame.pixels instanceof Uint16Array ? frame.pixels.slice() : Uint16Array.from(frame.pixels);
    if (lut) {
      const stored = image.signed ? new Int16Array(pixels.buffer) : pixels;
      const t = { slope: 1, intercept: 0, modalityLut: lut, voi: /** @type {any} */ (null), inverse: false, padding: null };
      pixels = Uint16Array.from(stored, (v) => modalityValue(t, v));
    }
    this.#send({ type: "slice", place, pixels, how: { signed, scale, shift } }, [pixels.buffer]);
  }

  /** @param {Error} error */
  #fail(error) {
    this.problem ??= error;
    this.#stop.abort();
    this.dispatchEvent(new Event("problem"));
  }

  /** Ends loading and gives the memory back. */
  close() {
    this.#stop.abort();
    this.#worker.terminate();
    for (const { reject } of this.#asked.values()) reject(new DOMException("closed", "AbortError"));
    this.#asked.clear();
  }

  // --- the worker

  /** @param {import("./worker.js").Order} order @param {Transferable[]} [transfer] */
  #send(order, transfer = []) {
    this.#worker.postMessage(order, transfer);
  }

  /** @param {import("./worker.js").News} news */
  #hear(news) {
    if (news.type === "loaded") {
      ({ loaded: this.loaded, low: this.low, high: this.high } = news);
      this.dispatchEvent(new Event("progress"));
      return;
    }
    const asked = news.id === null ? undefined : this.#asked.get(news.id);
    if (news.id !== null) this.#asked.delete(news.id);
    if (news.type === "answer") asked?.resolve({ ...news.result, ms: news.ms });
    else if (asked) asked.reject(new VolumeError(news.message));
    else this.#fail(new VolumeError(news.message));
  }

  /** @param {(id: number) => import("./worker.js").Order} order @returns {Promise<any>} */
  #ask(order) {
    this.#next += 1;
    const id = this.#next;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#send(order(id));
    });
  }

  /**
   * A plane, soon; a later call for the same `who` replaces one that has not begun.
   * @param {string} who @param {Cut} cut @param {(plane: import("./reslice.js").Plane) => void} take
   */
  cut(who, cut, take) {
    const state = this.#cuts.get(who) ?? { busy: false, waiting: null };
    this.#cuts.set(who, state);
    const run = async () => {
      state.busy = true;
      try {
        const { ms, ...plane } = await this.#ask((id) => ({ type: "cut", id, cut }));
        this.cost.set(who, ms);
        take(plane);
      } catch (error) {
        if (!isAbort(error)) this.#fail(error instanceof Error ? error : new VolumeError(String(error)));
      }
      state.busy = false;
      const then = state.waiting;
      state.waiting = null;
      then?.();
    };
    if (state.busy) state.waiting = run;
    else void run();
  }

  /** @param {number} most voxels @returns {Promise<import("./reslice.js").Texture>} */
  texture(most) {
    return this.#ask((id) => ({ type: "texture", id, most }));
  }
}

/** Affine of a volume whose rows and columns are averaged: the first voxel's centre moves. @param {number[][]} affine @param {number} reduce */
function reduced(affine, reduce) {
  const off = (reduce - 1) / 2;
  return affine.map(([place = 0, row = 0, column = 0, origin = 0]) => [place, row * reduce, column * reduce, origin + off * (row + column)]);
}

/**
 * What all slices' values are expressed in: their own stored values where they mean the same in each, and otherwise, as
 * in PET, 16 bits over the whole range of what they mean.
 * @param {Volume} volume @param {Image[]} images
 * @returns {{slope: number, intercept: number, signed: boolean, padding: [number, number] | null, slices: Slice[]}}
 */
function commonValues(volume, images) {
  const found = volume.planes.map((plane, at) => {
    const image = /** @type {Image} */ (images[plane.source]);
    const { slope, intercept, lut } = image.values(plane.frame).modality;
    return { image, frame: plane.frame, place: /** @type {number} */ (volume.places[at]), slope, intercept, lut };
  });
  const [first] = found;
  if (!first) throw new VolumeError("There are no slices.");
  const slice = (/** @type {typeof first} */ { image, frame, place }, signed = image.signed, scale = 1, shift = 0) => ({ image, frame, place, signed, scale, shift });
  const paddings = new Set(found.map(({ image }) => String(image.padding)));
  if (found.every(({ lut }) => lut)) return { slope: 1, intercept: 0, signed: false, padding: null, slices: found.map((one) => slice(one, false)) };
  if (found.some(({ lut }) => lut)) throw new VolumeError("Some of its slices have a Modality LUT, others none.");
  if (found.every(({ slope, intercept }) => slope === first.slope && intercept === first.intercept)) {
    const padding = paddings.size === 1 ? first.image.padding : null;
    return { slope: first.slope, intercept: first.intercept, signed: first.image.signed, padding, slices: found.map((one) => slice(one)) };
  }
  const ends = found.flatMap(({ image, slope, intercept }) => {
    const span = 2 ** image.bitsStored;
    const low = image.signed ? -span / 2 : 0;
    return [low * slope + intercept, (low + span - 1) * slope + intercept];
  });
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const step = (high - low) / 65535;
  return { slope: step, intercept: low, signed: false, padding: null, slices: found.map((one) => slice(one, one.image.signed, one.slope / step, (one.intercept - low) / step)) };
}

/**
 * The plane through `point` on a canvas, in voxels.
 * @param {VolumeData} data
 * @param {{centre: Vector, right: Vector, down: Vector, into: Vector}} plane `centre` lies in the middle of the canvas
 * @param {{width: number, height: number, across: number, along: number}} canvas pixels, and mm of each
 * @param {{mm: number, projection: import("./reslice.js").Projection}} slab its thickness
 * @param {number} [most] samples
 * @returns {Cut}
 */
export function cutOf(data, plane, { width, height, across, along }, { mm, projection }, most = 512) {
  const samples = mm > 0 ? Math.min(most, Math.ceil(mm / data.stepAlong(plane.into)) + 1) : 1;
  const start = add(add(plane.centre, plane.right, (-(width - 1) / 2) * across), plane.down, (-(height - 1) / 2) * along);
  const scaled = (/** @type {Vector} */ v, /** @type {number} */ k) => applyLinear(data.inverse, v).map((x) => x * k);
  return {
    width,
    height,
    samples,
    projection,
    origin: apply(data.inverse, start),
    right: scaled(plane.right, across),
    down: scaled(plane.down, along),
    through: scaled(plane.into, samples > 1 ? mm / (samples - 1) : 0),
  };
}

/** Longest edge of the box, which every view has room for. @param {VolumeData} data @returns {number} mm */
export function diagonal(data) {
  return norm(/** @type {Vector} */ ([0, 1, 2].map((axis) => (data.size[axis] ?? 0) * norm(/** @type {Vector} */ (data.affine.map((row) => row[axis] ?? 0))))));
}
