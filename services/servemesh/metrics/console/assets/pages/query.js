// Any question that reads, its answer as it is, and as a chart where it is a range.
import { lines, numbers } from "../charts.js";
import { el, section } from "../dom.js";
import { number } from "../format.js";
import { ask, question, rangeOf, Refusal } from "../mesh_api.js";
import { frame } from "./timelines.js";

const READS = /^(Get|List|Compare|Query)/; // a link is enough to ask, and must not be enough to change anything

export default async function query({ title, parts: [service, method], parameters }) {
  const asking = service && method ? question(service, method, parsed(decodeURIComponent(parameters || "{}"))) : rangeOf("servemesh.worker.calls", 3600, "RATE", { group_by: ["model"] });
  if (!READS.test(asking.method)) throw new Refusal("QUESTION_CHANGES", "this page asks only what reads: Get…, List…, Compare… and Query…");
  const answer = await ask(asking);
  const text = el("textarea", { id: "request", rows: 10, spellcheck: "false" });
  text.value = JSON.stringify(asking.request, null, 2);
  const where = el("input", { id: "method", value: `${asking.service}/${asking.method}`, size: 28 });
  const go = (event) => {
    event.preventDefault();
    const hash = `#/query/${where.value}?${encodeURIComponent(text.value)}`;
    if (location.hash === hash) window.dispatchEvent(new HashChangeEvent("hashchange"));
    else location.hash = hash;
  };
  return {
    nodes: [
      el("h1", {}, title), el("p", { class: "lead" }, "Every figure of the console is an answer of the mesh's own gRPC API. This is the question behind it, in protobuf's JSON; ask another."),
      el("section", {}, el("form", { onsubmit: go }, el("p", {}, el("label", { for: "method" }, "Method "), where), el("p", {}, el("label", { for: "request" }, "Request"), text), el("button", {}, "Ask"))),
      answer.tracks ? section("As a picture", lines({ label: asking.request.metric, ...frame(answer), unit: (value) => `${number(value)} ${answer.unit === "1" ? "" : answer.unit}`,
        tracks: answer.tracks.slice(0, 12).map((track) => ({ name: Object.values(track.labels).join(" ") || asking.request.metric, values: numbers(track.values) })) })) : null,
      section("Answer", el("pre", { tabindex: "0" }, JSON.stringify(answer, null, 2).slice(0, 200_000))),
    ],
  };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal("QUESTION_MALFORMED", "the request is not JSON");
  }
}
