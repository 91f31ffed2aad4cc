import { el, section, table } from "../dom.js";
import { bytes, short, when, word } from "../format.js";
import { all, ask, question, windowOf } from "../mesh_api.js";
import { chooser, chosen } from "../windows.js";

export default async function reports({ title, again }) {
  const found = await all(question("metrics", "ListReports"), "reports", 2);
  const said = el("p", { class: "query", role: "status" });
  const write = async (event) => {
    event.target.disabled = true;
    said.textContent = "Writing …";
    try {
      await ask(question("metrics", "CreateReport", { report: { kind: "demanded", window: { ...windowOf(chosen()), end_time: new Date().toISOString() } } }));
      again();
    } catch (error) {
      event.target.disabled = false;
      said.textContent = error.message;
    }
  };
  return {
    nodes: [
      el("div", { class: "top" }, el("div", {}, el("h1", {}, title), el("p", { class: "lead" }, "A page about a day, a week or any window, to keep and to send.")),
        el("div", { class: "choices" }, chooser(again))),
      el("p", {}, el("button", { onclick: write }, "Write a report of this window")), said,
      section("Reports", table("Reports", found, [
        ["report", (each) => short(each.name)], ["kind", (each) => each.kind], ["about", (each) => (each.model ? short(each.model) : "the mesh")],
        ["from", (each) => when(each.window.start_time)], ["to", (each) => when(each.window.end_time)], ["size", (each) => bytes(each.size_bytes), "number"],
        ["open", (each) => each.formats.map((format) => [el("a", { href: `/reports/${short(each.name)}.${word(format, "REPORT_FORMAT_")}`, target: "_blank", rel: "noopener" }, word(format, "REPORT_FORMAT_").toUpperCase()), " "])],
      ], "None has been written yet; one is written every day and every week.")),
    ],
  };
}
