// @ts-check
// Who is signed in. The session's cookie is the browser's to keep: scripts never see it.

import { BASE } from "./base.js";

/** @typedef {{authentication: boolean, user: string | null, scopes: string[]}} Who */

/** Leaves for the page to sign in, which leads back here. */
export function askToSignIn() {
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
