// @ts-check
// DICOM JSON (PS3.18 Annex F) read without surprises: every accessor copes with a missing attribute, an empty Value
// and values that a careless sender made strings where numbers are due.

/** @typedef {{vr: string, Value?: any[], BulkDataURI?: string, InlineBinary?: string}} Attribute */
/** @typedef {Record<string, Attribute>} DataSet */
/** @typedef {{alphabetic: string, ideographic: string, phonetic: string}} PersonName */

/** Modalities without pictures of their own. */
export const NO_PICTURE = new Set(["SR", "PR", "KO", "RTSTRUCT", "RTPLAN", "REG", "DOC", "ECG", "HD", "PLAN", "RWV", "FID", "M3D"]);

/** The attributes the viewer reads, by keyword (PS3.6). */
export const Tag = Object.freeze({
  SpecificCharacterSet: "00080005",
  SOPClassUID: "00080016",
  SOPInstanceUID: "00080018",
  StudyDate: "00080020",
  SeriesDate: "00080021",
  AcquisitionDate: "00080022",
  ContentDate: "00080023",
  StudyTime: "00080030",
  SeriesTime: "00080031",
  AcquisitionTime: "00080032",
  ContentTime: "00080033",
  AccessionNumber: "00080050",
  Modality: "00080060",
  ModalitiesInStudy: "00080061",
  InstitutionName: "00080080",
  StudyDescription: "00081030",
  SeriesDescription: "0008103E",
  RecommendedDisplayFrameRate: "00082144",
  PixelPresentation: "00089205",
  PatientName: "00100010",
  PatientID: "00100020",
  PatientBirthDate: "00100030",
  PatientSex: "00100040",
  PatientAge: "00101010",
  PatientWeight: "00101030",
  BodyPartExamined: "00180015",
  CineRate: "00180040",
  SliceThickness: "00180050",
  KVP: "00180060",
  EchoTime: "00180081",
  RepetitionTime: "00180080",
  FrameTime: "00181063",
  RadiopharmaceuticalStartTime: "00181072",
  RadionuclideTotalDose: "00181074",
  RadionuclideHalfLife: "00181075",
  RadiopharmaceuticalStartDateTime: "00181078",
  FrameTimeVector: "00181065",
  EstimatedRadiographicMagnificationFactor: "00181114",
  ImagerPixelSpacing: "00181164",
  ActualFrameDuration: "00181242",
  ShutterShape: "00181600",
  NominalScannedPixelSpacing: "00182010",
  ShutterLeftVerticalEdge: "00181602",
  ShutterRightVerticalEdge: "00181604",
  ShutterUpperHorizontalEdge: "00181606",
  ShutterLowerHorizontalEdge: "00181608",
  CenterOfCircularShutter: "00181610",
  RadiusOfCircularShutter: "00181612",
  VerticesOfThePolygonalShutter: "00181620",
  ShutterPresentationValue: "00181622",
  ShutterPresentationColor: "00181624",
  FrameDisplayShutterSequence: "00189472",
  RegionLocationMinX0: "00186018",
  RegionLocationMinY0: "0018601A",
  RegionLocationMaxX1: "0018601C",
  RegionLocationMaxY1: "0018601E",
  PhysicalUnitsXDirection: "00186024",
  PhysicalUnitsYDirection: "00186026",
  PhysicalDeltaX: "0018602C",
  PhysicalDeltaY: "0018602E",
  SequenceOfUltrasoundRegions: "00186011",
  StudyInstanceUID: "0020000D",
  SeriesInstanceUID: "0020000E",
  SeriesNumber: "00200011",
  InstanceNumber: "00200013",
  PatientOrientation: "00200020",
  ImagePositionPatient: "00200032",
  ImageOrientationPatient: "00200037",
  FrameOfReferenceUID: "00200052",
  Laterality: "00200060",
  ImageLaterality: "00200062",
  SliceLocation: "00201041",
  NumberOfStudyRelatedSeries: "00201206",
  NumberOfStudyRelatedInstances: "00201208",
  NumberOfSeriesRelatedInstances: "00201209",
  PlanePositionSequence: "00209113",
  PlaneOrientationSequence: "00209116",
  SamplesPerPixel: "00280002",
  PhotometricInterpretation: "00280004",
  PlanarConfiguration: "00280006",
  NumberOfFrames: "00280008",
  Rows: "00280010",
  Columns: "00280011",
  PixelSpacing: "00280030",
  PixelAspectRatio: "00280034",
  CorrectedImage: "00280051",
  PixelSpacingCalibrationType: "00280A02",
  BitsAllocated: "00280100",
  BitsStored: "00280101",
  HighBit: "00280102",
  PixelRepresentation: "00280103",
  PixelPaddingValue: "00280120",
  PixelPaddingRangeLimit: "00280121",
  WindowCenter: "00281050",
  WindowWidth: "00281051",
  RescaleIntercept: "00281052",
  RescaleSlope: "00281053",
  RescaleType: "00281054",
  WindowExplanation: "00281055",
  VOILUTFunction: "00281056",
  RedDescriptor: "00281101",
  GreenDescriptor: "00281102",
  BlueDescriptor: "00281103",
  RedData: "00281201",
  GreenData: "00281202",
  BlueData: "00281203",
  ICCProfile: "00282000",
  ModalityLUTSequence: "00283000",
  LUTDescriptor: "00283002",
  LUTExplanation: "00283003",
  LUTData: "00283006",
  VOILUTSequence: "00283010",
  PixelMeasuresSequence: "00289110",
  FrameVOILUTSequence: "00289132",
  PixelValueTransformationSequence: "00289145",
  MeasurementUnits: "004008EA",
  RealWorldValueMappingSequence: "00409096",
  RealWorldValueLast: "00409211",
  DoubleRealWorldValueLast: "00409213",
  DoubleRealWorldValueFirst: "00409214",
  RealWorldValueFirst: "00409216",
  RealWorldValueIntercept: "00409224",
  RealWorldValueSlope: "00409225",
  DocumentTitle: "00420010",
  OpticalPathSequence: "00480105",
  RadiopharmaceuticalInformationSequence: "00540016",
  Units: "00541001",
  SUVType: "00541006",
  DecayCorrection: "00541102",
  FrameReferenceTime: "00541300",
  ImageRotation: "00700042",
  DisplayedAreaTopLeftHandCorner: "00700052",
  DisplayedAreaBottomRightHandCorner: "00700053",
  DisplayedAreaSelectionSequence: "0070005A",
  PresentationPixelSpacing: "00700101",
  PresentationPixelAspectRatio: "00700102",
  SharedFunctionalGroups: "52009229",
  PerFrameFunctionalGroups: "52009230",
  PresentationLUTSequence: "20500010",
  PresentationLUTShape: "20500020",
  FloatPixelData: "7FE00008",
  DoublePixelData: "7FE00009",
  PixelData: "7FE00010",
});

/**
 * First value as text; "" when there is none.
 * @param {DataSet | undefined} ds @param {string} tag @returns {string}
 */
export function text(ds, tag) {
  const value = ds?.[tag]?.Value?.[0];
  if (value === undefined || value === null) return "";
  if (typeof value === "object") return nameOf(value).alphabetic || nameOf(value).ideographic;
  return String(value).trim();
}

/**
 * All values as text.
 * @param {DataSet | undefined} ds @param {string} tag @returns {string[]}
 */
export function texts(ds, tag) {
  const values = ds?.[tag]?.Value ?? [];
  // A sender's backslashes inside one JSON string are still several values.
  return values.flatMap((v) => (v === null ? [""] : typeof v === "string" ? v.split("\\") : [String(v)])).map((v) => v.trim());
}

/**
 * First value as a number, if it is one.
 * @param {DataSet | undefined} ds @param {string} tag @returns {number | undefined}
 */
export function number(ds, tag) {
  return numbers(ds, tag)[0];
}

/**
 * All values as numbers; [] when any of them is not a number.
 * @param {DataSet | undefined} ds @param {string} tag @returns {number[]}
 */
export function numbers(ds, tag) {
  const result = texts(ds, tag).map((v) => (v === "" ? NaN : Number(v)));
  return result.every(Number.isFinite) ? result : [];
}

/**
 * Items of a sequence.
 * @param {DataSet | undefined} ds @param {string} tag @returns {DataSet[]}
 */
export function items(ds, tag) {
  return (ds?.[tag]?.Value ?? []).filter((item) => item !== null && typeof item === "object");
}

/** @param {any} value @returns {PersonName} */
export function nameOf(value) {
  if (typeof value === "string") {
    const [alphabetic = "", ideographic = "", phonetic = ""] = value.split("=");
    return { alphabetic, ideographic, phonetic };
  }
  return {
    alphabetic: String(value?.Alphabetic ?? ""),
    ideographic: String(value?.Ideographic ?? ""),
    phonetic: String(value?.Phonetic ?? ""),
  };
}

/** @param {DataSet | undefined} ds @param {string} tag @returns {PersonName} */
export function personName(ds, tag) {
  return nameOf(ds?.[tag]?.Value?.[0] ?? "");
}
