import { asked, el, link, section, table, tag } from "../dom.js";
import { short, when } from "../format.js";
import { ask, question, windowOf } from "../mesh_api.js";
import { picture } from "../mesh.js";
import { chooser, chosen } from "../windows.js";
import { subjects, tiles } from "./figures.js";
import { annotations, latency, throughput } from "./timelines.js";

export const MOODS = { SEVERITY_CRITICAL: "bad", SEVERITY_WARNING: "warn", SEVERITY_INFO: "" };

export default async function overview({ title, beat, again }) {
  const window = chosen(), asking = question("metrics", "GetOverview", { window: windowOf(window) });
  const [found, calls, spread, changes] = await Promise.all([ask(asking), throughput(window), latency(window), annotations(window)]);
  const live = el("div"), firing = el("div");
  return {
    nodes: [
      el("div", { class: "top" }, el("div", {}, el("h1", {}, title), el("p", { class: "lead" }, "Is it well, what is it doing, what changed.")), chooser(again)),
      firing,
      tiles(found.mesh, asking, [
        ["Workers", String(found.worker_count), found.worker_count ? "" : "bad", "#/workers"],
        ["Alerts firing", String(found.firing_count), found.firing_count ? "bad" : "", "#/alerts"],
      ]),
      section("The mesh, now", live),
      el("div", { class: "row" }, calls, spread),
      section("Models", subjects("Model figures", found.subjects, (each) => `#/models/${encodeURIComponent(short(each.subject))}`,
        ["No model was called in this window. ", el("code", {}, "servemesh infer NAME"), " calls one."]), asked(asking)),
      section("What changed", table("Changes", changes.slice(0, 12), [
        ["when", (each) => when(each.at)], ["what", (each) => tag(each.kind)], ["", (each) => each.text, "wide"],
      ], "Nothing changed in this window.")),
    ],
    beat: (beat) => {
      live.replaceChildren(picture(beat));
      const alerts = (beat.alerts?.alerts ?? []).filter((alert) => alert.state === "ALERT_STATE_FIRING" && !alert.silenced);
      firing.replaceChildren(...alerts.slice(0, 3).map((alert) => el("div", { class: `notice ${MOODS[alert.severity]}` }, tag(alert.rule, MOODS[alert.severity]), " ", alert.text, " ", link("alerts", "what to do"))));
    },
  };
}
