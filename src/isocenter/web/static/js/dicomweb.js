// @ts-check
// The only module that talks to the server: QIDO-RS, WADO-RS and STOW-RS of PS3.18.

import { boundaryOf, parseMultipart } from "./multipart.js";
import { askToSignIn } from "./session.js";
import { t } from "./words.js";

/** @typedef {import("./dataset.js").DataSet} DataSet */
/** @typedef {{study: string, series: string, instance: string}} InstancePath */

const JSON_TYPE = "application/dicom+json";
/** Uncompressed frames, whatever syntax the object is stored in. In the address, as web/pages.py has it letter by letter. */
const RAW_FRAMES = "accept=application/octet-stream;transfer-syntax=1.2.840.10008.1.2.1";

/** A picture that the server makes; the same. */
const PICTURE = "accept=image/png";

/** What went wrong, in words for the screen. `status` is 0 when the server was not reached. */
export class RequestError extends Error {
  /** @param {number} status @param {string} message @param {string} [hint] */
  constructor(status, message, hint = "") {
    super(message);
    this.name = "RequestError";
    this.status = status;
    this.hint = hint;
  }
}

/** @param {unknown} error @returns {boolean} */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/** @param {Response} response @returns {Promise<RequestError>} */
async function refusal(response) {
  try {
    const { error } = await response.json();
    if (error?.message) return new RequestError(response.status, String(error.message), String(error.hint ?? ""));
  } catch {
    // Not the server's own error form, for instance a proxy's page: the status line has to do.
  }
  return new RequestError(response.status, `The server answered ${response.status} ${response.statusText}.`.replace(" .", "."));
}

export class DicomWeb {
  /** @param {string} root address of the DICOMweb service, without a trailing slash */
  constructor(root) {
    this.root = root;
  }

  /** Answers asked for before anybody wants them, each for one use. @type {Map<string, Promise<any>>} */
  #ahead = new Map();

  /**
   * Asks for what a view will need while its code is still being loaded; ends when all of it has come, or will not.
   * @param {InstancePath} at series and instance may be "" @param {number} frame 0: none
   * @param {import("./multipart.js").Part | null} [part] the frame, where it is here already
   */
  ahead(at, frame, part) {
    const early = (/** @type {string} */ key, /** @type {Promise<any>} */ answer) => {
      this.#ahead.set(key, answer);
      return answer;
    };
    return Promise.allSettled([
      early(`series ${at.study}`, this.searchSeries(at.study)),
      at.series && early(`metadata ${at.series}`, this.seriesMetadata(at.study, at.series)),
      at.instance && frame && early(`frame ${at.instance} ${frame}`, part ? Promise.resolve(part) : this.frame(at, frame)),
    ]);
  }

  /** @template T @param {string} key @param {() => Promise<T>} ask @returns {Promise<T>} */
  #once(key, ask) {
    const early = this.#ahead.get(key);
    this.#ahead.delete(key);
    return early ?? ask();
  }

  /** Any request to our server. Raises RequestError. @param {string} address @param {RequestInit} init @returns {Promise<Response>} */
  async ask(address, init) {
    let response;
    try {
      response = await fetch(address, { credentials: "same-origin", ...init });
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new RequestError(0, t("The server cannot be reached."), t("Check that it is running, then try again."));
    }
    if (response.status === 401) askToSignIn();
    if (!response.ok) throw await refusal(response);
    return response;
  }

  /**
   * @param {string} address @param {string} accept @param {AbortSignal} [signal]
   * @returns {Promise<Response>}
   */
  #get(address, accept, signal) {
    return this.ask(address, { headers: { Accept: accept }, signal: signal ?? null });
  }

  /**
   * @param {string} path below the root @param {Iterable<readonly [string, string]>} [query] @param {AbortSignal} [signal]
   * @returns {Promise<DataSet[]>}
   */
  async json(path, query = [], signal) {
    const search = new URLSearchParams([...query].map(([key, value]) => [key, value])).toString();
    const response = await this.#get(`${this.root}${path}${search ? `?${search}` : ""}`, JSON_TYPE, signal);
    return response.status === 204 ? [] : response.json();
  }

  /** @param {string} study @param {AbortSignal} [signal] */
  searchSeries(study, signal) {
    const fields = /** @type {const} */ ([["includefield", "SeriesDescription"], ["includefield", "NumberOfSeriesRelatedInstances"]]);
    return this.#once(`series ${study}`, () => this.json(`/studies/${study}/series`, fields, signal));
  }

  /** @param {string} study @param {string} series @param {AbortSignal} [signal] */
  seriesMetadata(study, series, signal) {
    return this.#once(`metadata ${series}`, () => this.json(`/studies/${study}/series/${series}/metadata`, [], signal));
  }

  /** @param {InstancePath} at */
  #instance(at) {
    return `/studies/${at.study}/series/${at.series}/instances/${at.instance}`;
  }

  /**
   * One frame, uncompressed, as the bytes of PS3.5 section 8.1.1 (little endian), with what is said of its samples.
   * @param {InstancePath} at @param {number} frame 1-based @param {AbortSignal} [signal]
   * @returns {Promise<import("./multipart.js").Part>}
   */
  frame(at, frame, signal) {
    return this.#once(`frame ${at.instance} ${frame}`, async () =>
      this.#firstPart(await this.ask(`${this.root}${this.#instance(at)}/frames/${frame}?${RAW_FRAMES}`, { signal: signal ?? null })),
    );
  }

  /** @param {Response} response @returns {Promise<import("./multipart.js").Part>} */
  async #firstPart(response) {
    const type = response.headers.get("content-type") ?? "";
    const data = new Uint8Array(await response.arrayBuffer());
    const boundary = boundaryOf(type);
    if (!boundary) return { contentType: type, body: data };
    const part = parseMultipart(data, boundary)[0];
    if (!part) throw new RequestError(502, "The server's answer has no content.");
    return part;
  }

  /**
   * The server's own rendering, for what the viewer cannot grey itself.
   * @param {InstancePath} at @param {number} frame @param {AbortSignal} [signal] @returns {Promise<Blob>}
   */
  async rendered(at, frame, signal) {
    const response = await this.ask(`${this.root}${this.#instance(at)}/frames/${frame}/rendered?${PICTURE}`, { signal: signal ?? null });
    return response.blob();
  }

  /**
   * A frame under a presentation state, by the URI Service (PS3.18 section 9.1.2.2.3): the Studies Service has no word for it.
   * @param {InstancePath} at @param {number} frame @param {{series: string, instance: string}} state @param {AbortSignal} [signal]
   */
  async presented(at, frame, state, signal) {
    const query = new URLSearchParams({
      ...{ requestType: "WADO", studyUID: at.study, seriesUID: at.series, objectUID: at.instance, contentType: "image/png" },
      ...{ frameNumber: String(frame), presentationSeriesUID: state.series, presentationUID: state.instance },
    });
    return (await this.#get(`${this.root}/wado?${query}`, "image/png", signal)).blob();
  }

  /** @param {string} uri absolute, or relative to the DICOMweb root @param {AbortSignal} [signal] */
  async bulk(uri, signal) {
    const address = new URL(uri, `${new URL(this.root, location.href)}/`);
    // A server behind a proxy may name itself as it sees itself; the path is right, the host is ours.
    const own = new URL(address.pathname + address.search, location.origin);
    const accept = 'application/octet-stream, multipart/related; type="application/octet-stream"';
    return (await this.#firstPart(await this.#get(own.href, accept, signal))).body;
  }

  /** @param {string} study @returns {string} where all of it is one file */
  zipAddress(study) {
    return `${this.root}/studies/${study}?accept=application/zip`;
  }

  /** Deletes a study; status 409 if something is yet to be done with it, unless `force`. @param {string} study @param {string} reason @param {boolean} force */
  async deleteStudy(study, reason, force) {
    const query = new URLSearchParams(force ? { reason, force: "true" } : { reason });
    await this.ask(`${this.root}/studies/${study}?${query}`, { method: "DELETE" });
  }

  /** Where an instance's resource is, for elements that fetch themselves. @param {InstancePath} at @param {string} resource "/rendered" */
  address(at, resource) {
    return `${this.root}${this.#instance(at)}${resource}`;
  }

  /** @param {string} study @param {string} series @param {string} [instance] @returns {string} address for an <img> */
  thumbnail(study, series, instance) {
    return `${this.root}/studies/${study}/series/${series}${instance ? `/instances/${instance}` : ""}/thumbnail`;
  }

  /**
   * STOW-RS of data sets without bulk data (PS3.18 section 10.5.1). Raises RequestError unless all are stored.
   * @param {DataSet[]} made
   */
  async storeData(made) {
    const headers = { "Content-Type": JSON_TYPE, Accept: JSON_TYPE };
    const response = await this.ask(`${this.root}/studies`, { method: "POST", headers, body: JSON.stringify(made) });
    if (response.status !== 200) throw await refusal(response);
  }

  /**
   * STOW-RS of some files in one request; resolves to the response's data set, also when some were refused (202, 409).
   * XMLHttpRequest because fetch reports no upload progress.
   * @param {File[]} files @param {(file: number, bytes: number) => void} progress which one is on its way, and how much of it has gone
   * @param {AbortSignal} [signal]
   * @returns {Promise<{answer: DataSet, already: number}>} `already`: how many of those stored were there before
   */
  store(files, progress, signal) {
    const boundary = `isocenter-${crypto.getRandomValues(new Uint32Array(4)).join("")}`;
    const head = `--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`;
    /** @type {BlobPart[]} */
    const body = [];
    for (const file of files) body.push(head, file, "\r\n");
    body.push(`--${boundary}--\r\n`);
    const gone = (/** @type {number} */ bytes) => {
      let at = 0;
      for (const [i, { size }] of files.entries()) {
        const whole = head.length + size + 2;
        if (bytes < at + whole || i === files.length - 1) {
          progress(i, Math.min(size, Math.max(0, bytes - at - head.length)));
          return;
        }
        at += whole;
      }
    };
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", `${this.root}/studies`);
      request.setRequestHeader("Content-Type", `multipart/related; type="application/dicom"; boundary=${boundary}`);
      request.setRequestHeader("Accept", JSON_TYPE);
      request.upload.onprogress = (event) => gone(event.loaded);
      request.onerror = () => reject(new RequestError(0, t("The connection broke during the upload.")));
      request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
      request.onload = () => {
        /** @type {any} */
        let answer = null;
        try {
          answer = JSON.parse(request.responseText);
        } catch {
          answer = null;
        }
        if (request.status === 401) askToSignIn();
        if (Array.isArray(answer)) answer = answer[0];
        const already = Number(request.getResponseHeader("x-already-stored")) || 0;
        if (answer && (answer["00081199"] || answer["00081198"] || answer["0008119A"])) resolve({ answer, already });
        else reject(new RequestError(request.status, answer?.error?.message ?? `The server answered ${request.status}.`, answer?.error?.hint));
      };
      signal?.addEventListener("abort", () => request.abort(), { once: true });
      request.send(new Blob(body));
    });
  }
}
