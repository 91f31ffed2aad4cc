// How far back pages look: one choice for all of them, kept while the tab is open.
import { el } from "./dom.js";

const CHOICES = [[900, "15 minutes"], [3600, "1 hour"], [21600, "6 hours"], [86400, "1 day"], [604800, "7 days"]];
const KEY = "servemesh.window";

export function chosen() {
  const kept = Number(sessionStorage.getItem(KEY));
  return CHOICES.some(([seconds]) => seconds === kept) ? kept : 3600;
}

export function chooser(again) {
  return el("form", { class: "choices" },
    el("label", { for: "window" }, "Window"),
    el("select", { id: "window", onchange: (event) => { sessionStorage.setItem(KEY, event.target.value); again(); } },
      CHOICES.map(([seconds, name]) => el("option", { value: seconds, selected: seconds === chosen() }, name))));
}
