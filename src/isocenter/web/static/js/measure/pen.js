// @ts-check
// Drawing and changing shapes by mouse, pen and finger: a drag makes two points, each click after it one more.

import { h } from "../dom.js";
import { KINDS } from "./shapes.js";
import { t } from "../words.js";

/** @typedef {import("../viewport.js").Viewport} Viewport */
/** @typedef {import("../loader.js").Entry} Entry */
/** @typedef {import("./shapes.js").Shape} Shape */
/** @typedef {import("./shapes.js").ShapeKind} ShapeKind */
/** @typedef {import("./spacing.js").Point} Point */
/** @typedef {import("./book.js").Book} Book */
/**
 * What goes on between a first press and the shape's end: `move` gives the points for where the pointer is.
 * @typedef {{viewport: Viewport, entry: Entry, before: readonly Shape[], shape: Shape, move: (to: Point) => Point[], isNew: boolean}} Work
 */

/** A press that moves less than this, in CSS pixels, is a click. */
const CLICK = 4;
const LONGEST_TEXT = 120;

export class Pen {
  /** @type {Work | null} */
  #work = null;
  /** @type {[number, number]} where the button went down, client CSS pixels */
  #pressed = [0, 0];

  /** @param {Book} book */
  constructor(book) {
    this.book = book;
  }

  /**
   * A press of the left button or a finger. Returns whether it was meant for shapes.
   * @param {Viewport} viewport @param {PointerEvent} event @param {ShapeKind | null} kind the tool, if it draws
   */
  down(viewport, event, kind) {
    this.#pressed = [event.clientX, event.clientY];
    const entry = viewport.painted?.entry;
    if (!entry || entry.image.state) return false;
    const at = viewport.toImage(event.clientX, event.clientY);
    if (this.#work?.viewport === viewport && this.#work.entry === entry) {
      this.#set([...this.#work.shape.points, at]);
      return true;
    }
    this.cancel();
    const before = this.book.shapes(entry);
    const target = event.target instanceof Element ? event.target.closest("[data-shape]") : null;
    const held = target && before.find(({ id }) => id === Number(target.getAttribute("data-shape")));
    if (held) {
      this.book.select(held.id);
      const place = /** @type {Element} */ (event.target).getAttribute("data-point");
      const move = place === null ? shifting(held, at) : placing(held, Number(place));
      this.#work = { viewport, entry, before, shape: held, move, isNew: false };
      return true;
    }
    this.book.select(null);
    if (!kind) return false;
    const shape = { id: this.book.nextId(), kind, points: [], text: "" };
    this.#work = { viewport, entry, before, shape, move: () => [], isNew: true };
    this.#set([at]);
    this.book.select(shape.id);
    return true;
  }

  /** @param {PointerEvent} event */
  move(event) {
    const work = this.#work;
    if (!work) return false;
    this.#show({ ...work.shape, points: work.move(work.viewport.toImage(event.clientX, event.clientY)) });
    return true;
  }

  /** @param {PointerEvent} event */
  up(event) {
    const work = this.#work;
    if (!work) return false;
    const far = Math.hypot(event.clientX - this.#pressed[0], event.clientY - this.#pressed[1]) >= CLICK;
    const to = work.viewport.toImage(event.clientX, event.clientY);
    if (!work.isNew) {
      if (far) this.#end({ ...work.shape, points: work.move(to) });
      else this.cancel();
      return true;
    }
    const { points, kind } = work.shape;
    const needed = KINDS[kind].points;
    // The press set a point, a drag sets the next one; the last point is where the pointer is let go.
    const set = points.length === needed ? [...points.slice(0, -1), to] : far ? [...points, to] : points;
    if (set.length >= needed) this.#end({ ...work.shape, points: set });
    else this.#set(set);
    return true;
  }

  /** Gives up what is under way. Returns whether there was something. */
  cancel() {
    const work = this.#work;
    this.#work = null;
    if (work) this.book.preview(work.entry, work.before);
    return work !== null;
  }

  /** Points that stay; the next one follows the pointer. @param {Point[]} points */
  #set(points) {
    const work = /** @type {Work} */ (this.#work);
    const more = points.length < KINDS[work.shape.kind].points;
    const shape = { ...work.shape, points };
    this.#work = { ...work, shape, move: (to) => (more ? [...points, to] : [...points.slice(0, -1), to]) };
    this.#show(shape);
  }

  /** @param {Shape} shape */
  #show(shape) {
    const { entry, before } = /** @type {Work} */ (this.#work);
    this.book.preview(entry, replaced(before, shape));
  }

  /** @param {Shape} shape */
  #end(shape) {
    const { viewport, entry, before } = /** @type {Work} */ (this.#work);
    this.#work = null;
    if (shape.kind === "arrow" && !before.some(({ id }) => id === shape.id)) {
      ask(viewport, shape, t("Text of the arrow"), (text) => this.book.change(entry, text ? replaced(before, { ...shape, text }) : before, before));
      return;
    }
    this.book.change(entry, replaced(before, shape), before);
  }
}

/** @param {readonly Shape[]} shapes @param {Shape} shape @returns {Shape[]} */
function replaced(shapes, shape) {
  return shapes.some(({ id }) => id === shape.id) ? shapes.map((one) => (one.id === shape.id ? shape : one)) : [...shapes, shape];
}

/** @param {Shape} held @param {number} place @returns {Work["move"]} */
const placing = (held, place) => (to) => held.points.map((point, i) => (i === place ? to : point));

/** @param {Shape} held @param {Point} from @returns {Work["move"]} */
const shifting = (held, from) => (to) => held.points.map(([x, y]) => [x + to[0] - from[0], y + to[1] - from[1]]);

/** Asks for words beside a shape. @param {Viewport} viewport @param {Shape} shape @param {string} label @param {(text: string) => void} then "" for none */
export function ask(viewport, shape, label, then) {
  const [x, y] = viewport.toScreen(shape.points[1] ?? [0, 0]);
  const input = h("input.shape-words", { type: "text", maxlength: LONGEST_TEXT, "aria-label": label, placeholder: label });
  input.style.left = `${x + 8}px`;
  input.style.top = `${y - 14}px`;
  let over = false;
  const end = (/** @type {boolean} */ keep) => {
    if (over) return;
    over = true;
    then(keep ? input.value.trim() : "");
    input.remove();
    viewport.element.focus({ preventScroll: true });
  };
  input.addEventListener("keydown", (event) => {
    if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
    event.preventDefault();
    event.stopPropagation();
    end(event.key === "Enter");
  });
  input.addEventListener("blur", () => end(true));
  viewport.element.append(input);
  input.focus();
}
