// @ts-check
// Files in a ZIP file on somebody's disk, found by its central directory and opened one at a time: nothing of it is in
// memory but the list, and the file that is being read (APPNOTE.TXT of PKWARE, sections 4.3 and 4.5.3).

const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const WHOLE = 0xffffffff;
const STORED = 0;
const DEFLATED = 8;
/** The end of the file in which its end record is looked for: that has a comment of up to 64 kB. */
const TAIL = 22 + 0xffff;
/** Of the directory; more is no exchange of images. */
const MOST_DIRECTORY = 256 * 1024 * 1024;

/** @typedef {{name: string, size: number, open: () => Promise<Blob>}} Source something to upload; `size` in bytes */

/** Words are what the upload says of it. */
export class NotAZip extends Error {}

/** @param {Blob} file @param {number} from @param {number} to */
async function view(file, from, to) {
  return new DataView(await file.slice(from, to).arrayBuffer());
}

/** @param {File} file @returns {Promise<boolean>} whether it begins as a ZIP file does */
export async function isZip(file) {
  if (file.size < 22) return false;
  const begin = (await view(file, 0, 4)).getUint32(0, true);
  return begin === LOCAL || begin === END;
}

/** Where the directory is, and how long. @param {File} file */
async function directory(file) {
  const from = Math.max(0, file.size - TAIL);
  const tail = await view(file, from, file.size);
  let at = tail.byteLength - 22;
  while (at >= 0 && tail.getUint32(at, true) !== END) at -= 1;
  if (at < 0) throw new NotAZip("the ZIP file is cut off");
  let [size, offset] = [tail.getUint32(at + 12, true), tail.getUint32(at + 16, true)];
  if (at >= 20 && tail.getUint32(at - 20, true) === LOCATOR_64) {
    const begin = Number(tail.getBigUint64(at - 12, true));
    const end = await view(file, begin, begin + 56);
    if (end.byteLength < 56 || end.getUint32(0, true) !== END_64) throw new NotAZip("the ZIP file is damaged");
    [size, offset] = [Number(end.getBigUint64(40, true)), Number(end.getBigUint64(48, true))];
  }
  if (offset + size > file.size || size > MOST_DIRECTORY) throw new NotAZip("the ZIP file is damaged");
  return view(file, offset, offset + size);
}

/** Sizes and place over 4 GB stand in an extra field. @param {DataView} list @param {number} at @param {number} end @param {number[]} values */
function widened(list, at, end, values) {
  while (at + 4 <= end) {
    const [id, length] = [list.getUint16(at, true), list.getUint16(at + 2, true)];
    let value = at + 4;
    if (id === 1) return values.map((one) => (one === WHOLE && value + 8 <= end ? Number(list.getBigUint64((value += 8) - 8, true)) : one));
    at += 4 + length;
  }
  return values;
}

/** The files in a ZIP file. Raises NotAZip. @param {File} file @returns {Promise<Source[]>} */
export async function zipSources(file) {
  const list = await directory(file);
  /** @type {Source[]} */
  const found = [];
  let at = 0;
  while (at + 46 <= list.byteLength && list.getUint32(at, true) === ENTRY) {
    const [flags, method] = [list.getUint16(at + 8, true), list.getUint16(at + 10, true)];
    const [named, extra, comment] = [list.getUint16(at + 28, true), list.getUint16(at + 30, true), list.getUint16(at + 32, true)];
    const end = at + 46 + named + extra;
    if (end > list.byteLength) throw new NotAZip("the ZIP file is damaged");
    const name = new TextDecoder().decode(new Uint8Array(list.buffer, list.byteOffset + at + 46, named));
    const [size = 0, packed = 0, place = 0] = widened(list, at + 46 + named, end, [list.getUint32(at + 24, true), list.getUint32(at + 20, true), list.getUint32(at + 42, true)]);
    if (!name.endsWith("/")) found.push({ name, size, open: () => opened(file, { flags, method, size, packed, place }) });
    at = end + comment;
  }
  return found;
}

/** @param {File} file @param {{flags: number, method: number, size: number, packed: number, place: number}} entry @returns {Promise<Blob>} */
async function opened(file, { flags, method, size, packed, place }) {
  if (flags & 1) throw new NotAZip("encrypted in its ZIP file");
  const head = await view(file, place, place + 30);
  if (head.byteLength < 30 || head.getUint32(0, true) !== LOCAL) throw new NotAZip("the ZIP file is damaged");
  const begin = place + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const body = file.slice(begin, begin + packed);
  if (method === STORED) return body;
  if (method !== DEFLATED) throw new NotAZip("compressed in its ZIP file in a way that browsers do not know");
  /** @type {BlobPart[]} */
  const parts = [];
  let length = 0;
  const reader = body.stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      length += piece.value.byteLength;
      if (length > size) break; // more than it says: nobody knows how much more
      parts.push(piece.value);
    }
  } catch {
    throw new NotAZip("the ZIP file is damaged");
  }
  if (length !== size) throw new NotAZip("the ZIP file is damaged");
  return new Blob(parts);
}
