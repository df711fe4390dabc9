// @ts-check
// multipart/related bodies (RFC 2387) as WADO-RS sends them (PS3.18 section 8.6.1), split without copying.

/** @typedef {{contentType: string, body: Uint8Array}} Part */

const CR = 13;
const LF = 10;

/** @param {string} contentType @returns {string | null} */
export function boundaryOf(contentType) {
  const m = /;\s*boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType);
  return m ? (m[1] ?? m[2] ?? null) : null;
}

/**
 * @param {Uint8Array} data @param {Uint8Array} needle @param {number} from
 * @returns {number} offset, or -1
 */
function find(data, needle, from) {
  const first = /** @type {number} */ (needle[0]);
  let at = data.indexOf(first, from);
  outer: while (at !== -1 && at + needle.length <= data.length) {
    for (let i = 1; i < needle.length; i += 1) {
      if (data[at + i] !== needle[i]) {
        at = data.indexOf(first, at + 1);
        continue outer;
      }
    }
    return at;
  }
  return -1;
}

/**
 * Parts are views on `data`. Content-Length of a part is used where it is right, so that pixel bytes that happen to
 * look like a delimiter do no harm, and large frames need no search.
 * @param {Uint8Array} data @param {string} boundary @returns {Part[]}
 */
export function parseMultipart(data, boundary) {
  const encoder = new TextEncoder();
  const decoder = new TextDecoder("latin1");
  const delimiter = encoder.encode(`--${boundary}`);
  const blank = encoder.encode("\r\n\r\n");
  const closing = encoder.encode(`\r\n--${boundary}`);
  /** @type {Part[]} */
  const parts = [];
  let at = find(data, delimiter, 0);
  while (at !== -1) {
    const headStart = at + delimiter.length;
    if (data[headStart] === 45 && data[headStart + 1] === 45) break;
    const headEnd = find(data, blank, headStart);
    if (headEnd === -1) break;
    const head = decoder.decode(data.subarray(headStart, headEnd));
    const bodyStart = headEnd + blank.length;
    const declared = Number(/^content-length:\s*(\d+)/im.exec(head)?.[1] ?? NaN);
    let bodyEnd = bodyStart + declared;
    if (!(bodyEnd <= data.length && data[bodyEnd] === CR && data[bodyEnd + 1] === LF)) {
      bodyEnd = find(data, closing, bodyStart);
      if (bodyEnd === -1) throw new Error("The server's multipart answer ends too early.");
    }
    parts.push({
      contentType: /^content-type:\s*([^\r\n]*)/im.exec(head)?.[1] ?? "",
      body: data.subarray(bodyStart, bodyEnd),
    });
    at = find(data, delimiter, bodyEnd);
  }
  return parts;
}
