// @ts-check
// The page to sign in: what is typed becomes a session's cookie, which scripts cannot read, and nothing of it is kept.

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`no ${id}`);
  return found;
}

const form = element("form", HTMLFormElement);
const problem = element("problem", HTMLElement);
const enter = element("enter", HTMLButtonElement);
const other = element("other", HTMLButtonElement);
const parts = { passcode: element("by-passcode", HTMLElement), token: element("by-token", HTMLElement) };
const first = { passcode: element("user", HTMLInputElement), token: element("token", HTMLInputElement) };
const passcode = element("passcode", HTMLInputElement);
const NAMES = { passcode: "Use a passcode instead", token: "Use an access token instead" };

/** @typedef {keyof typeof parts} Way */
const SESSION = new URL("../session", import.meta.url);
/** Where the user wanted to go: of this server only, whatever the address says. */
const target = (() => {
  const home = new URL("../", import.meta.url);
  try {
    const wanted = new URL(new URLSearchParams(location.search).get("next") ?? home, home);
    return wanted.origin === location.origin ? wanted : home;
  } catch {
    return home;
  }
})();

/** @type {Way} */
let way = "token";

/** @param {Way} chosen @param {boolean} focus */
function show(chosen, focus) {
  way = chosen;
  for (const one of /** @type {Way[]} */ (["passcode", "token"])) parts[one].hidden = one !== chosen;
  other.textContent = NAMES[chosen === "token" ? "passcode" : "token"];
  if (focus) first[chosen].focus();
}

function given() {
  return way === "token" ? { token: first.token.value } : { user: first.passcode.value, passcode: passcode.value };
}

/** @param {Response} response @returns {Promise<string>} */
async function words(response) {
  if (response.status === 429) return `Too many tries. Wait ${response.headers.get("retry-after") ?? "some"} seconds.`;
  if (response.status === 401) return way === "token" ? "This token is not known, or has expired." : "User or passcode are wrong.";
  return (await response.json().catch(() => null))?.error?.message ?? `The server answered ${response.status}.`;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  enter.disabled = true;
  problem.textContent = "";
  try {
    const response = await fetch(SESSION, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(given()),
      credentials: "same-origin",
    });
    if (response.ok) {
      location.replace(target);
      return;
    }
    problem.textContent = await words(response);
  } catch {
    problem.textContent = "The server cannot be reached.";
  }
  enter.disabled = false;
  (way === "token" ? first.token : passcode).select();
});
other.addEventListener("click", () => show(way === "token" ? "passcode" : "token", true));

// Who followed a link from another site comes without the cookie he has (SameSite=Strict), and is led here. Asked from
// this page, the server knows him.
const state = await fetch(SESSION, { credentials: "same-origin" })
  .then((response) => response.json())
  .catch(() => ({ authentication: true, ways: ["token"], user: null }));
if (!state.authentication || state.user) location.replace(target);
else {
  other.hidden = state.ways.length < 2;
  show(state.ways.includes("passcode") ? "passcode" : "token", true);
}
