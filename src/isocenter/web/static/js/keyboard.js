// @ts-check
// Keys to actions. The help page is made from the same table, so it cannot be out of date.

/**
 * `keys` as in "w", "Shift+R", "ArrowUp", "Space", "?"; help shows the first two, or `shown` instead. `run` gets the key.
 * @typedef {{keys: string[], label: string, group: string, run: (key: string) => void, shown?: string}} Binding
 */

/** @param {KeyboardEvent} event @returns {string[]} names this key press answers to */
function namesOf(event) {
  const names = [event.key === " " ? "Space" : event.key];
  // With a Korean or Japanese input method on, `key` is not Latin; the position of the key is what the hand means.
  const letter = /^Key([A-Z])$/.exec(event.code)?.[1];
  if (letter && !/^[a-z]$/i.test(event.key)) names.push(event.shiftKey ? letter : letter.toLowerCase());
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1];
  if (digit && !event.shiftKey) names.push(digit);
  return names.map((name) => (event.shiftKey && /^([A-Z]|Arrow.*|Space)$/i.test(name) ? `Shift+${name.length === 1 ? name.toUpperCase() : name}` : name));
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input:not([type=range], [type=checkbox], [type=radio]), textarea, select"));
}

/** Whether a focused control has a use of its own for a key. @param {EventTarget | null} target @param {string} key */
function isItsOwn(target, key) {
  if (target instanceof HTMLButtonElement) return key === " " || key === "Enter";
  if (!(target instanceof HTMLInputElement)) return false;
  return (key === " " && target.type !== "range") || (target.type === "radio" && key.startsWith("Arrow"));
}

export class Keyboard {
  /** @type {Binding[]} */
  #bindings = [];

  /** @param {Document} doc */
  constructor(doc) {
    doc.addEventListener("keydown", (event) => this.press(event));
  }

  /** @param {Binding[]} bindings the shown page's */
  use(bindings) {
    this.#bindings = bindings;
  }

  get bindings() {
    return this.#bindings;
  }

  /** @param {KeyboardEvent} event as it comes, or kept from before there were bindings */
  press(event) {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    if (isTyping(event.target) && event.key !== "Escape") return;
    // A modal dialog has the keys to itself.
    if (document.querySelector("dialog[open]")) return;
    if (isItsOwn(event.target, event.key)) return;
    const names = namesOf(event);
    const binding = this.#bindings.find(({ keys }) => keys.some((key) => names.includes(key)));
    if (!binding) return;
    event.preventDefault();
    binding.run(/** @type {string} */ (binding.keys.find((key) => names.includes(key))));
  }
}

/** @type {Record<string, string>} */
const SIGNS = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", PageUp: "Page up", PageDown: "Page down", Escape: "Esc" };

/** @param {string} key @returns {string} as printed on the key */
export function keyLabel(key) {
  return key
    .split("+")
    .map((part) => SIGNS[part] ?? (part.length === 1 ? part.toUpperCase() : part))
    .join(" + ");
}
