// @ts-check
// The viewer's keyboard map, in the order the help page shows it.

import { KINDS } from "./measure/shapes.js";
import { MEASURE_KEYS } from "./panels/measures.js";
import { windowChoices } from "./panels/windows.js";

/** @typedef {import("./viewer.js").ViewerPage} ViewerPage */
/** @typedef {import("./keyboard.js").Binding} Binding */

/** CSS pixels by which a key scrolls a document. */
const LINE = 60;

/** @param {ViewerPage} page @returns {Binding[]} */
export function viewerBindings(page) {
  const group = (/** @type {string} */ name, /** @type {[string[], string, (key: string) => void, string?][]} */ rows) =>
    rows.map(([keys, label, run, shown]) => ({ keys, label, group: name, run, ...(shown ? { shown } : {}) }));
  const scroll = (/** @type {number} */ by) => {
    page.cine.stop();
    if (page.active.hosted) page.active.hosted.scrollBy({ top: by * LINE });
    else page.active.show(page.active.index + by);
  };
  const to = (/** @type {number} */ index) => {
    page.cine.stop();
    page.active.show(index);
  };
  const preset = (/** @type {string} */ key) => {
    const choice = windowChoices(page.active).find((c) => c.key === key);
    if (choice) page.active.setWindow(choice.chosen);
  };
  return [
    ...group("Stack", [
      [["ArrowDown", "ArrowRight"], "Next image", () => scroll(1)],
      [["ArrowUp", "ArrowLeft"], "Previous image", () => scroll(-1)],
      [["Shift+ArrowDown"], "Ten on", () => scroll(10)],
      [["Shift+ArrowUp"], "Ten back", () => scroll(-10)],
      [["Home"], "First image", () => to(0)],
      [["End"], "Last image", () => to(page.active.length - 1)],
      [["PageDown"], "Next series or clip", () => void page.step(1)],
      [["PageUp"], "Previous series or clip", () => void page.step(-1)],
    ]),
    ...group("Cine", [
      [["Space"], "Play or pause", () => page.cine.toggle()],
      [["]"], "Faster", () => page.scrubber.faster(1)],
      [["["], "Slower", () => page.scrubber.faster(-1)],
      [["{"], "Play from here", () => page.cine.limit("first")],
      [["}"], "Play up to here", () => page.cine.limit("last")],
    ]),
    ...group("Greys", [
      [["0"], "Window of the header", () => preset("0")],
      [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "Presets of the modality", preset, "1 – 9"],
      [["i"], "Invert", () => page.active.setInverted(!page.active.inverted)],
    ]),
    ...group("View", [
      [["f"], "Fit to the window", () => page.active.fit()],
      [["a"], "Actual pixels", () => page.active.zoomTo(1)],
      [["Shift+A"], "True size", () => void page.trueSize()],
      [["+", "="], "Zoom in", () => page.active.zoomBy(1.25)],
      [["-"], "Zoom out", () => page.active.zoomBy(0.8)],
      [["t"], "Turn by a quarter", () => page.active.turn(1)],
      [["Shift+T"], "Turn back", () => page.active.turn(-1)],
      [["h"], "Mirror left and right", () => page.active.flip("x")],
      [["v"], "Mirror top and bottom", () => page.active.flip("y")],
      [["r"], "Reset", () => page.active.reset()],
    ]),
    ...group("Left button", [
      [["w"], "Window and level", () => page.tools.choose("window")],
      [["p"], "Pan", () => page.tools.choose("pan")],
      [["z"], "Zoom", () => page.tools.choose("zoom")],
      [["s"], "Scroll", () => page.tools.choose("scroll")],
      [["x"], "Magnifying glass", () => page.tools.choose("magnify")],
    ]),
    ...group("Measure", [
      ...Object.entries(MEASURE_KEYS).map(([kind, key]) => {
        const name = /** @type {import("./measure/shapes.js").ShapeKind} */ (kind);
        return /** @type {[string[], string, () => void]} */ ([[key], KINDS[name].label, () => page.tools.choose(name)]);
      }),
      [["u"], "Undo", () => page.book.undo()],
      [["Shift+U"], "Redo", () => page.book.redo()],
      [["Delete", "Backspace"], "Delete the selected", () => page.marks.remove()],
    ]),
    ...group("Cells", [
      [["l"], "More cells", () => page.layout.cycle(1)],
      [["Shift+L"], "Fewer cells", () => page.layout.cycle(-1)],
      [["Shift+ArrowRight"], "Next cell", () => page.layout.step(1)],
      [["Shift+ArrowLeft"], "Previous cell", () => page.layout.step(-1)],
      [["j"], "Scroll together", () => page.link({ together: !page.linking.together })],
      [["y"], "Reference lines", () => page.link({ lines: !page.linking.lines })],
    ]),
    ...group("Panels", [
      [["c"], "Planes and volume", () => void page.planes.open()],
      [["d"], "Header", () => void page.toggleHeader()],
      [["o"], "Text on the picture", () => page.toggleText()],
      [["Shift+O"], "Segmentations and presentation states", () => void page.layers.toggle()],
      [["Escape"], "Close, back to the study list", () => page.escape()],
      [["?"], "This map", () => page.actions.help()],
    ]),
  ];
}
