import { el, link, section, table } from "../dom.js";
import { number, seconds, share, short, when } from "../format.js";
import { all, ask, question, windowOf } from "../mesh_api.js";
import { chooser, chosen } from "../windows.js";

export default async function models({ title, again }) {
  const asking = question("metrics", "GetOverview", { window: windowOf(chosen()) });
  const [found, figures] = await Promise.all([all(question("registry", "ListModels"), "models"), ask(asking).catch(() => ({ subjects: [] }))]);
  const of = new Map(figures.subjects.map((each) => [each.subject, each]));
  return {
    nodes: [
      el("div", { class: "top" }, el("div", {}, el("h1", {}, title), el("p", { class: "lead" }, "What the registry holds, and how it was used.")), chooser(again)),
      section(`${found.length} models`, table("Models", found, [
        ["model", (each) => link(`models/${encodeURIComponent(short(each.name))}`, short(each.name))],
        ["newest", (each) => `@${each.latest_version_id}`, "number"],
        ["calls/s", (each) => number(of.get(each.name)?.call_rate), "number"],
        ["errors", (each) => share(of.get(each.name)?.error_ratio), "number"],
        ["p99", (each) => seconds(of.get(each.name)?.p99_s), "number"],
        ["changed", (each) => when(each.update_time)],
        ["", (each) => each.description, "wide"],
      ], ["There is no model yet. ", el("code", {}, "servemesh model push NAME model.onnx"), " brings one."])),
    ],
  };
}
