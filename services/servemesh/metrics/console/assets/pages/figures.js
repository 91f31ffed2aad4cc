// Tiles and tables of figures, as metrics.v1 gives them; docs/metrics.md defines each.
import { el, queryPath, table } from "../dom.js";
import { number, seconds, share, short } from "../format.js";

export const TILES = [
  ["Calls", (figures) => `${number(figures.call_rate)}/s`],
  ["Errors", (figures) => share(figures.error_ratio), (figures) => (figures.error_ratio > 0.01 ? "bad" : figures.error_ratio > 0.001 ? "warn" : "")],
  ["p50", (figures) => seconds(figures.p50_s)],
  ["p99", (figures) => seconds(figures.p99_s)],
  ["Busy", (figures) => share(figures.busy_share), (figures) => (figures.busy_share > 0.9 ? "warn" : "")],
  ["Rows per run", (figures) => number(figures.rows_per_run)],
];

export function tiles(figures, question, more = []) {
  const all = [...TILES.map(([what, text, mood]) => [what, text(figures), mood?.(figures) ?? "", queryPath(question)]), ...more];
  return el("ul", { class: "tiles" }, all.map(([what, text, mood, path]) =>
    el("li", { class: mood }, el("span", { class: "what" }, what),
      path ? el("a", { class: "value", href: path, "aria-label": `${what} ${text}: the query behind it` }, text) : el("span", { class: "value" }, text))));
}

export function subjects(caption, figures, path, empty) {
  return table(caption, figures, [
    [caption.split(" ")[0], (each) => el("a", { href: path(each) }, short(each.subject))],
    ["calls/s", (each) => number(each.call_rate), "number"],
    ["errors", (each) => share(each.error_ratio), "number"],
    ["p50", (each) => seconds(each.p50_s), "number"],
    ["p99", (each) => seconds(each.p99_s), "number"],
    ["queue share", (each) => share(each.queue_share), "number"],
    ["rows per run", (each) => number(each.rows_per_run), "number"],
    ["busy", (each) => share(each.busy_share), "number"],
    ["CPU s/1000", (each) => number(each.cpu_s_per_1000), "number"],
  ], empty);
}
