// @ts-check
// A volume of stored values, and planes cut out of it: trilinear between voxels, one sample a pixel or a slab of them.
// Runs in a worker (worker.js). Values stay stored values of 16 bits, so that the plane goes through the same table of
// greys as a slice of the stack does.

/** @typedef {"max" | "min" | "mean"} Projection */
/**
 * A plane to cut, in voxels: (place, row, column) of its first pixel's centre, the step of a pixel to the right, of a row
 * down, and of one sample of the slab to the next; `samples` lie evenly about the plane.
 * @typedef {object} Cut
 * @property {number} width pixels
 * @property {number} height
 * @property {number[]} origin
 * @property {number[]} right
 * @property {number[]} down
 * @property {number[]} through
 * @property {number} samples at least 1
 * @property {Projection} projection
 */
/**
 * `mask` is 0 where there is nothing, 1 where there is a value, 2 where the images have padding.
 * @typedef {{values: Uint16Array, mask: Uint8Array}} Plane values are the low 16 bits of stored ones
 */
/**
 * @typedef {object} VolumeShape
 * @property {[number, number, number]} shape slices with those that are missing, rows, columns, as the images have them
 * @property {boolean} signed
 * @property {number} reduce rows and columns are averaged in squares of so many pixels
 * @property {boolean[]} real whether an image stands behind each slice
 * @property {[number, number] | null} padding stored values, inclusive, that mean "no image here"
 */

/**
 * `size` and `blocks` count columns, rows and slices; `lows` and `highs` are the halves between which each block's values
 * lie, those of the voxels around it too, between which and its own a sample may fall.
 * @typedef {{halves: Uint16Array, size: [number, number, number], step: number, blocks: [number, number, number], lows: Uint16Array, highs: Uint16Array}} Texture
 */

/** Voxels of a texture along the edge of a block, of which empty ones are passed over. */
export const BLOCK = 8;
/** Voxels outside of the outermost centres still reach half a voxel further. */
const HALF = 0.5;

export class VoxelVolume {
  /** @type {Int16Array | Uint16Array} */
  voxels;
  /** First voxel of what stands in for each slice: itself, the nearest that has come, or -1 for nothing. @type {Int32Array} */
  #starts;
  /** @type {boolean[]} */
  #come;
  /** Lowest and highest stored value so far. */
  low = Infinity;
  high = -Infinity;
  loaded = 0;

  /** @param {VolumeShape} asked Raises RangeError where memory is short. */
  constructor({ shape: [slices, rows, columns], signed, reduce, real, padding }) {
    this.slices = slices;
    this.reduce = reduce;
    this.sourceColumns = columns;
    this.rows = Math.floor(rows / reduce);
    this.columns = Math.floor(columns / reduce);
    this.real = real;
    this.padding = padding;
    const length = slices * this.rows * this.columns;
    this.voxels = signed ? new Int16Array(length) : new Uint16Array(length);
    this.#starts = new Int32Array(slices).fill(-1);
    this.#come = Array.from({ length: slices }, () => false);
  }

  /**
   * @param {number} place @param {Uint16Array} pixels low 16 bits of stored values, the whole slice
   * @param {{signed: boolean, scale: number, shift: number}} how the slice's stored values become those of the volume
   */
  put(place, pixels, { signed, scale, shift }) {
    const size = this.rows * this.columns;
    const out = this.voxels.subarray(place * size, (place + 1) * size);
    const stored = signed ? new Int16Array(pixels.buffer, pixels.byteOffset, pixels.length) : pixels;
    const values = this.reduce === 1 ? stored : this.#averaged(stored);
    if (this.reduce === 1 && scale === 1 && shift === 0) out.set(stored);
    else for (let i = 0; i < size; i += 1) out[i] = Math.round(/** @type {number} */ (values[i]) * scale + shift);
    for (let i = 0; i < size; i += 1) {
      const v = /** @type {number} */ (out[i]);
      if (v < this.low) this.low = v;
      if (v > this.high) this.high = v;
    }
    if (!this.#come[place]) this.loaded += 1;
    this.#come[place] = true;
    this.#standIn();
  }

  /** A slice that will not come is empty. @param {number} place */
  drop(place) {
    this.real[place] = false;
    this.#standIn();
  }

  /** @param {Int16Array | Uint16Array} stored @returns {Float32Array} */
  #averaged(stored) {
    const { reduce, sourceColumns } = this;
    const out = new Float32Array(this.rows * this.columns);
    for (let row = 0, at = 0; row < this.rows; row += 1) {
      for (let column = 0; column < this.columns; column += 1, at += 1) {
        let sum = 0;
        for (let y = 0; y < reduce; y += 1) {
          const start = (row * reduce + y) * sourceColumns + column * reduce;
          for (let x = 0; x < reduce; x += 1) sum += /** @type {number} */ (stored[start + x]);
        }
        out[at] = sum / (reduce * reduce);
      }
    }
    return out;
  }

  /** Until all have come, the nearest slice that has stands in for each; what no image stands behind stays empty. */
  #standIn() {
    const size = this.rows * this.columns;
    const nearest = new Int32Array(this.slices).fill(-1);
    for (let place = 0, last = -1; place < this.slices; place += 1) {
      if (this.#come[place]) last = place;
      nearest[place] = last;
    }
    for (let place = this.slices - 1, next = -1; place >= 0; place -= 1) {
      if (this.#come[place]) next = place;
      const before = /** @type {number} */ (nearest[place]);
      const chosen = before < 0 || (next >= 0 && next - place < place - before) ? next : before;
      this.#starts[place] = this.real[place] && chosen >= 0 ? chosen * size : -1;
    }
  }

  /** @param {Cut} cut @returns {Plane} */
  cut(cut) {
    const { width, height, samples } = cut;
    const count = width * height;
    const mask = new Uint8Array(count);
    const acc = new Float32Array(count);
    const counts = samples > 1 && cut.projection === "mean" ? new Uint16Array(count) : null;
    for (let sample = 0; sample < samples; sample += 1) {
      const depth = sample - (samples - 1) / 2;
      for (let y = 0; y < height; y += 1) this.#row(cut, y, depth, acc, mask, counts);
    }
    const values = new Uint16Array(count);
    for (let i = 0; i < count; i += 1) {
      if (mask[i] !== 1) continue;
      const v = /** @type {number} */ (acc[i]);
      values[i] = Math.round(counts ? v / /** @type {number} */ (counts[i]) : v);
    }
    return { values, mask };
  }

  /**
   * One row of one sample plane, added to what is there.
   * @param {Cut} cut @param {number} y @param {number} depth in samples from the plane @param {Float32Array} acc
   * @param {Uint8Array} mask @param {Uint16Array | null} counts
   */
  #row(cut, y, depth, acc, mask, counts) {
    const { width, origin, right, down, through, projection } = cut;
    const [k0, r0, c0] = /** @type {[number, number, number]} */ (origin.map((o, i) => o + y * (down[i] ?? 0) + depth * (through[i] ?? 0)));
    const [dk, dr, dc] = /** @type {[number, number, number]} */ (right);
    const { slices, rows, columns, voxels, padding } = this;
    const starts = this.#starts;
    // The part of the row that is inside of the volume: a line meets a parallelepiped in one piece.
    let from = 0;
    let to = width - 1;
    for (const [start, step, size] of /** @type {[number, number, number][]} */ ([[k0, dk, slices], [r0, dr, rows], [c0, dc, columns]])) {
      const [low, high] = [-HALF, size - HALF];
      if (Math.abs(step) < 1e-9) {
        if (start < low || start > high) return;
        continue;
      }
      const [a, b] = [(low - start) / step, (high - start) / step];
      from = Math.max(from, Math.ceil(Math.min(a, b) - 1e-6));
      to = Math.min(to, Math.floor(Math.max(a, b) + 1e-6));
    }
    const kind = projection === "max" ? 1 : projection === "min" ? 2 : 3;
    const [low, high] = padding ?? [1, 0];
    const padded = padding !== null;
    for (let x = from, at = y * width + from; x <= to; x += 1, at += 1) {
      // Beyond the outermost centres the outermost value goes on.
      const k = Math.min(slices - 1, Math.max(0, k0 + x * dk));
      const r = Math.min(rows - 1, Math.max(0, r0 + x * dr));
      const c = Math.min(columns - 1, Math.max(0, c0 + x * dc));
      const ki = k | 0;
      const ri = r | 0;
      const ci = c | 0;
      let fk = k - ki;
      let s0 = /** @type {number} */ (starts[ki]);
      let s1 = fk > 0 ? /** @type {number} */ (starts[ki + 1]) : s0;
      if (s0 < 0 || s1 < 0) {
        // Beside a slice that is missing, one that is there reaches half way.
        if (fk < HALF ? s0 < 0 : s1 < 0) continue;
        if (s0 < 0) s0 = s1;
        s1 = s0;
        fk = 0;
      }
      const down1 = ri + 1 < rows ? columns : 0;
      const right1 = ci + 1 < columns ? 1 : 0;
      const o = ri * columns + ci;
      const fr = r - ri;
      const fc = c - ci;
      let v;
      if (padded) {
        v = this.#clear(s0 + o, s1 + o, down1, right1, fk, fr, fc, low, high);
        if (v !== v) {
          if (mask[at] === 0) mask[at] = 2;
          continue;
        }
      } else {
        const a = s0 + o;
        const b = s1 + o;
        const a0 = /** @type {number} */ (voxels[a]) * (1 - fc) + /** @type {number} */ (voxels[a + right1]) * fc;
        const a1 = /** @type {number} */ (voxels[a + down1]) * (1 - fc) + /** @type {number} */ (voxels[a + down1 + right1]) * fc;
        const b0 = /** @type {number} */ (voxels[b]) * (1 - fc) + /** @type {number} */ (voxels[b + right1]) * fc;
        const b1 = /** @type {number} */ (voxels[b + down1]) * (1 - fc) + /** @type {number} */ (voxels[b + down1 + right1]) * fc;
        v = (a0 * (1 - fr) + a1 * fr) * (1 - fk) + (b0 * (1 - fr) + b1 * fr) * fk;
      }
      if (counts !== null) {
        acc[at] = /** @type {number} */ (acc[at]) + v;
        counts[at] = /** @type {number} */ (counts[at]) + 1;
      } else if (mask[at] !== 1 || (kind === 1 ? v > /** @type {number} */ (acc[at]) : v < /** @type {number} */ (acc[at]))) {
        acc[at] = v;
      }
      mask[at] = 1;
    }
  }

  /**
   * The same between voxels of which some may be padding: the others share its weight; NaN where it has the most.
   * @param {number} a @param {number} b first voxels in the two slices @param {number} down @param {number} right
   * @param {number} fk @param {number} fr @param {number} fc @param {number} low @param {number} high padding
   */
  #clear(a, b, down, right, fk, fr, fc, low, high) {
    const { voxels } = this;
    let sum = 0;
    let weights = 0;
    for (let corner = 0; corner < 8; corner += 1) {
      const weight = (corner & 4 ? fk : 1 - fk) * (corner & 2 ? fr : 1 - fr) * (corner & 1 ? fc : 1 - fc);
      if (weight === 0) continue;
      const v = /** @type {number} */ (voxels[(corner & 4 ? b : a) + (corner & 2 ? down : 0) + (corner & 1 ? right : 0)]);
      if (v >= low && v <= high) continue;
      sum += weight * v;
      weights += weight;
    }
    return weights < HALF ? NaN : sum / weights;
  }

  /**
   * The volume for a texture of halves: 0 for the lowest stored value, 1 for the highest; missing slices and padding are 0.
   * Every `step` voxels in a square of rows and columns are one, so that there are no more than `most`.
   * @param {number} most @returns {Texture}
   */
  texture(most) {
    let step = 1;
    while (this.slices * Math.floor(this.rows / step) * Math.floor(this.columns / step) > most) step += 1;
    const [rows, columns] = [Math.floor(this.rows / step), Math.floor(this.columns / step)];
    const table = this.#halves();
    const halves = new Uint16Array(rows * columns * this.slices);
    const { voxels } = this;
    for (let place = 0, at = 0; place < this.slices; place += 1) {
      const start = /** @type {number} */ (this.#starts[place]);
      if (start < 0) {
        at += rows * columns;
        continue;
      }
      for (let row = 0; row < rows; row += 1) {
        const line = start + row * step * this.columns;
        for (let column = 0; column < columns; column += 1, at += 1) {
          let v = 0;
          if (step === 1) v = /** @type {number} */ (voxels[line + column]);
          else {
            for (let y = 0; y < step; y += 1) for (let x = 0; x < step; x += 1) v += /** @type {number} */ (voxels[line + y * this.columns + column * step + x]);
            v = Math.round(v / (step * step));
          }
          halves[at] = /** @type {number} */ (table[v & 0xffff]);
        }
      }
    }
    return { halves, size: [columns, rows, this.slices], step, ...blocksOf(halves, [columns, rows, this.slices]) };
  }

  /** Half-precision number (IEEE 754) for each stored value, by its low 16 bits. */
  #halves() {
    const table = new Uint16Array(65536);
    const span = this.high - this.low || 1;
    const [low, high] = this.padding ?? [1, 0];
    for (let v = this.low; v <= this.high; v += 1) {
      if (v < low || v > high) table[v & 0xffff] = half((v - this.low) / span);
    }
    return table;
  }
}

/** @param {number} x 0 to 1 @returns {number} its bits in half precision */
export function half(x) {
  if (x < 2 ** -14) return Math.round(x * 2 ** 24);
  const exponent = Math.floor(Math.log2(x));
  return ((exponent + 15) << 10) + Math.round((x / 2 ** exponent - 1) * 1024);
}

/** @param {Uint16Array} halves @param {[number, number, number]} size @returns {Pick<Texture, "blocks" | "lows" | "highs">} */
function blocksOf(halves, [columns, rows, slices]) {
  const blocks = /** @type {[number, number, number]} */ ([columns, rows, slices].map((n) => Math.ceil(n / BLOCK)));
  const lows = new Uint16Array(blocks[0] * blocks[1] * blocks[2]).fill(0xffff);
  const highs = new Uint16Array(lows.length);
  for (let place = 0, at = 0; place < slices; place += 1) {
    const across = reach(place, blocks[2]);
    for (let row = 0; row < rows; row += 1, at += columns) {
      const along = reach(row, blocks[1]);
      for (let x = 0; x < blocks[0]; x += 1) {
        let low = 0xffff;
        let high = 0;
        const end = Math.min(columns, (x + 1) * BLOCK + 1);
        for (let column = Math.max(0, x * BLOCK - 1); column < end; column += 1) {
          // Halves that are not negative are ordered as their bits are.
          const v = /** @type {number} */ (halves[at + column]);
          if (v < low) low = v;
          if (v > high) high = v;
        }
        for (let z = across[0]; z <= across[1]; z += 1) {
          for (let y = along[0]; y <= along[1]; y += 1) {
            const block = (z * blocks[1] + y) * blocks[0] + x;
            if (low < /** @type {number} */ (lows[block])) lows[block] = low;
            if (high > /** @type {number} */ (highs[block])) highs[block] = high;
          }
        }
      }
    }
  }
  return { blocks, lows, highs };
}

/** First and last block a voxel matters to. @param {number} i @param {number} blocks @returns {[number, number]} */
function reach(i, blocks) {
  return [Math.max(0, Math.floor((i - 1) / BLOCK)), Math.min(blocks - 1, Math.floor((i + 1) / BLOCK))];
}
