// @ts-check
// The keyboard map of the planes, in the order the help page shows it, with what the mouse does.

import { windowChoices } from "../panels/windows.js";

/** @typedef {import("./page.js").VolumePage} VolumePage */
/** @typedef {import("../keyboard.js").Binding} Binding */

const DEGREE = Math.PI / 180;

/** @param {VolumePage} page @returns {Binding[]} */
export function volumeBindings(page) {
  const group = (/** @type {string} */ name, /** @type {[string[], string, (key: string) => void, string?][]} */ rows) =>
    rows.map(([keys, label, run, shown]) => ({ keys, label, group: name, run, ...(shown ? { shown } : {}) }));
  const step = (/** @type {number} */ by) => {
    const { room } = page;
    if (room?.active === "scene") room.scene.turn(0, 24 * Math.sign(by));
    else if (room) room.state.step(room.active, by);
  };
  const turn = (/** @type {number} */ degrees) => {
    const { room } = page;
    if (room?.active === "scene") room.scene.turn(24 * Math.sign(degrees), 0);
    else if (room) room.state.turnOthers(room.active, degrees * DEGREE);
  };
  const zoom = (/** @type {number} */ factor) => {
    const { room } = page;
    if (room?.active === "scene") room.scene.zoom(factor);
    else if (room) room.state.zoom(room.active, factor);
  };
  const preset = (/** @type {string} */ key) => {
    const choice = page.room && windowChoices(page.room.asViewport).find((c) => c.key === key);
    if (choice) page.room?.setWindow(choice.chosen);
  };
  const mouse = (/** @type {string} */ what, /** @type {string} */ label) => /** @type {[string[], string, () => void, string]} */ ([[], label, () => undefined, what]);
  return [
    ...group("Planes", [
      [["ArrowDown"], "On by one voxel", () => step(1)],
      [["ArrowUp"], "Back by one voxel", () => step(-1)],
      [["Shift+ArrowDown"], "Ten on", () => step(10)],
      [["Shift+ArrowUp"], "Ten back", () => step(-10)],
      [["ArrowRight"], "Turn the lines by a degree", () => turn(1)],
      [["ArrowLeft"], "Turn them back", () => turn(-1)],
      [["Shift+ArrowRight"], "By fifteen degrees", () => turn(15)],
      [["Shift+ArrowLeft"], "Fifteen back", () => turn(-15)],
      [["c"], "Lines on and off", () => page.room?.state.setCrossing(!page.room.state.crossing)],
      [["g"], "Along the slices as taken", () => page.room?.state.align()],
    ]),
    ...group("Slab", [
      [["m"], "Next kind: one plane, MIP, MinIP, mean", () => page.nextSlab()],
      [["]"], "Thicker", () => page.thicker(1)],
      [["["], "Thinner", () => page.thicker(-1)],
    ]),
    ...group("Greys", [
      [["0"], "Window of the header", () => preset("0")],
      [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "Presets of the modality", preset, "1 – 9"],
      [["i"], "Invert", () => page.room?.setInverted(!page.room.greying.inverted)],
    ]),
    ...group("View", [
      [["Enter"], "This pane alone, or all", () => page.enlarge()],
      [["f"], "Fit", () => page.room?.state.fit()],
      [["+", "="], "Zoom in", () => zoom(1.25)],
      [["-"], "Zoom out", () => zoom(0.8)],
      [["v"], "Next preset of the rendering", () => page.room?.scene.nextPreset(1)],
      [["r"], "Reset", () => page.reset()],
    ]),
    ...group("Left button", [
      [["w"], "Window and level", () => page.tools.choose("window")],
      [["p"], "Pan", () => page.tools.choose("pan")],
      [["z"], "Zoom", () => page.tools.choose("zoom")],
      [["s"], "Step through", () => page.tools.choose("scroll")],
    ]),
    ...group("Page", [
      [["o"], "Text on the pictures", () => page.toggleText()],
      [["Escape"], "All panes, then back to the images", () => page.escape()],
      [["?"], "This map", () => page.actions.help()],
    ]),
    ...group("Mouse and touch", [
      mouse("Drag the crossing", "Move all planes"),
      mouse("Drag a line", "Move that plane"),
      mouse("Drag a ring", "Turn the lines; with Alt one only"),
      mouse("Double click", "Bring the crossing here"),
      mouse("Wheel", "Step through"),
      mouse("Ctrl + wheel, pinch, right drag", "Zoom"),
      mouse("Shift + drag, middle drag", "Pan"),
      mouse("Drag the volume", "Turn it"),
    ]),
  ];
}
