// @ts-check
// Which planes are shown: a point all of them go through, the frame of each, the slab. And the same as a line of an
// address, so that a link opens the same planes.

import { NO_TURN, about, add, after, cross, dot, minus, turnBetween, turned } from "./vectors.js";

/** @typedef {import("./vectors.js").Vector} Vector */
/** @typedef {import("./vectors.js").Turn} Turn */
/** @typedef {import("./reslice.js").Projection} Projection */
/** @typedef {"axial" | "coronal" | "sagittal"} PlaneName */
/** `turn` from the frame of the name; `centre` is the point in the middle of the canvas but for its depth; `field` is the mm its shorter side shows. @typedef {{turn: Turn, centre: Vector, field: number}} PlaneView */
/** @typedef {{preset: string, turn: Turn, field: number}} SceneView */
/** @typedef {{right: Vector, down: Vector, into: Vector}} Frame */

/** @type {PlaneName[]} */
export const PLANES = ["axial", "coronal", "sagittal"];
/** Seen from the feet, from the front, from the patient's left: +x is left, +y posterior, +z head. @type {Record<PlaneName, [Vector, Vector]>} right and down */
const BASES = {
  axial: [[1, 0, 0], [0, 1, 0]],
  coronal: [[1, 0, 0], [0, 0, -1]],
  sagittal: [[0, 1, 0], [0, 0, -1]],
};
export const PROJECTIONS = /** @type {Projection[]} */ (["max", "min", "mean"]);
export const MOST_SLAB = 200;
/** Least and most mm that a pane shows. */
const FIELD = /** @type {const} */ ([5, 4000]);

/** @param {PlaneName} name @param {Turn} turn @returns {Frame} */
export function frameOf(name, turn) {
  const [right, down] = BASES[name];
  const [r, d] = [turned(turn, right), turned(turn, down)];
  return { right: r, down: d, into: cross(r, d) };
}

export class PlanesState extends EventTarget {
  /** Where all planes meet, LPS mm. @type {Vector} */
  point = [0, 0, 0];
  /** @type {Record<PlaneName, PlaneView>} */
  views = { axial: fresh(), coronal: fresh(), sagittal: fresh() };
  /** @type {{mm: number, projection: Projection}} */
  slab = { mm: 0, projection: "max" };
  /** @type {SceneView} */
  scene = { preset: "", turn: NO_TURN, field: 0 };
  /** The pane that fills the page. @type {PlaneName | "scene" | null} */
  big = null;
  crossing = true;

  /** @param {import("./data.js").VolumeData} data */
  constructor(data) {
    super();
    this.data = data;
    this.reset();
  }

  /** @param {"planes" | "slab" | "scene" | "layout"} what */
  #tell(what) {
    this.dispatchEvent(new CustomEvent("change", { detail: what }));
  }

  /** The patient's planes through the middle. */
  reset() {
    this.point = this.data.centre;
    this.slab = { mm: 0, projection: "max" };
    for (const name of PLANES) this.views[name] = { turn: NO_TURN, centre: this.data.centre, field: 0 };
    this.scene = { ...this.scene, turn: NO_TURN, field: 0 };
    this.fit();
  }

  /** Every plane shows the whole of the volume. */
  fit() {
    for (const name of PLANES) {
      const { right, down } = this.frame(name);
      const view = this.views[name];
      view.centre = this.data.centre;
      view.field = Math.max(this.data.extentAlong(right), this.data.extentAlong(down));
    }
    this.scene.field = 0;
    this.#tell("planes");
  }

  /** The planes of the slices as they were taken, each under the name its direction is nearest to. */
  align() {
    const [place, row, column] = /** @type {[Vector, Vector, Vector]} */ (this.data.axes);
    // A tilted stack's axes are not at right angles: what was taken are rows and columns, and the normal follows.
    const own = [column, row, cross(column, row)];
    if (dot(own[2] ?? place, place) < 0) own[2] = cross(row, column);
    // Columns' direction stands in for the axis of the patient it is nearest to, and so on: a turn and no mirror.
    const taken = new Set();
    const axes = [0, 1, 2].map((axis) => {
      const free = own.map((_, i) => i).filter((i) => !taken.has(i));
      const best = free.sort((a, b) => Math.abs(own[b]?.[axis] ?? 0) - Math.abs(own[a]?.[axis] ?? 0))[0] ?? 0;
      taken.add(best);
      const v = /** @type {Vector} */ (own[best]);
      return (v[axis] ?? 0) < 0 ? /** @type {Vector} */ (v.map((x) => -x)) : v;
    });
    const [x, y] = /** @type {[Vector, Vector]} */ (axes);
    const turn = turnBetween([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [x, y, cross(x, y)]);
    for (const name of PLANES) this.views[name].turn = turn;
    this.fit();
  }

  /** @param {PlaneName} name @returns {Frame} */
  frame(name) {
    return frameOf(name, this.views[name].turn);
  }

  /** The point of the plane in the middle of its canvas. @param {PlaneName} name @returns {Vector} */
  middle(name) {
    const { into } = this.frame(name);
    const { centre } = this.views[name];
    return add(centre, into, dot(minus(this.point, centre), into));
  }

  /** Whether a plane was turned out of the patient's. @param {PlaneName} name */
  oblique(name) {
    return Math.abs(this.views[name].turn[0]) < 0.999999;
  }

  /** @param {Vector} point */
  moveTo(point) {
    this.point = this.data.inside(point);
    this.#tell("planes");
  }

  /** @param {PlaneName} name @param {number} steps of one voxel, into the screen */
  step(name, steps) {
    const { into } = this.frame(name);
    this.moveTo(add(this.point, into, steps * this.data.stepAlong(into)));
  }

  /**
   * Turns the other planes about the direction of sight of `name`, so that their lines there turn.
   * @param {PlaneName} name @param {number} angle radians, clockwise on its screen @param {PlaneName[]} [which]
   */
  turnOthers(name, angle, which = PLANES.filter((other) => other !== name)) {
    const turn = about(this.frame(name).into, angle);
    for (const other of which) {
      const view = this.views[other];
      const before = this.middle(other);
      view.turn = after(turn, view.turn);
      // What was in the middle of its canvas turns about the crosshair with it.
      view.centre = add(this.point, turned(turn, minus(before, this.point)));
    }
    this.#tell("planes");
  }

  /** @param {PlaneName} name @param {number} right @param {number} down mm by which the picture moves on its screen */
  pan(name, right, down) {
    const frame = this.frame(name);
    const view = this.views[name];
    view.centre = add(add(view.centre, frame.right, -right), frame.down, -down);
    this.#tell("planes");
  }

  /** @param {PlaneName} name @param {number} factor above 1 enlarges @param {Vector} [fixed] the point that stays where it is */
  zoom(name, factor, fixed = this.middle(name)) {
    const view = this.views[name];
    const field = Math.min(FIELD[1], Math.max(FIELD[0], view.field / factor));
    view.centre = add(fixed, minus(this.middle(name), fixed), field / view.field);
    view.field = field;
    this.#tell("planes");
  }

  /** @param {Partial<PlanesState["slab"]>} change */
  setSlab(change) {
    this.slab = { ...this.slab, ...change };
    this.slab.mm = Math.min(MOST_SLAB, Math.max(0, this.slab.mm));
    this.#tell("slab");
  }

  /** @param {Partial<SceneView>} change */
  setScene(change) {
    this.scene = { ...this.scene, ...change };
    this.#tell("scene");
  }

  /** @param {PlaneName | "scene" | null} big */
  setBig(big) {
    this.big = big;
    this.#tell("layout");
  }

  /** @param {boolean} crossing */
  setCrossing(crossing) {
    this.crossing = crossing;
    this.#tell("planes");
  }

  // --- the address

  /** @returns {string} for the query of an address; what is as it was at first is left out */
  toString() {
    const parts = [`at:${list(this.point)}`];
    for (const name of PLANES) {
      const { turn, centre, field } = this.views[name];
      parts.push(`${name}:${list([...turn.map((v) => v * 1000), ...centre, field])}`);
    }
    if (this.slab.mm > 0) parts.push(`slab:${this.slab.projection},${list([this.slab.mm])}`);
    const { preset, turn, field } = this.scene;
    parts.push(`scene:${preset},${list([...turn.map((v) => v * 1000), field])}`);
    if (this.big) parts.push(`big:${this.big}`);
    return parts.join(";");
  }

  /** Takes what makes sense of an address, and leaves the rest as it is. @param {string} words */
  parse(words) {
    for (const [name = "", text = ""] of words.split(";").map((part) => part.split(":"))) {
      const values = text.split(",");
      const numbers = values.map(Number);
      const known = PLANES.find((plane) => plane === name);
      if (name === "at" && numbers.length === 3 && numbers.every(Number.isFinite)) this.point = this.data.inside(/** @type {Vector} */ (numbers));
      else if (known && numbers.length === 8 && numbers.every(Number.isFinite)) {
        const [w = 1, x = 0, y = 0, z = 0, a = 0, b = 0, c = 0, field = 0] = numbers;
        if (Math.hypot(w, x, y, z) > 0 && field > 0) this.views[known] = { turn: after([w, x, y, z], NO_TURN), centre: [a, b, c], field: Math.min(FIELD[1], Math.max(FIELD[0], field)) };
      } else if (name === "slab") {
        const projection = PROJECTIONS.find((one) => one === values[0]);
        const mm = Number(values[1]);
        if (projection && mm > 0) this.slab = { projection, mm: Math.min(MOST_SLAB, mm) };
      } else if (name === "scene") {
        const [w = NaN, x = NaN, y = NaN, z = NaN, field = NaN] = numbers.slice(1);
        if (Math.hypot(w, x, y, z) > 0) this.scene = { preset: values[0] ?? "", turn: after([w, x, y, z], NO_TURN), field: field > 0 ? Math.min(FIELD[1], field) : 0 };
      } else if (name === "big") this.big = [...PLANES, /** @type {const} */ ("scene")].find((one) => one === text) ?? null;
    }
    this.#tell("planes");
  }
}

/** @returns {PlaneView} */
function fresh() {
  return { turn: NO_TURN, centre: [0, 0, 0], field: 1 };
}

/** @param {number[]} values @returns {string} to a hundredth */
function list(values) {
  return values.map((v) => String(Math.round(v * 100) / 100)).join(",");
}
