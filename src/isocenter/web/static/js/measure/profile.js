// @ts-check
// The ICC profile of sRGB, which a Color Softcopy Presentation State must have (PS3.3 A.33.2). Made from its numbers
// (IEC 61966-2-1, adapted to D50 as ICC.1 wants it): some hundred bytes in place of a file.

/** X, Y, Z of white, red, green and blue. @type {Record<string, [number, number, number]>} */
const COLOURS = { wtpt: [0.9642, 1, 0.8249], rXYZ: [0.43607, 0.22249, 0.01392], gXYZ: [0.38515, 0.71687, 0.09708], bXYZ: [0.14307, 0.06061, 0.7141] };
/** Entries of the tone curve. */
const CURVE = 256;

/** @returns {Uint8Array} */
export function srgbProfile() {
  const ascii = (/** @type {string} */ words) => Uint8Array.from(words, (c) => c.charCodeAt(0));
  /** @param {string} type @param {number} size @param {(view: DataView) => void} write */
  const block = (type, size, write) => {
    const bytes = new Uint8Array(Math.ceil(size / 4) * 4);
    bytes.set(ascii(type));
    write(new DataView(bytes.buffer));
    return bytes;
  };
  const xyz = (/** @type {number[]} */ values) => block("XYZ ", 20, (view) => values.forEach((v, i) => view.setInt32(8 + 4 * i, Math.round(v * 65536))));
  const curve = block("curv", 12 + 2 * CURVE, (view) => {
    view.setUint32(8, CURVE);
    for (let i = 0; i < CURVE; i += 1) {
      const v = i / (CURVE - 1);
      view.setUint16(12 + 2 * i, Math.round(65535 * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)));
    }
  });
  const name = "sRGB";
  const description = block("desc", 12 + name.length + 1 + 78, (view) => {
    view.setUint32(8, name.length + 1);
    new Uint8Array(view.buffer).set(ascii(name), 12);
  });
  const rights = block("text", 8 + 14, (view) => new Uint8Array(view.buffer).set(ascii("Public domain"), 8));
  /** @type {[string, Uint8Array][]} */
  const tags = [["desc", description], ["cprt", rights], ...Object.entries(COLOURS).map(([tag, values]) => /** @type {[string, Uint8Array]} */ ([tag, xyz(values)])), ["rTRC", curve], ["gTRC", curve], ["bTRC", curve]];
  const head = 128 + 4 + 12 * tags.length;
  const data = [...new Set(tags.map(([, bytes]) => bytes))];
  const places = new Map();
  let size = head;
  for (const bytes of data) {
    places.set(bytes, size);
    size += bytes.length;
  }
  const profile = new Uint8Array(size);
  const view = new DataView(profile.buffer);
  view.setUint32(0, size);
  view.setUint32(8, 0x02100000); // version 2.1
  profile.set(ascii("mntrRGB XYZ "), 12);
  [2000, 1, 1, 0, 0, 0].forEach((v, i) => view.setUint16(24 + 2 * i, v));
  profile.set(ascii("acsp"), 36);
  /** @type {[number, number, number]} */ (COLOURS["wtpt"]).forEach((v, i) => view.setInt32(68 + 4 * i, Math.round(v * 65536)));
  view.setUint32(128, tags.length);
  tags.forEach(([tag, bytes], i) => {
    profile.set(ascii(tag), 132 + 12 * i);
    view.setUint32(136 + 12 * i, places.get(bytes));
    view.setUint32(140 + 12 * i, bytes.length);
  });
  for (const bytes of data) profile.set(bytes, places.get(bytes));
  return profile;
}
