// @ts-check
// What a study has to lay over its images: segmentations and presentation states, fetched when they are first asked for.

import { Tag, text } from "../dataset.js";
import { SEGMENTATIONS, Segmentation } from "./segmentation.js";
import { isOf, presented, statesOf } from "./states.js";

/** @typedef {import("../dataset.js").DataSet} DataSet */
/** @typedef {import("../stack.js").Stack} Stack */

/** Series of each kind that are looked at. */
const MOST_SERIES = 20;

export class Layers extends EventTarget {
  /** @type {Segmentation[]} */
  segmentations = [];
  /** @type {import("./states.js").State[]} */
  states = [];
  opacity = 1;
  /** Stacks as they are without a state. @type {WeakMap<Stack, Stack>} */
  #plain = new WeakMap();
  /** @type {WeakMap<Stack, import("./states.js").State>} */
  #under = new WeakMap();

  /** @param {import("../dicomweb.js").DicomWeb} client @param {string} study @param {DataSet[]} series of the study */
  constructor(client, study, series) {
    super();
    const of = (/** @type {string} */ modality) => series.filter((ds) => text(ds, Tag.Modality) === modality).map((ds) => text(ds, Tag.SeriesInstanceUID)).slice(-MOST_SERIES);
    const load = async (/** @type {string} */ modality) => (await Promise.all(of(modality).map((uid) => client.seriesMetadata(study, uid)))).flat();
    this.loaded = Promise.all([load("SEG"), load("PR")]).then(([segmentations, states]) => {
      this.segmentations = segmentations.filter((ds) => SEGMENTATIONS.has(text(ds, Tag.SOPClassUID))).map((ds) => new Segmentation(ds, client));
      this.states = statesOf(states);
    });
  }

  /** @returns {Segmentation[]} those that are to be seen */
  get visible() {
    return this.segmentations.filter(({ shown }) => shown);
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  /** @param {Stack} stack @returns {Stack} without a state */
  plain(stack) {
    return this.#plain.get(stack) ?? stack;
  }

  /** The state that a stack is shown under. @param {Stack} stack */
  stateOf(stack) {
    return this.#under.get(stack) ?? null;
  }

  /** States for images of a stack. @param {Stack} stack */
  statesFor(stack) {
    const { images } = this.plain(stack);
    return this.states.filter((state) => images.some((image) => image.frames > 0 && isOf(state, image)));
  }

  /** @param {Stack} stack @param {import("./states.js").State | null} state @returns {Stack} */
  under(stack, state) {
    const plain = this.plain(stack);
    if (!state) return plain;
    const made = presented(plain, state);
    this.#plain.set(made, plain);
    this.#under.set(made, state);
    return made;
  }
}
