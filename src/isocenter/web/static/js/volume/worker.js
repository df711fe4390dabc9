// @ts-check
// The worker that holds one volume's voxels, so that cutting planes never keeps the page from answering.

import { VoxelVolume } from "./reslice.js";

/**
 * @typedef {{type: "open", shape: import("./reslice.js").VolumeShape}
 *   | {type: "slice", place: number, pixels: Uint16Array, how: {signed: boolean, scale: number, shift: number}}
 *   | {type: "drop", place: number}
 *   | {type: "cut", id: number, cut: import("./reslice.js").Cut}
 *   | {type: "texture", id: number, most: number}} Order
 * @typedef {{type: "loaded", loaded: number, low: number, high: number}
 *   | {type: "answer", id: number, result: any, ms: number}
 *   | {type: "failed", id: number | null, message: string}} News
 */

const scope = /** @type {{postMessage: (news: News, transfer?: Transferable[]) => void, onmessage: ((event: MessageEvent<Order>) => void) | null}} */ (/** @type {unknown} */ (globalThis));

/** @type {VoxelVolume | null} */
let volume = null;

/** @param {Order} order */
function perform(order) {
  if (order.type === "open") {
    volume = new VoxelVolume(order.shape);
    return;
  }
  if (!volume) throw new Error("There is no volume.");
  if (order.type === "slice") {
    volume.put(order.place, order.pixels, order.how);
    scope.postMessage({ type: "loaded", loaded: volume.loaded, low: volume.low, high: volume.high });
    return;
  }
  if (order.type === "drop") {
    volume.drop(order.place);
    return;
  }
  const started = performance.now();
  if (order.type === "cut") {
    const result = volume.cut(order.cut);
    scope.postMessage({ type: "answer", id: order.id, result, ms: performance.now() - started }, [result.values.buffer, result.mask.buffer]);
  } else {
    const result = volume.texture(order.most);
    scope.postMessage({ type: "answer", id: order.id, result, ms: performance.now() - started }, [result.halves.buffer, result.lows.buffer, result.highs.buffer]);
  }
}

scope.onmessage = ({ data }) => {
  try {
    perform(data);
  } catch (error) {
    const short = error instanceof RangeError ? "There is not enough memory for this volume." : error instanceof Error ? error.message : String(error);
    scope.postMessage({ type: "failed", id: "id" in data ? data.id : null, message: short });
  }
};
