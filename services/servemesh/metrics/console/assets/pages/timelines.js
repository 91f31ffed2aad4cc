// Charts of calls over a window: throughput and how latency is spread.
import { heat, lines, numbers } from "../charts.js";
import { asked, section } from "../dom.js";
import { number, seconds } from "../format.js";
import { ask, question, rangeOf, windowOf } from "../mesh_api.js";

const QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

export async function throughput(window, filters = [], by = ["model"]) {
  const asking = rangeOf("servemesh.worker.calls", window, "RATE", { group_by: by, filters });
  const [answer, marks] = await Promise.all([ask(asking), annotations(window)]);
  const tracks = answer.tracks.map((track) => ({ name: Object.values(track.labels).join(" ") || "all", values: numbers(track.values) }));
  tracks.sort((a, b) => total(b.values) - total(a.values));
  return section("Throughput", lines({ label: "Calls per second", ...frame(answer), tracks: tracks.slice(0, 6), unit: (value) => `${number(value)}/s`, marks }), asked(asking));
}

export async function latency(window, filters = []) {
  const askings = QUANTILES.map((quantile) => rangeOf("servemesh.worker.call.duration", window, "QUANTILE", { quantile, filters }));
  const answers = await Promise.all(askings.map(ask));
  const quantiles = answers.map((answer, index) => ({ q: QUANTILES[index], values: numbers(answer.tracks[0]?.values ?? []) }));
  return section("Latency", heat({ label: "How long calls took", ...frame(answers[0]), quantiles, unit: seconds }), asked(askings[2], "query of the median"));
}

export async function annotations(window) {
  try {
    const found = await ask(question("metrics", "ListAnnotations", { window: windowOf(window), page_size: 50 }));
    return found.annotations.map((each) => ({ time: new Date(each.time).getTime() / 1000, text: each.text, kind: each.kind, resource: each.resource, at: each.time }));
  } catch {
    return [];
  }
}

export function frame(answer) {
  return { begin: new Date(answer.start_time).getTime() / 1000, step: Number.parseFloat(answer.step) };
}

function total(values) {
  return values.filter(Number.isFinite).reduce((sum, value) => sum + value, 0);
}
