import { lines } from "../charts.js";
import { asked, el, link, section, table } from "../dom.js";
import { number, short, when } from "../format.js";
import { ask, question } from "../mesh_api.js";

export default async function capacity({ title }) {
  const asking = question("metrics", "GetCapacity");
  const found = await ask(asking);
  const charts = await Promise.all(found.models.slice(0, 6).map(async (each) => section(short(each.model), await chartOf(each.model))));
  return {
    nodes: [
      el("h1", {}, title), el("p", { class: "lead" }, "What the next day will ask for, and whether there is enough."),
      el("ul", { class: "tiles" },
        tile("Workers", found.worker_count), tile("Needed now", found.needed_now, found.needed_now > found.worker_count),
        tile(`Needed by ${when(found.peak_time)}`, `${found.needed_at_peak} (${found.needed_at_peak_low}–${found.needed_at_peak_high})`, found.needed_at_peak > found.worker_count)),
      section("Models", table("Capacity of models", found.models, [
        ["model", (each) => link(`models/${encodeURIComponent(short(each.model))}`, short(each.model))],
        ["rows/s now", (each) => number(each.demand), "number"], ["at the peak", (each) => number(each.peak_demand), "number"], ["peak", (each) => when(each.peak_time)],
        ["one worker does", (each) => `${number(each.rows_per_worker)}/s`, "number"],
        ["", (each) => (each.exceeded_time ? `exceeds capacity ${when(each.exceeded_time)}` : "enough"), "wide"],
      ], "No model has been called yet."), asked(asking)),
      el("div", { class: "row" }, charts),
    ],
  };
}

function tile(what, value, short_ = false) {
  return el("li", { class: short_ ? "warn" : "" }, el("span", { class: "what" }, what), el("span", { class: "value" }, String(value)));
}

// As far ahead as there is history for: a day, else four hours, else a quarter of one.
const HORIZONS = ["86400s", "14400s", "900s"];

// The forecast of a model as a picture, or why there is none.
export async function chartOf(model) {
  let reason;
  for (const horizon of HORIZONS) {
    const asking = question("metrics", "GetForecast", { model, horizon });
    try {
      return drawn(model, await ask(asking), asking);
    } catch (error) {
      reason ??= error.message;
      if (!error.isForLater) break; // a shorter horizon would fare no better
    }
  }
  return el("p", { class: "empty" }, reason);
}

function drawn(model, found, asking) {
  const values = (key) => found.points.map((point) => Number(point[key]));
  return el("div", {},
    lines({ label: `Demand for ${model}`, begin: new Date(found.points[0].time).getTime() / 1000, step: Number.parseFloat(found.step), unit: (value) => `${number(value)}/s`,
      tracks: [{ kind: "band", low: values("low"), high: values("high"), color: "c1" }, { name: "rows per second, with its 90 % interval", values: values("expected"), color: "c1" }] }),
    el("p", { class: "query" }, `By ${found.method.replaceAll("_", " ")}; it missed by ${number(found.backtest_error)} rows/s in the backtest, seasonal naive by ${number(found.naive_error)}.`), asked(asking));
}
