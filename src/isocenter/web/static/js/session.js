// @ts-check
// Who is signed in. The session's cookie is the browser's to keep: scripts never see it.

import { BASE } from "./base.js";

/** @typedef {{authentication: boolean, user: string | null, scopes: string[], ohif: boolean, restricted: boolean}} Who `restricted`: to some studies */

let leaving = false;

/** Leaves for the page to sign in, which leads back here. Many requests are refused at once; a second leave would break off the first. */
export function askToSignIn() {
  if (leaving) return;
  leaving = true;
  location.replace(new URL(`login?next=${encodeURIComponent(location.pathname + location.search)}`, BASE));
}

/** @returns {Promise<Who>} */
export async function whoIsIt() {
  return (await fetch(new URL("session", BASE), { credentials: "same-origin" })).json();
}

/** Ends the session, and leaves. */
export async function signOut() {
  await fetch(new URL("session", BASE), { method: "DELETE", credentials: "same-origin" });
  location.replace(new URL("login", BASE));
}
