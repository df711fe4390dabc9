// @ts-check
// Files in a ZIP file on somebody's disk, found by its central directory and opened one at a time: nothing of it is in
// memory but the list, and the file that is being read (APPNOTE.TXT of PKWARE, sections 4.3 and 4.5.3). Lengths and
// CRC-32 are those of the directory, so that a data descriptor behind an entry need not be found; they are compared with
// the bytes of each entry before it is sent, as nobody after us could tell that an image was damaged in its ZIP file.

const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const SIGNATURE = 0x05054b50;
const WHOLE = 0xffffffff;
const STORED = 0;
const DEFLATED = 8;
/** The end of the file in which its end record is looked for: that has a comment of up to 64 kB, and a locator before it. */
const TAIL = 20 + 22 + 0xffff;
/** Of the directory; more is no exchange of images. */
const MOST_DIRECTORY = 256 * 1024 * 1024;

/** @typedef {{name: string, size: number, open: () => Promise<Blob>}} Source something to upload; `size` in bytes */

/** @typedef {{flags: number, method: number, crc: number, size: number, packed: number, place: number}} Entry of the directory */

/** Words are what the upload says of it. */
export class NotAZip extends Error {}

const damaged = () => new NotAZip("the ZIP file is damaged");

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
  // A comment that happens to hold the signature does not end where the file does.
  while (at >= 0 && !(tail.getUint32(at, true) === END && at + 22 + tail.getUint16(at + 20, true) === tail.byteLength)) at -= 1;
  if (at < 0) throw new NotAZip("the ZIP file is cut off");
  let disk = tail.getUint16(at + 4, true);
  let [size, offset] = [tail.getUint32(at + 12, true), tail.getUint32(at + 16, true)];
  if (at >= 20 && tail.getUint32(at - 20, true) === LOCATOR_64) {
    const begin = Number(tail.getBigUint64(at - 12, true));
    const end = await view(file, begin, begin + 56);
    if (end.byteLength < 56 || end.getUint32(0, true) !== END_64) throw damaged();
    disk = end.getUint32(16, true);
    [size, offset] = [Number(end.getBigUint64(40, true)), Number(end.getBigUint64(48, true))];
  }
  if (disk !== 0) throw new NotAZip("one part of a ZIP file in several parts");
  if (offset + size > file.size || size > MOST_DIRECTORY) throw damaged();
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
    if (end > list.byteLength) throw damaged();
    const name = new TextDecoder().decode(new Uint8Array(list.buffer, list.byteOffset + at + 46, named));
    const [size = 0, packed = 0, place = 0] = widened(list, at + 46 + named, end, [list.getUint32(at + 24, true), list.getUint32(at + 20, true), list.getUint32(at + 42, true)]);
    const crc = list.getUint32(at + 16, true);
    if (!name.endsWith("/")) found.push({ name, size, open: () => opened(file, { flags, method, crc, size, packed, place }) });
    at = end + comment;
  }
  // Ended early, it would leave files out without a word.
  if (at !== list.byteLength && !(at + 4 <= list.byteLength && list.getUint32(at, true) === SIGNATURE)) throw damaged();
  return found;
}

/** The bytes of an entry. Raises NotAZip. @param {File} file @param {Entry} entry @returns {Promise<Blob>} */
async function opened(file, { flags, method, crc, size, packed, place }) {
  if (flags & 1) throw new NotAZip("encrypted in its ZIP file");
  const head = await view(file, place, place + 30);
  if (head.byteLength < 30 || head.getUint32(0, true) !== LOCAL) throw damaged();
  const begin = place + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const body = file.slice(begin, begin + packed);
  if (method !== STORED && method !== DEFLATED) throw new NotAZip("compressed in its ZIP file in a way that browsers do not know");
  /** @type {BlobPart[]} */
  const parts = [];
  const take = (/** @type {Uint8Array<ArrayBuffer>} */ piece) => void parts.push(piece);
  if (method === STORED) await compared(body.stream(), size, crc, () => {}); // which stays on the disk
  else await compared(body.stream().pipeThrough(new DecompressionStream("deflate-raw")), size, crc, take);
  return method === STORED ? body : new Blob(parts);
}

/** Gives the pieces of `stream` to `take`. Raises NotAZip if they are not `size` bytes with this CRC-32.
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} stream @param {number} size @param {number} crc @param {(piece: Uint8Array<ArrayBuffer>) => void} take */
async function compared(stream, size, crc, take) {
  let [length, sum] = [0, -1];
  const reader = stream.getReader();
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      length += piece.value.byteLength;
      if (length > size) break; // more than it says: nobody knows how much more
      sum = summed(sum, piece.value);
      take(piece.value);
    }
  } catch (error) {
    throw error instanceof TypeError ? damaged() : error; // of the decompression, or of the disk
  }
  if (length > size) void reader.cancel().catch(() => {}); // it is refused either way
  if (length !== size || ~sum >>> 0 !== crc) throw damaged();
}

/** Of the polynomial of ISO 3309, bits reversed (4.4.7). */
const REMAINDERS = Int32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit += 1) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

/** @param {number} sum CRC-32 so far, inverted @param {Uint8Array} bytes @returns {number} */
function summed(sum, bytes) {
  for (let at = 0; at < bytes.length; at += 1) sum = /** @type {number} */ (REMAINDERS[(sum ^ /** @type {number} */ (bytes[at])) & 255]) ^ (sum >>> 8);
  return sum;
}
