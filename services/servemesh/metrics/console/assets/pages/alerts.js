import { el, section, table, tag } from "../dom.js";
import { when, word } from "../format.js";
import { ask, question } from "../mesh_api.js";
import { MOODS } from "./overview.js";

const STATES = { ALERT_STATE_FIRING: "bad", ALERT_STATE_PENDING: "warn", ALERT_STATE_RESOLVED: "good" };

export default async function alerts({ title, again }) {
  const [found, rules, silences] = await Promise.all([
    ask(question("metrics", "ListAlerts", { include_resolved: true })), ask(question("metrics", "ListAlertRules")), ask(question("metrics", "ListSilences")),
  ]);
  const said = el("p", { class: "query", role: "status" });
  const change = async (question_) => { try { await ask(question_); again(); } catch (error) { said.textContent = error.message; } };
  const silence = (alert) => change(question("metrics", "CreateSilence", {
    request_id: crypto.randomUUID(),
    silence: { filters: [{ label: "rule", values: [alert.rule] }, ...Object.entries(alert.labels).map(([label, value]) => ({ label, values: [value] }))],
      end_time: new Date(Date.now() + 3600e3).toISOString(), comment: "silenced for an hour from the console" },
  }));
  const shown = new Map(rules.rules.map((rule) => [rule.rule, rule]));
  return {
    nodes: [
      el("h1", {}, title), el("p", { class: "lead" }, "What needs somebody, and what to do about it."), said,
      section("Alerts", table("Alerts", found.alerts, [
        ["state", (each) => [tag(word(each.state, "ALERT_STATE_"), STATES[each.state]), each.silenced ? " silenced" : ""]],
        ["rule", (each) => tag(each.rule, MOODS[each.severity])],
        ["", (each) => each.text, "wide"],
        ["since", (each) => when(each.fire_time || each.start_time)],
        ["what to do", (each) => el("code", {}, each.runbook)],
        ["", (each) => (each.state === "ALERT_STATE_FIRING" && !each.silenced ? el("button", { onclick: () => silence(each) }, "Silence for an hour") : "")],
      ], "Nothing is wrong that a rule knows of.")),
      section("Silences", table("Silences", silences.silences, [
        ["of", (each) => each.filters.map((filter) => `${filter.label} ${filter.values.join(" or ")}`).join(", "), "wide"],
        ["until", (each) => when(each.end_time)], ["why", (each) => each.comment],
        ["", (each) => el("button", { onclick: () => change(question("metrics", "DeleteSilence", { name: each.name })) }, "End now")],
      ], "Nothing is silenced.")),
      section("Rules", table("Rules", [...shown.values()], [
        ["rule", (each) => tag(each.rule, MOODS[each.severity])], ["fires when", (each) => el("code", {}, each.condition), "wide"], ["meaning", (each) => each.summary, "wide"],
      ], "There are no rules.")),
    ],
  };
}
