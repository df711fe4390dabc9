// @ts-check
// The first image of a page, ahead of the viewer around it. The server has named the instance in the page, and its header
// and frame were asked for with it (web/pages.py): what shows them comes first, and everything else when they are shown.
// The viewer takes the viewport and the loader over as they are, so that nothing is fetched or painted twice.

import { Tag, text } from "./dataset.js";
import { h } from "./dom.js";
import { FrameLoader } from "./loader.js";
import { stacksOf } from "./stack.js";
import { Viewport } from "./viewport.js";

/** @typedef {{study: string, image: import("./image.js").Image, loader: FrameLoader, viewport: Viewport, element: HTMLElement}} First */

/**
 * Shows a frame in a viewer with nothing else in it, in `root`; null where it cannot, and then the viewer says why.
 * @param {import("./dicomweb.js").DicomWeb} client @param {HTMLElement} root
 * @param {{study: string, series: string, instance: string}} at @param {number} frame 1-based
 * @param {() => void} onframe the frame is here, and about to be painted
 * @returns {Promise<First | null>} when it is on the screen
 */
export async function showFirst(client, root, at, frame, onframe) {
  const loader = new FrameLoader(client);
  const viewport = new Viewport(loader);
  const element = h(
    "main.viewer-page",
    { "aria-busy": "true" },
    h("header.bar"),
    h("div.stage", null, h("nav.series-strip"), h("div.centre", null, h("div.grid", null, viewport.element), h("div.scrubber"))),
  );
  root.append(element);
  let image;
  try {
    const [stack] = stacksOf(await client.instanceMetadata(at));
    const entry = stack?.entries.find((one) => one.frame === frame);
    if (!stack || !entry || text(entry.image.ds, Tag.SOPInstanceUID) !== at.instance) throw new RangeError("no such frame");
    image = entry.image;
    await loader.get(entry);
    onframe();
    viewport.setStack(stack, stack.entries.indexOf(entry));
  } catch {
    element.remove();
    return null;
  }
  // Painting comes with the next animation frame; what follows it is to wait for that.
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0)));
  return { study: at.study, image, loader, viewport, element };
}
