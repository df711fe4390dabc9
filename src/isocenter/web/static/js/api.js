// @ts-check
// The OpenAPI document as a page. Text only: nothing of it becomes markup.

/** @typedef {{ name: string, in: string, required: boolean }} Parameter */
/** @typedef {{ content?: Record<string, unknown> }} Content */
/** @typedef {{ summary: string, parameters: Parameter[], requestBody?: Content, responses: Record<string, Content> }} Operation */
/** @typedef {{ servers: { url: string }[], paths: Record<string, Record<string, Operation>> }} Description */

/** @param {string} name @param {string} text @returns {HTMLElement} */
function made(name, text) {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
}

/** @param {HTMLElement} list @param {string} name @param {string[]} values */
function row(list, name, values) {
  if (values.length) list.append(made("dt", name), made("dd", values.join(", ")));
}

/** @param {string} path @param {string} method @param {Operation} operation @returns {HTMLElement} */
function shown(path, method, operation) {
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.append(made("b", method.toUpperCase()), made("code", path), made("span", operation.summary));
  const list = document.createElement("dl");
  for (const place of ["path", "query"]) {
    row(list, place, operation.parameters.filter((one) => one.in === place).map((one) => one.name));
  }
  row(list, "takes", Object.keys(operation.requestBody?.content ?? {}));
  for (const [status, answer] of Object.entries(operation.responses)) {
    row(list, status, Object.keys(answer.content ?? {}));
  }
  details.append(summary, list);
  return details;
}

const base = new URL("../dicomweb", import.meta.url);
try {
  const answer = await fetch(`${base}/openapi.json`);
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  /** @type {Description} */
  const description = await answer.json();
  document.getElementById("base")?.append(description.servers[0]?.url ?? base.href);
  const operations = document.getElementById("operations");
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(methods)) operations?.append(shown(path, method, operation));
  }
} catch (error) {
  document.getElementById("problem")?.append(`The description cannot be had: ${error}`);
}
