// @ts-check
// The OpenAPI document as a page. Text only: nothing of it becomes markup.

/** @typedef {{ name: string, in: string, required: boolean, schema?: { enum?: string[], example?: string, type?: string } }} Parameter */
/** @typedef {{ content?: Record<string, unknown> }} Content */
/** @typedef {{ summary: string, parameters: Parameter[], requestBody?: Content, responses: Record<string, Content> }} Operation */
/** @typedef {{ info: { version: string }, servers: { url: string }[], paths: Record<string, Record<string, Operation>> }} Description */

// The services by the beginning of their section in PS3.18, in the order of the page; what has none is ours.
const SERVICES = [
  ["10.6", "Search for studies, series and instances"],
  ["10.4", "Retrieve"],
  ["10.5", "Store"],
  ["9", "URI service"],
  ["11", "Worklist"],
  ["12", "Objects of no patient"],
  ["F", "Objects of no patient"],
  ["13", "Storage commitment"],
  ["14", "Scheduled procedure steps"],
  ["15", "Performed procedure steps"],
  ["8", "What this service can do"],
  ["", "Beyond the standard"],
];
const SECTION = / \(PS3\.18 section ([^)]+)\)$/;

/** @param {string} name @param {string} text @param {string} [kind] @returns {HTMLElement} */
function made(name, text, kind) {
  const element = document.createElement(name);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

/** A path, which may break before each step and nowhere else. @param {string} path @returns {HTMLElement} */
function steps(path) {
  const code = document.createElement("code");
  for (const step of path.split(/(?=\/)/)) {
    code.append(document.createElement("wbr"));
    for (const part of step.split(/(\{[^}]+\})/)) {
      if (part) code.append(part.startsWith("{") ? made("i", part) : part);
    }
  }
  return code;
}

/** @param {Parameter} one */
function told(one) {
  const values = one.schema?.enum?.join(" | ") ?? one.schema?.example ?? "";
  return values ? `${one.name} = ${values}` : one.name;
}

/** @param {HTMLElement} list @param {string} name @param {string[]} values */
function row(list, name, values) {
  if (!values.length) return;
  const place = document.createElement("dd");
  for (const value of values) place.append(made("code", value));
  list.append(made("dt", name), place);
}

/** @param {string} path @param {string} method @param {Operation} operation @returns {HTMLElement} */
function shown(path, method, operation) {
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const section = SECTION.exec(operation.summary)?.[1];
  const words = made("p", operation.summary.replace(SECTION, ""));
  if (section) words.append(made("small", `PS3.18 ${section}`));
  summary.append(made("b", method.toUpperCase(), method), steps(path), words);
  const list = document.createElement("dl");
  row(list, "parameters", operation.parameters.filter((one) => one.in === "query").map(told));
  row(list, "takes", Object.keys(operation.requestBody?.content ?? {}));
  for (const [status, answer] of Object.entries(operation.responses)) {
    if (status !== "default") row(list, `answers ${status}`, Object.keys(answer.content ?? {}));
  }
  details.append(summary, list.childElementCount ? list : made("p", "Without parameters or a body.", "nothing"));
  return details;
}

/** @param {Operation} operation */
function serviceOf(operation) {
  const section = SECTION.exec(operation.summary)?.[1] ?? "";
  return SERVICES.find(([beginning]) => (beginning ? `${section}.`.startsWith(`${beginning}.`) : true))?.[1] ?? "";
}

const base = new URL("../dicomweb", import.meta.url);
try {
  const answer = await fetch(`${base}/openapi.json`);
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  /** @type {Description} */
  const description = await answer.json();
  document.getElementById("base")?.append(description.servers[0]?.url ?? base.href);
  document.getElementById("version")?.append(description.info.version);
  /** @type {Map<string, HTMLElement>} */
  const sections = new Map();
  for (const name of new Set(SERVICES.map(([, name]) => name ?? ""))) {
    const section = document.createElement("section");
    section.append(made("h2", name));
    sections.set(name, section);
  }
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      sections.get(serviceOf(operation))?.append(shown(path, method, operation));
    }
  }
  document.getElementById("operations")?.append(...[...sections.values()].filter((one) => one.childElementCount > 1));
} catch (error) {
  document.getElementById("problem")?.append(`The description cannot be had: ${error}`);
}
