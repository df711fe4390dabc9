// @ts-check
// The rows of a long table that are on the screen, and a few around them: the rest is a space of the right height. All
// rows are as high as the style sheet says in --row.

/** Rows beyond each edge of the screen. */
const BEYOND = 10;

export class RowWindow {
  /** Rows in the page by their place. @type {Map<number, HTMLTableRowElement>} */
  #rows = new Map();
  #count = 0;
  #waiting = 0;
  #height = 48;

  /**
   * @param {HTMLElement} scroll what scrolls @param {HTMLElement} space in it, around the table
   * @param {HTMLTableSectionElement} body
   * @param {{row: (index: number) => HTMLTableRowElement, looked: (from: number, to: number) => void}} make
   */
  constructor(scroll, space, body, make) {
    this.scroll = scroll;
    this.space = space;
    this.table = /** @type {HTMLTableElement} */ (body.parentElement);
    this.body = body;
    this.make = make;
    const later = () => (this.#waiting ||= requestAnimationFrame(() => ((this.#waiting = 0), this.draw())));
    scroll.addEventListener("scroll", later, { passive: true });
    // Rows may have another height on another screen.
    new ResizeObserver(later).observe(scroll);
  }

  /** @param {number} index */
  row(index) {
    return this.#rows.get(index);
  }

  /** All rows anew. @param {number} count @param {boolean} [fromTop] @param {number} [down] by how many places those on the screen have moved: they stay there */
  show(count, fromTop = false, down = 0) {
    this.#count = count;
    this.#rows.clear();
    this.body.replaceChildren();
    this.#makeRoom();
    if (fromTop) this.scroll.scrollTop = 0;
    else if (down) this.scroll.scrollTop += down * this.#height;
    this.draw();
  }

  /** Places on the screen, from one to another (exclusive). */
  get seen() {
    const from = Math.max(0, Math.floor(this.scroll.scrollTop / this.#height));
    return { from, to: Math.min(this.#count, Math.ceil((this.scroll.scrollTop + this.scroll.clientHeight) / this.#height)) };
  }

  #makeRoom() {
    this.space.style.height = `${this.#head + this.#count * this.#height}px`;
  }

  /** Rows anew that are in the page already. @param {number} from @param {number} count @param {number} total of all rows, which may be another */
  renew(from, count, total) {
    if (total !== this.#count) {
      this.#count = total;
      this.draw();
    }
    for (const [index, row] of this.#rows) {
      if (index < from || index >= from + count) continue;
      const held = row.contains(document.activeElement);
      const made = this.make.row(index);
      row.replaceWith(made);
      this.#rows.set(index, made);
      if (held) made.querySelector("a")?.focus({ preventScroll: true });
    }
  }

  draw() {
    this.#height = Number.parseFloat(getComputedStyle(this.scroll).getPropertyValue("--row")) || 48;
    const [top, seen] = [this.scroll.scrollTop, this.scroll.clientHeight];
    const from = Math.max(0, Math.min(this.#count, Math.floor(top / this.#height) - BEYOND));
    const to = Math.min(this.#count, Math.ceil((top + seen) / this.#height) + BEYOND);
    for (const [index, row] of this.#rows) {
      if (index >= from && index < to) continue;
      row.remove();
      this.#rows.delete(index);
    }
    /** @type {Node | null} */
    let next = null;
    for (let index = to - 1; index >= from; index--) {
      let row = this.#rows.get(index);
      if (!row) {
        row = this.make.row(index);
        this.#rows.set(index, row);
        this.body.insertBefore(row, next);
      }
      next = row;
    }
    this.table.style.marginTop = `${from * this.#height}px`;
    this.#makeRoom();
    this.make.looked(from, to);
  }

  /** Scrolls as far as it takes to see a row, and draws it. @param {number} index */
  reveal(index) {
    const [top, height] = [index * this.#height, this.scroll.clientHeight - this.#head];
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    else if (top + this.#height > this.scroll.scrollTop + height) this.scroll.scrollTop = top + this.#height - height;
    this.draw();
  }

  /** Rows that fit on the screen. */
  get fit() {
    return Math.max(1, Math.floor((this.scroll.clientHeight - this.#head) / this.#height));
  }

  /** Height of the table's head, which stays in sight. */
  get #head() {
    return this.table.tHead?.offsetHeight ?? 0;
  }
}
