// Routes, the beat of the mesh, and what every page has: a title, a way to say that it loads, fails or is empty.
import { el } from "./dom.js";
import { listen } from "./mesh_api.js";
import alerts from "./pages/alerts.js";
import capacity from "./pages/capacity.js";
import deployments from "./pages/deployments.js";
import jobs from "./pages/jobs.js";
import model from "./pages/model.js";
import models from "./pages/models.js";
import overview from "./pages/overview.js";
import query from "./pages/query.js";
import reports from "./pages/reports.js";
import workers from "./pages/workers.js";

const PAGES = [
  ["", "Overview", overview], ["models", "Models", models], ["deployments", "Deployments", deployments], ["workers", "Workers", workers],
  ["jobs", "Jobs", jobs], ["alerts", "Alerts", alerts], ["capacity", "Forecast", capacity], ["reports", "Reports", reports], ["query", "Query", query],
];
const content = document.getElementById("content"), nav = document.getElementById("nav"), status = document.getElementById("beat");
let latest = null, shown = null, visit = 0;

function route() {
  const [path, parameters = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [first, ...rest] = path.split("/");
  const parts = rest.map(decodeURIComponent);
  if (first === "models" && parts.length) return { word: "models", title: parts[0], page: model, parts, parameters };
  const [word, title, page] = PAGES.find(([word]) => word === first) ?? PAGES[0];
  return { word, title, page, parts, parameters };
}

async function show() {
  const { word, title, page, parts, parameters } = route();
  const mine = (visit += 1);
  document.title = `${title} · Servemesh`;
  nav.replaceChildren(...PAGES.map(([path, name]) => el("a", { href: `#/${path}`, "aria-current": path === word ? "page" : null }, name)));
  shown = null;
  content.replaceChildren(el("h1", {}, title), el("p", { class: "loading", role: "status" }, "Asking the mesh …"));
  try {
    const drawn = await page({ title, parts, parameters, beat: latest, again: show });
    if (mine !== visit) return; // the reader has gone on
    shown = drawn;
    content.replaceChildren(...[drawn.nodes].flat(Infinity).filter(Boolean));
    if (latest) drawn.beat?.(latest);
  } catch (error) {
    if (mine !== visit) return;
    content.replaceChildren(el("h1", {}, title), el("div", { class: error.isForLater ? "notice" : "notice bad", role: error.isForLater ? "status" : "alert" }, el("p", {}, error.message),
      el("p", { class: "query" }, error.reason ?? "UNEXPECTED"), el("button", { onclick: show }, "Try again")));
    if (!error.reason) throw error;
  }
}

listen((beat) => {
  latest = beat;
  shown?.beat?.(beat);
}, (state, text) => {
  status.className = `beat ${state}`;
  status.textContent = state === "live" ? "live" : text ?? "connection lost, trying again";
});
window.addEventListener("hashchange", async () => {
  await show();
  content.focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
show();
