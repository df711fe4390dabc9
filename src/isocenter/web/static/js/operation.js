// @ts-check
// What the archive does for others: peers to send to, the queue of jobs, and the disk. Below /operation, not DICOMweb.

import { BASE } from "./base.js";

/** @typedef {{name: string, aet: string}} Peer */
/** @typedef {"waiting" | "running" | "done" | "failed" | "cancelled"} State */
/** @typedef {{id: number, kind: string, target: string, state: State, attempts: number, next_at: string | null, updated_at: string, last_error: string, total: number, done: number, failed: number}} Job */
/** `reasons`: why objects failed, the commonest first. @typedef {Job & {reasons: {why: string, count: number}[]}} ListedJob */
/** @typedef {{jobs: ListedJob[], counts: Partial<Record<State, number>>}} Queue */
/** @typedef {{patients: number, studies: number, series: number, instances: number, bytes: number, free: number, size: number, reserve: number}} Storage bytes */

export class Operation {
  /** @param {import("./dicomweb.js").DicomWeb} client */
  constructor(client) {
    this.client = client;
  }

  /** @param {string} path @param {RequestInit} [init] @returns {Promise<any>} */
  async #json(path, init = {}) {
    return (await this.client.ask(new URL(`operation/${path}`, BASE).href, init)).json();
  }

  /** @returns {Promise<Peer[]>} */
  async peers() {
    return (await this.#json("peers")).peers;
  }

  /** @param {string} peer @param {string} study @param {boolean} commit asks the peer for Storage Commitment afterwards @returns {Promise<Job>} */
  send(peer, study, commit) {
    const body = JSON.stringify({ peer, study, commit: String(commit) });
    return this.#json("jobs", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  }

  /** @param {number} most @param {AbortSignal} [signal] @returns {Promise<Queue>} the newest first */
  queue(most, signal) {
    return this.#json(`jobs?limit=${most}`, { signal: signal ?? null });
  }

  /** @param {number} job @param {"retry" | "cancel"} verb @returns {Promise<Job>} */
  change(job, verb) {
    return this.#json(`jobs/${job}/${verb}`, { method: "POST" });
  }

  /** @param {AbortSignal} [signal] @returns {Promise<Storage>} */
  storage(signal) {
    return this.#json("storage", { signal: signal ?? null });
  }
}
