import { lines, numbers } from "../charts.js";
import { asked, el, section, table, tag } from "../dom.js";
import { bytes, number, seconds, share, short, word } from "../format.js";
import { ask, question, rangeOf, windowOf } from "../mesh_api.js";
import { picture } from "../mesh.js";
import { chooser, chosen } from "../windows.js";
import { frame } from "./timelines.js";

const MOODS = { STATE_READY: "good", STATE_FAILED: "bad", STATE_LOADING: "warn", STATE_WARMING: "warn", STATE_DRAINING: "warn", STATE_ACTIVE: "good" };
const HOST = [
  ["Processor", "servemesh.process.cpu", "RATE", (value) => `${number(value)} cores`],
  ["Memory", "servemesh.process.memory", "LAST", bytes],
];

export default async function workers({ title, again }) {
  const window = chosen();
  const asking = question("metrics", "GetOverview", { window: windowOf(window), subject_kind: "SUBJECT_KIND_WORKER" });
  const [fleet, figures, ...charts] = await Promise.all([ask(question("fleet", "ListWorkers")), ask(asking), ...HOST.map((each) => chart(window, ...each))]);
  const of = new Map(figures.subjects.map((each) => [each.subject, each])), live = el("div");
  return {
    nodes: [
      el("div", { class: "top" }, el("div", {}, el("h1", {}, title), el("p", { class: "lead" }, "Processes that run models, and what each of them holds.")), chooser(again)),
      section("Now", live),
      section("Workers", table("Workers", fleet.workers, [
        ["worker", (each) => short(each.name)],
        ["state", (each) => tag(word(each.state, "STATE_"), MOODS[each.state])],
        ["slots", (each) => each.slots.map((slot) => [tag(short(slot.version), MOODS[slot.state]), slot.reason ? ` ${slot.reason} ` : " "]), "wide"],
        ["calls/s", (each) => number(of.get(each.name)?.call_rate), "number"],
        ["p99", (each) => seconds(of.get(each.name)?.p99_s), "number"],
        ["busy", (each) => share(of.get(each.name)?.busy_share), "number"],
        ["memory for models", (each) => `${bytes(each.slots.reduce((sum, slot) => sum + Number(slot.memory_bytes), 0))} of ${bytes(each.memory_bytes_max)}`, "number"],
        ["runs on", (each) => each.providers.map((provider) => provider.replace("ExecutionProvider", "")).join(", ")],
      ], ["No worker has a lease. ", el("code", {}, "servemesh up --workers 2"), " starts some."]), asked(asking)),
      el("div", { class: "row" }, charts),
    ],
    beat: (beat) => live.replaceChildren(picture(beat)),
  };
}

async function chart(window, title, metric, measure, unit) {
  const asking = rangeOf(metric, window, measure, { group_by: ["instance"] });
  const answer = await ask(asking);
  const tracks = answer.tracks.map((track) => ({ name: track.labels.instance || "?", values: numbers(track.values) }));
  tracks.sort((a, b) => peak(b.values) - peak(a.values));
  return section(`${title} of each process`, lines({ label: title, ...frame(answer), tracks: tracks.slice(0, 6), unit }), asked(asking));
}

function peak(values) {
  return Math.max(0, ...values.filter(Number.isFinite));
}
