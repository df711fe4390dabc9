// @ts-check
// What a frame needs to be shown, taken from an instance's metadata: pixel format, transforms, geometry, timing.
// Enhanced multi-frame objects keep these in functional groups (PS3.3 C.7.6.16); a frame's group wins over the shared one.

import { Tag, items, number, numbers, text, texts } from "./dataset.js";
import { needsServer } from "./planes.js";

/** @typedef {import("./dataset.js").DataSet} DataSet */
/** @typedef {import("./dataset.js").Attribute} Attribute */

/** @typedef {"LINEAR" | "LINEAR_EXACT" | "SIGMOID"} VoiFunction */
/** @typedef {{center: number, width: number, function: VoiFunction, label: string}} Window */
/** A LUT as it stands in the data set; `data` may have to be fetched. @typedef {{descriptor: number[], data: Attribute, label: string}} LutSource */
/** @typedef {{slope: number, intercept: number, lut: LutSource | null, unit: string}} ModalityTransform */
/**
 * How a frame's stored values reach the screen.
 * @typedef {object} FrameValues
 * @property {ModalityTransform} modality
 * @property {Window[]} windows in the header's order
 * @property {LutSource[]} luts VOI LUTs
 */
/**
 * @typedef {object} FramePlane
 * @property {number[]} position Image Position (Patient), mm; [] when unknown
 * @property {number[]} orientation six direction cosines; [] when unknown
 * @property {[number, number] | null} spacing row spacing, column spacing in mm
 * @property {string} spacingNote caveat to show beside lengths; "" when the spacing is in the patient
 */
/** How the pixels come: what the viewer greys itself, and what the server must render. @typedef {"grey" | "rgb" | "palette" | "rendered" | "none"} PixelKind */

/** Bits Allocated the viewer unpacks itself. */
const OWN_BITS = new Set([8, 16]);
/** Colour that arrives as red, green, blue: JPEG 2000 undoes its transforms itself. */
const RGB = new Set(["RGB", "YBR_RCT", "YBR_ICT"]);

/** @param {DataSet} ds whether it is a softcopy presentation state that the server applies */
export const isState = (ds) => STATES.has(text(ds, Tag.SOPClassUID));

/** @param {DataSet} ds of a presentation state @returns {boolean} whether it makes colours */
export const isColourState = (ds) => COLOUR_STATES.has(text(ds, Tag.SOPClassUID));

/** Softcopy presentation states that the server applies: grayscale, color, pseudo-color, blending, XA/XRF, advanced
 * blending, and variable Modality LUT (PS3.4 B.5). */
const STATES = new Set([1, 2, 3, 4, 5, 8, 12].map((n) => `1.2.840.10008.5.1.4.1.1.11.${n}`));
/** Those of them that show colours. */
const COLOUR_STATES = new Set([2, 3, 4, 8].map((n) => `1.2.840.10008.5.1.4.1.1.11.${n}`));
/** Modalities of shadows, whose size at the detector is not that in the patient. */
const PROJECTIONS = new Set(["CR", "DX", "MG", "RG", "RF", "XA", "IO", "PX"]);
/** Angiography and radiofluoroscopy, whose Modality LUT is not for display (PS3.3 C.8.7.1.1.2). */
const PROJECTION_XRAY = new Set([1, 2, 3].map((n) => `1.2.840.10008.5.1.4.1.1.12.${n}`));

/** Video Endoscopic, Microscopic and Photographic Image Storage. */
const VIDEOS = new Set(["1.1.1", "1.2.1", "1.4.1"].map((end) => `1.2.840.10008.5.1.4.1.1.77.${end}`));

export class Image {
  /** The presentation state under which it is shown, if it is not shown as it was stored. @type {{series: string, instance: string, label: string, coloured: boolean} | null} */
  state = null;

  /** @param {DataSet} ds metadata of one instance */
  constructor(ds) {
    this.ds = ds;
    this.path = {
      study: text(ds, Tag.StudyInstanceUID),
      series: text(ds, Tag.SeriesInstanceUID),
      instance: text(ds, Tag.SOPInstanceUID),
    };
    const area = isState(ds) ? displayedArea(ds) : null;
    this.rows = area ? area[0] : (number(ds, Tag.Rows) ?? 0);
    this.columns = area ? area[1] : (number(ds, Tag.Columns) ?? 0);
    this.samples = number(ds, Tag.SamplesPerPixel) ?? 1;
    this.bitsAllocated = number(ds, Tag.BitsAllocated) ?? 0;
    this.bitsStored = number(ds, Tag.BitsStored) ?? this.bitsAllocated;
    this.highBit = number(ds, Tag.HighBit) ?? this.bitsStored - 1;
    this.signed = number(ds, Tag.PixelRepresentation) === 1;
    this.photometric = text(ds, Tag.PhotometricInterpretation);
    this.planar = number(ds, Tag.PlanarConfiguration) ?? 0;
    this.modality = text(ds, Tag.Modality);
    this.kind = kindOf(this);
    this.frames = this.kind === "none" ? 0 : Math.max(1, Math.trunc(number(ds, Tag.NumberOfFrames) ?? 1));
    this.number = number(ds, Tag.InstanceNumber) ?? 0;
  }

  /**
   * What a frame's media type says of its samples, where the header would have them misread: a codestream's depth and
   * sign are its own (PS3.5 section 8.2.4).
   * @param {string} contentType @returns {boolean} whether the image is read otherwise from now on
   */
  readAs(contentType) {
    const said = (/** @type {string} */ name, /** @type {number} */ known) => Number(new RegExp(`;\\s*${name}=(\\d+)`, "i").exec(contentType)?.[1] ?? known);
    const signed = said("pixel-representation", Number(this.signed)) === 1;
    const [allocated, stored, high] = [said("bits-allocated", this.bitsAllocated), said("bits-stored", this.bitsStored), said("high-bit", this.highBit)];
    if (signed === this.signed && allocated === this.bitsAllocated && stored === this.bitsStored && high === this.highBit) return false;
    [this.signed, this.bitsAllocated, this.bitsStored, this.highBit] = [signed, allocated, stored, high];
    this.kind = kindOf(this);
    return true;
  }

  /** Whether low values are bright: MONOCHROME1, or a Presentation LUT Shape that says so (PS3.3 C.7.6.3.1.2, C.11.6). */
  get inverse() {
    return this.photometric === "MONOCHROME1" || text(this.ds, Tag.PresentationLUTShape) === "INVERSE";
  }

  /** Whether a picture the server makes of it is greys, but for inks: P-Values, which a display's table is for. */
  get rendersGreys() {
    if (this.state) return !this.state.coloured;
    return isState(this.ds) ? !isColourState(this.ds) : this.photometric.startsWith("MONOCHROME");
  }

  /** @param {number} frame 1-based @param {string} tag macro's sequence @returns {DataSet | undefined} the macro's item */
  #group(frame, tag) {
    const own = items(this.ds, Tag.PerFrameFunctionalGroups)[frame - 1];
    const shared = items(this.ds, Tag.SharedFunctionalGroups)[0];
    return items(own, tag)[0] ?? items(shared, tag)[0];
  }

  /** @param {number} frame 1-based @returns {FrameValues} */
  values(frame) {
    const displayed = !PROJECTION_XRAY.has(text(this.ds, Tag.SOPClassUID));
    const transform = displayed ? (this.#group(frame, Tag.PixelValueTransformationSequence) ?? this.ds) : {};
    const voi = this.#group(frame, Tag.FrameVOILUTSequence) ?? this.ds;
    const lut = items(transform, Tag.ModalityLUTSequence).map(lutSource).find((source) => source !== null) ?? null;
    return {
      modality: {
        slope: number(transform, Tag.RescaleSlope) || 1,
        intercept: number(transform, Tag.RescaleIntercept) ?? 0,
        lut,
        unit: unitOf(text(transform, Tag.RescaleType), this.modality),
      },
      windows: windowsOf(voi),
      luts: items(voi, Tag.VOILUTSequence).map(lutSource).filter((source) => source !== null),
    };
  }

  /** Real World Value Mappings of a frame, all items of the macro (PS3.3 C.7.6.16.2.11). @param {number} frame 1-based @returns {DataSet[]} */
  realWorld(frame) {
    const holders = [items(this.ds, Tag.PerFrameFunctionalGroups)[frame - 1], items(this.ds, Tag.SharedFunctionalGroups)[0], this.ds];
    return holders.map((holder) => items(holder, Tag.RealWorldValueMappingSequence)).find((found) => found.length > 0) ?? [];
  }

  /** @param {number} frame 1-based @returns {FramePlane} */
  plane(frame) {
    const position = numbers(this.#group(frame, Tag.PlanePositionSequence) ?? this.ds, Tag.ImagePositionPatient);
    const orientation = numbers(this.#group(frame, Tag.PlaneOrientationSequence) ?? this.ds, Tag.ImageOrientationPatient);
    const measures = this.#group(frame, Tag.PixelMeasuresSequence) ?? this.ds;
    const spacing = pair(numbers(measures, Tag.PixelSpacing));
    const imager = pair(numbers(this.ds, Tag.ImagerPixelSpacing));
    return {
      position: position.length === 3 ? position : [],
      orientation: orientation.length === 6 ? orientation : [],
      ...this.#length(spacing, imager),
    };
  }

  /**
   * Which distance between pixels lengths go by, and its caveat (PS3.3 10.7.1.3): the calibration is told by its type;
   * where both are there and the same, nobody has calibrated; where only that at the detector is, the estimated
   * magnification brings it into the patient. A projection that says neither may be either; of a scanned film it is the film's.
   * @param {[number, number] | null} spacing @param {[number, number] | null} imager
   * @returns {{spacing: [number, number] | null, spacingNote: string}}
   */
  #length(spacing, imager) {
    const type = { GEOMETRY: "calibrated by geometry", FIDUCIAL: "calibrated by an object" }[text(this.ds, Tag.PixelSpacingCalibrationType)];
    if (spacing && type) return { spacing, spacingNote: type };
    const film = pair(numbers(this.ds, Tag.NominalScannedPixelSpacing));
    if (!imager && !spacing) return { spacing: film, spacingNote: film ? "on the scanned film" : "" };
    if (!imager) return { spacing, spacingNote: PROJECTIONS.has(this.modality) ? "calibration not known" : "" };
    if (spacing) return { spacing, spacingNote: spacing[0] === imager[0] && spacing[1] === imager[1] ? "at detector" : "calibrated" };
    const factor = number(this.ds, Tag.EstimatedRadiographicMagnificationFactor);
    if (!factor || factor <= 0) return { spacing: imager, spacingNote: "at detector" };
    return { spacing: [imager[0] / factor, imager[1] / factor], spacingNote: "by estimated magnification" };
  }

  /** Whether its pixels are a video (PS3.5 section 8.2.5 and after), which the browser plays and nobody shows by frames. */
  get isVideo() {
    return VIDEOS.has(text(this.ds, Tag.SOPClassUID)) || this.photometric === "YBR_PARTIAL_420";
  }

  /** Height of a pixel over its width (PS3.3 C.7.6.3.1.7). @returns {number} */
  get aspect() {
    const spacing = this.plane(1).spacing;
    const ratio = spacing ?? pair(numbers(this.ds, Tag.PixelAspectRatio));
    return ratio ? ratio[0] / ratio[1] : 1;
  }

  /** Where the display shutter of a frame stands (PS3.3 C.7.6.11). @param {number} frame 1-based @returns {DataSet | null} */
  shutter(frame) {
    const ds = this.#group(frame, Tag.FrameDisplayShutterSequence) ?? this.ds;
    return text(ds, Tag.ShutterShape) ? ds : null;
  }

  /** Frames per second the header asks for; undefined when it is silent. @returns {number | undefined} */
  get frameRate() {
    const recommended = number(this.ds, Tag.RecommendedDisplayFrameRate);
    if (recommended) return recommended;
    const frameTime = number(this.ds, Tag.FrameTime);
    if (frameTime) return 1000 / frameTime;
    const vector = numbers(this.ds, Tag.FrameTimeVector).slice(1);
    const total = vector.reduce((sum, ms) => sum + ms, 0);
    if (total > 0) return (1000 * vector.length) / total;
    return number(this.ds, Tag.CineRate) || undefined;
  }

  /**
   * Labels of a segmentation are small numbers, and all would be black over the whole range of their bits: the largest in
   * the list of segments, or the largest fraction (PS3.3 C.8.20.2). 0 for other objects.
   */
  get largestSegment() {
    const kind = text(this.ds, "00620001");
    if (kind === "FRACTIONAL") return number(this.ds, "0062000E") ?? 0;
    if (kind !== "LABELMAP") return 0;
    return items(this.ds, "00620002").reduce((most, segment) => Math.max(most, number(segment, "00620004") ?? 0), 0);
  }

  /** The bits are those of a stored value, under whatever VR they came. @param {number} value */
  #asStored(value) {
    const span = 2 ** this.bitsStored;
    const word = ((value % span) + span) % span;
    return this.signed && word >= span / 2 ? word - span : word;
  }

  /** Stored values that mean "no image here" (PS3.3 C.7.5.1.1.2), inclusive. @returns {[number, number] | null} */
  get padding() {
    const value = number(this.ds, Tag.PixelPaddingValue);
    if (value === undefined) return null;
    const limit = number(this.ds, Tag.PixelPaddingRangeLimit) ?? value;
    const [a, b] = [this.#asStored(value), this.#asStored(limit)];
    return [Math.min(a, b), Math.max(a, b)];
  }
}

/** @param {Image} image @returns {PixelKind} */
function kindOf(image) {
  const { ds } = image;
  if (isState(ds)) return image.rows > 0 && image.columns > 0 ? "rendered" : "none";
  const has = ds[Tag.PixelData] || ds[Tag.FloatPixelData] || ds[Tag.DoublePixelData] || image.photometric;
  if (image.isVideo || !has || !(image.rows > 0 && image.columns > 0)) return "none";
  if (!OWN_BITS.has(image.bitsAllocated) || image.bitsStored > image.bitsAllocated) return "rendered";
  // Where the bits do not begin at the lowest, and where colours come plane by plane, the layout of decoded frames
  // differs from that of stored ones, and the client cannot see which it got.
  if (image.highBit !== image.bitsStored - 1 || (image.samples > 1 && image.planar !== 0)) return "rendered";
  // Overlays among the bits of pixels; greys of which some are colours; colours that need a profile applied.
  const coloured = ["COLOR", "MIXED"].includes(text(ds, Tag.PixelPresentation)) && ds[Tag.RedDescriptor];
  if (needsServer(ds) || (coloured && image.samples === 1)) return "rendered";
  // A Presentation LUT of entries (C.11.4) is for prints and states; an image that has one all the same is seldom.
  if (items(ds, Tag.PresentationLUTSequence).length > 0) return "rendered";
  if (!image.photometric.startsWith("MONOCHROME") && (ds[Tag.ICCProfile] || ds[Tag.OpticalPathSequence])) return "rendered";
  if (image.samples === 1 && image.photometric.startsWith("MONOCHROME")) return "grey";
  if (image.samples === 1 && image.photometric === "PALETTE COLOR" && ds[Tag.RedData]) return "palette";
  if (image.samples === 3 && RGB.has(image.photometric) && image.bitsStored === 8 && image.bitsAllocated === 8) return "rgb";
  return "rendered";
}

/**
 * Height and width of what a presentation state displays, in image pixels along a row (PS3.3 C.10.4, C.10.6); null where
 * it does not say. The server draws it, from an image the state refers to.
 * @param {DataSet} ds @param {string} [instance] the image; without one, the first area's @returns {[number, number] | null}
 */
export function displayedArea(ds, instance = "") {
  const areas = items(ds, Tag.DisplayedAreaSelectionSequence);
  const area = areas.find((one) => items(one, "00081140").some((image) => text(image, "00081155") === instance)) ?? areas[0];
  const [left, top] = numbers(area, Tag.DisplayedAreaTopLeftHandCorner);
  const [right, bottom] = numbers(area, Tag.DisplayedAreaBottomRightHandCorner);
  if (left === undefined || top === undefined || right === undefined || bottom === undefined) return null;
  const ratio = pair(numbers(area, Tag.PresentationPixelSpacing)) ?? pair(numbers(area, Tag.PresentationPixelAspectRatio)) ?? [1, 1];
  const [height, width] = [(Math.abs(bottom - top) + 1) * (ratio[0] / ratio[1]), Math.abs(right - left) + 1];
  return (number(ds, Tag.ImageRotation) ?? 0) % 180 === 0 ? [height, width] : [width, height];
}

/** @param {number[]} values @returns {[number, number] | null} */
function pair(values) {
  const [a, b] = values;
  return a !== undefined && b !== undefined && a > 0 && b > 0 ? [a, b] : null;
}

/** @param {string} type Rescale Type @param {string} modality */
function unitOf(type, modality) {
  if (type === "HU" || (!type && modality === "CT")) return "HU";
  return type === "US" ? "" : type;
}

/** @param {DataSet | undefined} voi @returns {Window[]} */
function windowsOf(voi) {
  const centers = numbers(voi, Tag.WindowCenter);
  const widths = numbers(voi, Tag.WindowWidth);
  const labels = texts(voi, Tag.WindowExplanation);
  const named = text(voi, Tag.VOILUTFunction);
  /** @type {VoiFunction} */
  const shape = named === "LINEAR_EXACT" || named === "SIGMOID" ? named : "LINEAR";
  return centers.flatMap((center, i) => {
    const width = widths[i];
    if (width === undefined || width <= 0 || (shape === "LINEAR" && width < 1)) return [];
    return [{ center, width, function: shape, label: labels[i] || (centers.length > 1 ? `Window ${i + 1}` : "") }];
  });
}

/** @param {DataSet} item @returns {LutSource | null} */
function lutSource(item) {
  const descriptor = numbers(item, Tag.LUTDescriptor);
  const data = item[Tag.LUTData];
  if (descriptor.length !== 3 || !data) return null;
  return { descriptor, data, label: text(item, Tag.LUTExplanation) };
}
