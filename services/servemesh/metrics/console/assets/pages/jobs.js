import { el, link, section, table, tag } from "../dom.js";
import { short, when, word } from "../format.js";
import { all, question } from "../mesh_api.js";
import { optimised } from "./model.js";

const MOODS = { STATE_SUCCEEDED: "good", STATE_FAILED: "bad", STATE_RUNNING: "warn", STATE_QUEUED: "", STATE_CANCELLED: "", STATE_REFUSED: "warn" };
const KINDS = [["Optimizations", "optimizations"], ["Conversions", "conversions"], ["Evaluations", "evaluations"]];

export default async function jobs({ title, again }) {
  const found = await Promise.all(KINDS.map(([kind, key]) => all(question("optimizer", `List${kind}`), key, 2)));
  const open = found.flat().some((each) => ["STATE_RUNNING", "STATE_QUEUED"].includes(each.job.state));
  let beats = 0;
  return {
    nodes: [
      el("h1", {}, title), el("p", { class: "lead" }, "Long work: what makes new versions out of old ones, and proves what it gained."),
      ...KINDS.map(([kind], index) => section(kind, table(kind, found[index], [
        ["job", (each) => link(`query/optimizer/Get${kind.slice(0, -1)}?${encodeURIComponent(JSON.stringify({ name: each.name }))}`, short(each.name))],
        ["of", (each) => (each.source_version ?? each.version ?? each.model ? short(each.source_version ?? each.version ?? each.model) : "")],
        ["state", (each) => tag(word(each.job.state, "STATE_"), MOODS[each.job.state])],
        ["progress", (each) => progress(each.job)],
        ["why", (each) => (each.job.error ? `${each.job.error.reason}: ${each.job.error.message}` : each.recipe ?? ""), "wide"],
        ["asked for", (each) => when(each.job.create_time)],
      ], "There is none."))),
      ...found[0].filter((each) => each.result).slice(0, 2).map(optimised),
    ],
    // Only while something moves, and not so often that reading is disturbed.
    beat: () => { beats += 1; if (open && beats % 3 === 0) again(); },
  };
}

function progress(job) {
  if (job.state !== "STATE_RUNNING") return "";
  return [el("progress", { max: 100, value: job.progress_percent, "aria-label": `${job.step || "running"}, ${Math.round(job.progress_percent)} per cent` }), ` ${Math.round(job.progress_percent)} % ${job.step}`];
}
