// @ts-check
// Who is signed in, and the way out; what one may not do is not offered, and what else is here is.

import { h, iconButton } from "../dom.js";
import { signOut, whoIsIt } from "../session.js";

/** @param {HTMLElement} page with a bar */
export async function showAccount(page) {
  const { authentication, user, scopes, ohif } = await whoIsIt();
  page.classList.toggle("has-ohif", ohif);
  page.dataset["scopes"] = scopes.join(" ");
  const bar = page.querySelector(".bar-end");
  if (!scopes.includes("write")) bar?.querySelector(".button.primary")?.remove();
  if (!authentication || !user) return;
  bar?.append(h("span.account", { title: `Signed in as ${user}` }, user), iconButton("leave", "Sign out", () => void signOut()));
}
