// @ts-check
// Volume rendering with WebGL2: rays through a 3-D texture, straight and parallel, each in the volume's own axes, so that a
// tilted or oblique stack is drawn where its geometry says.

import { COLOURS } from "./presets.js";
import { BLOCK } from "./reslice.js";
import { add, apply, applyLinear } from "./vectors.js";

/** @typedef {import("./vectors.js").Vector} Vector */
/**
 * @typedef {object} Shot
 * @property {Vector} centre LPS mm, in the middle of the canvas
 * @property {Vector} right
 * @property {Vector} down
 * @property {Vector} into
 * @property {number} scale mm of a pixel
 * @property {number} step mm from sample to sample
 * @property {boolean} projection the brightest of each ray instead of light through colours
 * @property {boolean} shaded
 */

/** Voxels of a texture: 64 MB of halves, which every graphics card has to spare. */
export const MOST_VOXELS = 32 * 1024 * 1024;

const VERTEX = `#version 300 es
void main() {
  vec2 at = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
  gl_Position = vec4(at, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler3D;
uniform sampler3D voxels;
uniform sampler2D colours;
uniform sampler3D blocks;
uniform vec3 blockSize;
uniform vec3 origin, right, down, into;
uniform vec3 voxel;
uniform mat3 gradientToPatient;
uniform vec3 toEye, lamp;
uniform vec2 size;
uniform float stepLength;
uniform bool projection, shaded;
out vec4 picture;

vec3 slopeAt(vec3 p) {
  vec3 g = vec3(
    texture(voxels, p + vec3(voxel.x, 0.0, 0.0)).r - texture(voxels, p - vec3(voxel.x, 0.0, 0.0)).r,
    texture(voxels, p + vec3(0.0, voxel.y, 0.0)).r - texture(voxels, p - vec3(0.0, voxel.y, 0.0)).r,
    texture(voxels, p + vec3(0.0, 0.0, voxel.z)).r - texture(voxels, p - vec3(0.0, 0.0, voxel.z)).r);
  return gradientToPatient * (g / voxel);
}

void main() {
  vec2 at = vec2(gl_FragCoord.x, size.y - gl_FragCoord.y) - 0.5 * size;
  vec3 start = origin + at.x * right + at.y * down;
  vec3 way = mix(into, vec3(1e-9), lessThan(abs(into), vec3(1e-9)));
  vec3 a = -start / way;
  vec3 b = (1.0 - start) / way;
  vec3 low = min(a, b);
  vec3 high = max(a, b);
  float near = max(max(low.x, low.y), low.z);
  float far = min(min(high.x, high.y), high.z);
  picture = vec4(0.0);
  if (near >= far) return;
  float jitter = fract(sin(dot(gl_FragCoord.xy, vec2(12.9898, 78.233))) * 43758.5453);
  float t = near + jitter * stepLength;
  float best = 0.0;
  vec4 sum = vec4(0.0);
  for (int i = 0; i < 4096; i++) {
    if (t > far || sum.a > 0.98) break;
    vec3 p = start + t * way;
    ivec3 block = clamp(ivec3(floor(p / blockSize)), ivec3(0), textureSize(blocks, 0) - 1);
    vec2 has = texelFetch(blocks, block, 0).rg;
    if (projection ? has.g <= best : has.r == 0.0) {
      // Nothing in it can be seen: on to the first sample behind it.
      vec3 exits = ((vec3(block) + step(vec3(0.0), way)) * blockSize - start) / way;
      float left = min(min(exits.x, exits.y), exits.z) - t;
      t += stepLength * max(1.0, ceil(left / stepLength));
      continue;
    }
    float v = texture(voxels, p).r;
    t += stepLength;
    if (projection) {
      best = max(best, v);
      continue;
    }
    vec4 c = texture(colours, vec2(v, 0.5));
    if (c.a < 0.002) continue;
    float alpha = 1.0 - pow(1.0 - min(c.a, 0.999), stepLength);
    if (shaded) {
      vec3 g = slopeAt(p);
      float steep = length(g);
      if (steep > 1e-5) {
        vec3 n = -g / steep;
        float facing = abs(dot(n, lamp));
        float shine = pow(abs(dot(n, normalize(lamp + toEye))), 24.0);
        c.rgb = c.rgb * (0.28 + 0.72 * facing) + 0.18 * shine;
      } else c.rgb *= 0.7;
    }
    sum += (1.0 - sum.a) * vec4(c.rgb * alpha, alpha);
  }
  picture = projection ? texture(colours, vec2(best, 0.5)) : min(sum, vec4(1.0));
}`;

/** Why nothing can be rendered. */
export class RenderError extends Error {}

export class Renderer {
  /** @type {Record<string, WebGLUniformLocation | null>} */
  #places = {};
  #program;
  #size = { columns: 1, rows: 1, slices: 1 };
  /** Image columns and rows in one of the texture's. */
  #step = 1;
  /** Between which entries of the colours each block lies. @type {{blocks: [number, number, number], lows: Uint16Array, highs: Uint16Array}} */
  #blocks = { blocks: [0, 0, 0], lows: new Uint16Array(0), highs: new Uint16Array(0) };
  /** @type {WebGLSync | null} */
  #fence = null;

  /** @param {HTMLCanvasElement} canvas @param {import("./data.js").VolumeData} data Raises RenderError without WebGL2. */
  constructor(canvas, data) {
    const gl = canvas.getContext("webgl2", { antialias: false, depth: false, stencil: false, powerPreference: "high-performance" });
    if (!gl) throw new RenderError("Volume rendering needs WebGL2, which this browser does not offer here. The planes do without it.");
    this.gl = gl;
    this.canvas = canvas;
    this.data = data;
    this.#program = this.#build();
    for (const name of ["voxels", "colours", "blocks", "blockSize", "origin", "right", "down", "into", "voxel", "gradientToPatient", "toEye", "lamp", "size", "stepLength", "projection", "shaded"]) {
      this.#places[name] = gl.getUniformLocation(this.#program, name);
    }
    gl.useProgram(this.#program);
    gl.uniform1i(this.#place("voxels"), 0);
    gl.uniform1i(this.#place("colours"), 1);
    gl.uniform1i(this.#place("blocks"), 2);
    this.#texture(0, gl.TEXTURE_3D);
    this.#texture(1, gl.TEXTURE_2D);
    this.#texture(2, gl.TEXTURE_3D);
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  }

  /** @param {string} name */
  #place(name) {
    return this.#places[name] ?? null;
  }

  #build() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, source] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]])) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(type));
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new RenderError(`The graphics driver refuses the renderer: ${gl.getProgramInfoLog(program) ?? ""}`);
    return program;
  }

  /** @param {number} unit @param {number} target */
  #texture(unit, target) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(target, gl.createTexture());
    gl.texParameteri(target, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    gl.texParameteri(target, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
    gl.texParameteri(target, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(target, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    if (target === gl.TEXTURE_3D) gl.texParameteri(target, gl.TEXTURE_WRAP_R, gl.CLAMP_TO_EDGE);
  }

  /** @param {import("./reslice.js").Texture} made by the worker */
  setVoxels({ halves, size: [columns, rows, slices], step, blocks, lows, highs }) {
    const { gl } = this;
    const most = gl.getParameter(gl.MAX_3D_TEXTURE_SIZE);
    if (Math.max(columns, rows, slices) > most) throw new RenderError(`This graphics card renders at most ${most} slices; there are ${slices}.`);
    gl.activeTexture(gl.TEXTURE0);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 2);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.R16F, columns, rows, slices, 0, gl.RED, gl.HALF_FLOAT, halves);
    if (gl.getError() === gl.OUT_OF_MEMORY) throw new RenderError("The graphics card has not enough memory for this volume.");
    this.#size = { columns, rows, slices };
    this.#step = step;
    this.#blocks = { blocks, lows: lows.map((bits) => Math.floor(number(bits) * (COLOURS - 1))), highs: highs.map((bits) => Math.ceil(number(bits) * (COLOURS - 1))) };
  }

  /** @param {Uint8Array} colours COLOURS x 4 */
  setColours(colours) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, COLOURS, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, colours);
    this.#setBlocks(colours);
  }

  /** Which blocks have anything these colours show, and the brightest in each. @param {Uint8Array} colours */
  #setBlocks(colours) {
    const { gl } = this;
    const { blocks, lows, highs } = this.#blocks;
    const seen = new Uint16Array(COLOURS + 1);
    for (let i = 0; i < COLOURS; i += 1) seen[i + 1] = /** @type {number} */ (seen[i]) + Number(/** @type {number} */ (colours[4 * i + 3]) > 0);
    const texels = new Uint8Array(2 * lows.length);
    for (let i = 0; i < lows.length; i += 1) {
      // A texture's look-up lies between two entries.
      const low = Math.max(0, /** @type {number} */ (lows[i]) - 1);
      const high = Math.min(COLOURS - 1, /** @type {number} */ (highs[i]) + 1);
      texels[2 * i] = /** @type {number} */ (seen[high + 1]) > /** @type {number} */ (seen[low]) ? 255 : 0;
      texels[2 * i + 1] = Math.ceil((255 * high) / (COLOURS - 1));
    }
    gl.activeTexture(gl.TEXTURE2);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage3D(gl.TEXTURE_3D, 0, gl.RG8, ...blocks, 0, gl.RG, gl.UNSIGNED_BYTE, texels);
  }

  /** Voxels (place, row, column) to texture: a voxel's middle lies half a voxel inside. @param {Vector} v @param {number} half @returns {Vector} */
  #toTexture([place, row, column], half) {
    const { columns, rows, slices } = this.#size;
    return [(column + half) / (columns * this.#step), (row + half) / (rows * this.#step), (place + half) / slices];
  }

  /** @param {Shot} shot */
  draw(shot) {
    const { gl, canvas, data } = this;
    const point = (/** @type {Vector} */ p) => this.#toTexture(apply(data.inverse, p), 0.5);
    const direction = (/** @type {Vector} */ v) => this.#toTexture(applyLinear(data.inverse, v), 0);
    const vector = (/** @type {string} */ name, /** @type {Vector} */ v) => gl.uniform3f(this.#place(name), ...v);
    const scaled = (/** @type {Vector} */ v) => direction(add([0, 0, 0], v, shot.scale));
    gl.viewport(0, 0, canvas.width, canvas.height);
    vector("origin", point(shot.centre));
    vector("right", scaled(shot.right));
    vector("down", scaled(shot.down));
    vector("into", direction(shot.into));
    vector("blockSize", [BLOCK / this.#size.columns, BLOCK / this.#size.rows, BLOCK / this.#size.slices]);
    vector("voxel", [1 / this.#size.columns, 1 / this.#size.rows, 1 / this.#size.slices]);
    // Row by row the texture coordinates of the patient's axes: transposed, it takes slopes back into the patient.
    const axes = /** @type {Vector[]} */ ([[1, 0, 0], [0, 1, 0], [0, 0, 1]]).map(direction);
    const jacobian = [0, 1, 2].flatMap((texture) => axes.map((axis) => axis[texture] ?? 0));
    gl.uniformMatrix3fv(this.#place("gradientToPatient"), false, jacobian);
    const eye = add([0, 0, 0], shot.into, -1);
    vector("toEye", eye);
    const lamp = add(add(eye, shot.right, -0.35), shot.down, -0.45);
    vector("lamp", add([0, 0, 0], lamp, 1 / Math.hypot(...lamp)));
    gl.uniform2f(this.#place("size"), canvas.width, canvas.height);
    gl.uniform1f(this.#place("stepLength"), shot.step);
    gl.uniform1i(this.#place("projection"), Number(shot.projection));
    gl.uniform1i(this.#place("shaded"), Number(shot.shaded));
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    if (this.#fence) gl.deleteSync(this.#fence);
    this.#fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
  }

  /** Whether the graphics card has done what was asked: frames are not piled up before it. */
  get idle() {
    if (!this.#fence) return true;
    const status = this.gl.clientWaitSync(this.#fence, 0, 0);
    if (status === this.gl.TIMEOUT_EXPIRED) return false;
    this.gl.deleteSync(this.#fence);
    this.#fence = null;
    return true;
  }

  /** Gives the graphics card's memory back. */
  close() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

/** @param {number} bits of a half that is not negative @returns {number} */
function number(bits) {
  const exponent = bits >> 10;
  return exponent === 0 ? bits * 2 ** -24 : (1 + (bits & 1023) / 1024) * 2 ** (exponent - 15);
}
