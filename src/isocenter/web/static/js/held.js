// @ts-check
// The value under a finger that rests on a picture: read as long as it is held down, wherever it goes.

import { h } from "./dom.js";

/** Milliseconds after which a finger rests, and CSS pixels by which it may tremble. */
const REST = 450;
const TREMBLE = 8;

export class HeldValue {
  #timer = 0;
  #reading = false;
  #element = h("output.held-value", { "aria-live": "off", hidden: true });
  /** @type {[number, number]} client CSS pixels */
  #from = [0, 0];

  /** @param {HTMLElement} place of the picture @param {(x: number, y: number) => string} read what is there, client CSS pixels; "" for nothing */
  constructor(place, read) {
    this.place = place;
    this.read = read;
  }

  /** A finger comes down. @param {PointerEvent} event */
  begin(event) {
    this.#from = [event.clientX, event.clientY];
    this.#timer = window.setTimeout(() => {
      this.#reading = true;
      this.place.append(this.#element);
      this.#show(...this.#from);
    }, REST);
  }

  /** @param {PointerEvent} event @returns {boolean} whether it is read, and nothing else is to be done with it */
  move(event) {
    if (this.#reading) this.#show(event.clientX, event.clientY);
    else if (Math.hypot(event.clientX - this.#from[0], event.clientY - this.#from[1]) > TREMBLE) clearTimeout(this.#timer);
    return this.#reading;
  }

  end() {
    clearTimeout(this.#timer);
    this.#reading = false;
    this.#element.remove();
  }

  /** @param {number} x @param {number} y client CSS pixels */
  #show(x, y) {
    const words = this.read(x, y);
    const box = this.place.getBoundingClientRect();
    this.#element.hidden = words === "";
    this.#element.textContent = words;
    this.#element.style.left = `${Math.min(box.width - 80, Math.max(80, x - box.left))}px`;
    this.#element.style.top = `${Math.max(8, y - box.top - 72)}px`;
  }
}
