import { el, link, section, table, tag } from "../dom.js";
import { short, when, word } from "../format.js";
import { all, question } from "../mesh_api.js";

const MOODS = { STATE_READY: "good", STATE_PENDING: "warn", STATE_FAILED: "bad" };

export default async function deployments({ title }) {
  const asking = question("registry", "ListDeployments"), found = await all(asking, "deployments");
  return {
    nodes: [
      el("h1", {}, title), el("p", { class: "lead" }, "What is to be served, and how far that is so."),
      section(`${found.length} deployments`, table("Deployments", found, [
        ["model", (each) => link(`models/${encodeURIComponent(short(each.model))}`, short(each.model))],
        ["state", (each) => tag(word(each.state, "STATE_"), MOODS[each.state])],
        ["traffic", (each) => shares(each.serving.length ? each.serving : each.traffic)],
        ["ready", (each) => `${each.ready_replicas}${each.replicas === undefined ? "" : ` of ${each.replicas}`}`, "number"],
        ["why", (each) => (each.reason ? `${each.reason}: ${each.message}` : ""), "wide"],
        ["changed", (each) => when(each.update_time)],
      ], ["Nothing is deployed. ", el("code", {}, "servemesh deploy NAME"), " has a model served."])),
    ],
  };
}

function shares(traffic) {
  return traffic.map((each) => `${short(each.target).includes("@") ? `@${each.target.split("/").at(-1)}` : each.target.split("/").at(-1)} ${each.weight_percent} %`).join(", ");
}
