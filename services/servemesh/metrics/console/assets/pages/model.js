import { lines, pareto } from "../charts.js";
import { asked, el, link, section, table, tag } from "../dom.js";
import { bytes, number, seconds, share, short, when } from "../format.js";
import { all, ask, question, windowOf } from "../mesh_api.js";
import { chooser, chosen } from "../windows.js";
import { chartOf } from "./capacity.js";
import { tiles } from "./figures.js";
import { latency, throughput } from "./timelines.js";

export default async function model({ parts: [id], again }) {
  const name = `models/${id}`, window = chosen(), filters = [{ label: "model", values: [id] }];
  const asking = question("metrics", "GetOverview", { window: windowOf(window), subject_kind: "SUBJECT_KIND_VERSION" });
  const [{ model: found }, versions, aliases, calls, spread, figures, optimizations, forecast] = await Promise.all([
    ask(question("registry", "GetModel", { name })),
    all(question("registry", "ListModelVersions", { parent: name }), "model_versions"),
    all(question("registry", "ListAliases", { parent: name }), "aliases"),
    throughput(window, filters, ["version"]), latency(window, filters), ask(asking),
    all(question("optimizer", "ListOptimizations"), "optimizations").catch(() => []),
    chartOf(name),
  ]);
  const moves = await Promise.all(aliases.map((alias) => all(question("registry", "ListAliasMoves", { parent: alias.name }), "alias_moves", 1)));
  const mine = figures.subjects.filter((each) => each.subject.startsWith(`${name}/`));
  const own = (version) => mine.find((each) => each.subject === version.name);
  const tagsOf = (version) => aliases.filter((alias) => alias.version === version.name).map((alias) => tag(alias.name.split("/").at(-1), "good"));
  const results = optimizations.filter((each) => each.source_version.startsWith(`${name}/`) && each.result);
  return {
    nodes: [
      el("div", { class: "top" }, el("div", {}, el("h1", {}, id), el("p", { class: "lead" }, found.description || labels(found.labels))), chooser(again)),
      mine.length === 1 ? tiles(mine[0], asking) : null,
      section("Versions", table("Versions", [...versions].sort((a, b) => b.version_id - a.version_id), [
        ["version", (each) => [`@${each.version_id} `, ...tagsOf(each)]],
        ["size", (each) => bytes(each.size_bytes), "number"],
        ["made from", (each) => each.source_versions.map(short).join(", ") || "pushed"],
        ["calls/s", (each) => number(own(each)?.call_rate), "number"],
        ["errors", (each) => share(own(each)?.error_ratio), "number"],
        ["p99", (each) => seconds(own(each)?.p99_s), "number"],
        ["created", (each) => when(each.create_time)],
        ["labels", (each) => labels(each.labels), "wide"],
      ], "No version is visible yet."), asked(asking)),
      el("div", { class: "row" }, calls, spread),
      el("div", { class: "row" },
        section("Aliases over time", table("Moves of aliases", aliases.flatMap((alias, index) => moves[index].map((move) => ({ ...move, alias: alias.name.split("/").at(-1) }))), [
          ["when", (each) => when(each.move_time)], ["alias", (each) => each.alias], ["to", (each) => (each.version ? short(each.version) : "nowhere")],
        ], ["No alias points here. ", el("code", {}, `servemesh model alias ${id} prod 1`), " sets one."])),
        section("Demand ahead", forecast)),
      ...results.slice(0, 3).map(optimised),
    ],
  };
}

function labels(map) {
  return Object.entries(map ?? {}).map(([key, value]) => `${key}=${value}`).join(", ");
}

export function optimised(each) {
  const points = [{ name: "before", size: 1, speed: 1, mood: "c6", best: false, text: "before: size 1, speed 1" }];
  each.result.variants.forEach((variant) => {
    const speed = variant.speeds[0]?.speedup?.value ?? 1, way = variant.steps.map((step) => step.pass ?? step.pass_id ?? "").join(" + ");
    points.push({ name: variant.pareto ? way : "", size: variant.size_ratio, speed, best: variant.pareto, mood: variant.accepted ? "c1" : "c2",
      text: `${way}: size ${number(variant.size_ratio)}, speed ${number(speed)}, ${variant.accepted ? "accepted" : `refused: ${variant.refusals.join("; ")}`}` });
  });
  return section(`Optimisation ${short(each.name)} of ${short(each.source_version)}`, pareto(points),
    el("ul", { class: "legend" }, el("li", {}, el("i", { class: "c1" }), "accepted"), el("li", {}, el("i", { class: "c2" }), "refused"), el("li", {}, el("i", { class: "c6" }), "before")),
    el("p", { class: "query" }, link(`query/optimizer/GetOptimization?${encodeURIComponent(JSON.stringify({ name: each.name }))}`, "query")));
}
