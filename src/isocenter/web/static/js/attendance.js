// @ts-check
// Whether somebody is there to look. What a page asks for by itself ends when nobody is: it would keep its session from
// ending, and a hidden tab would hold connections, of which a browser has six for a server.

/** Nobody is there after so long without a key or a pointer (ms). */
const AWAY = 300_000;
const SIGNS = /** @type {const} */ (["pointermove", "pointerdown", "keydown", "wheel"]);

export class Attendance {
  #wanted = false;
  #seen = 0;

  /** @param {() => void} turn `present` may be another by now. No timer tells of who goes away: whoever asks for something, looks first */
  constructor(turn) {
    this.turn = turn;
  }

  begin() {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#seen = performance.now();
    document.addEventListener("visibilitychange", this.#shown);
    for (const sign of SIGNS) document.addEventListener(sign, this.#sign, { capture: true, passive: true });
    this.turn();
  }

  end() {
    this.#wanted = false;
    document.removeEventListener("visibilitychange", this.#shown);
    for (const sign of SIGNS) document.removeEventListener(sign, this.#sign, { capture: true });
    this.turn();
  }

  get present() {
    return this.#wanted && !document.hidden && performance.now() - this.#seen < AWAY;
  }

  #shown = () => {
    if (!document.hidden) this.#seen = performance.now(); // a tab is not brought to the front by itself
    this.turn();
  };

  #sign = () => {
    const back = !this.present;
    this.#seen = performance.now();
    if (back) this.turn();
  };
}

/** Looks again some time after each look, as long as somebody is there; at once when somebody comes back. */
export class Watch {
  #attendance = new Attendance(() => void (this.#due && this.#attendance.present && this.now()));
  #wanted = false;
  #timer = 0;
  /** It was time to look, and nobody was there. */
  #due = false;

  /** @param {() => Promise<void>} look what is wrong with it, it tells itself @param {number} pause (ms) */
  constructor(look, pause) {
    this.look = look;
    this.pause = pause;
  }

  /** Looks now, and from now on. */
  async now() {
    this.#wanted = true;
    this.#due = false;
    this.#attendance.begin();
    clearTimeout(this.#timer);
    await this.look();
    clearTimeout(this.#timer);
    if (this.#wanted) this.#timer = window.setTimeout(() => this.#next(), this.pause);
  }

  end() {
    this.#wanted = false;
    this.#attendance.end();
    clearTimeout(this.#timer);
  }

  #next() {
    if (this.#attendance.present) void this.now();
    else this.#due = true;
  }
}
