// The live mesh as a picture: clients, edges, workers with their slots; traffic is the width of a line.
import { el, svg } from "./dom.js";
import { number, short, word } from "./format.js";

// Names as long as there is room for: few slots have some, many are small squares.
const WIDE = { most: 4, columns: 2, width: 100, letters: 14 }, SMALL = { most: 14, columns: 7, width: 21, letters: 2 };
const MOODS = { READY: "good", DRAINING: "warn", LOADING: "warn", WARMING: "warn", FAILED: "bad", UNLOADED: "" };

export function picture(beat) {
  const workers = [...(beat.fleet?.workers ?? [])].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  if (!workers.length) {
    return el("p", { class: "empty" }, beat.errors.fleet ? `The registry does not answer: ${beat.errors.fleet}` : "No worker has a lease. ", el("code", {}, "servemesh up --workers 2"), " starts some.");
  }
  const rates = new Map((beat.workers?.subjects ?? []).map((each) => [each.subject, each]));
  const edges = edgesOf(beat);
  const height = Math.max(120, workers.length * 58 + 20);
  const middle = height / 2;
  const at = (index, count) => ((index + 0.5) * height) / count;
  const most = Math.max(1, ...workers.map((worker) => rate(rates.get(worker.name))));
  const width = (value) => (value > 0 ? 1.5 + 12 * Math.sqrt(value / most) : 1);
  const flows = [], nodes = [];
  const total = workers.reduce((sum, worker) => sum + rate(rates.get(worker.name)), 0);
  edges.forEach((edge, index) => {
    const y = at(index, edges.length);
    flows.push(flow(96, middle, 206, y, width(total / edges.length), edge.ejected > 0));
    workers.forEach((worker, place) => flows.push(flow(306, y, 400, at(place, workers.length), width(rate(rates.get(worker.name)) / edges.length), worker.state !== "STATE_ACTIVE")));
    nodes.push(node(206, y, 100, 40, edge.ejected > 0 ? "bad" : "good", edge.name, edge.ejected > 0 ? `${edge.ejected} ejected` : "all workers in"));
  });
  workers.forEach((worker, place) => {
    const y = at(place, workers.length), figures = rates.get(worker.name);
    const failed = worker.slots.some((slot) => slot.state === "STATE_FAILED");
    nodes.push(node(400, y, 150, 44, worker.state !== "STATE_ACTIVE" ? "warn" : failed ? "bad" : "good", short(worker.name),
      worker.state === "STATE_ACTIVE" ? `${number(rate(figures))}/s, busy ${percent(figures)}` : word(worker.state, "STATE_")));
    const box = worker.slots.length <= WIDE.most ? WIDE : SMALL;
    worker.slots.slice(0, box.most).forEach((slot, index) => {
      const state = slot.state.replace("STATE_", ""), name = short(slot.version);
      const left = 562 + (index % box.columns) * (box.width + 5), top = y - 22 + Math.floor(index / box.columns) * 24;
      nodes.push(svg("rect", { class: `node ${MOODS[state]}`, x: left, y: top, width: box.width, height: 20, rx: 4 },
        svg("title", {}, `${name} is ${state}${slot.message ? `: ${slot.message}` : ""}`)),
        svg("text", { x: left + box.width / 2, y: top + 14, "text-anchor": "middle" }, name.slice(0, box.letters)));
    });
    if (worker.slots.length > box.most) nodes.push(svg("text", { x: 750, y: y + 5 }, `+${worker.slots.length - box.most}`));
  });
  nodes.push(node(6, middle, 90, 40, "", "clients", `${number(total)}/s`));
  return el("figure", { class: "mesh", tabindex: "0" }, svg("svg", { viewBox: `0 0 780 ${height}`, role: "img", "aria-label": told(workers, edges, rates) }, flows, nodes));
}

function edgesOf(beat) {
  const tracks = beat.edges?.tracks ?? [];
  const known = tracks.map((track, index) => ({ name: tracks.length > 1 ? track.labels.instance || `Envoy ${index + 1}` : "Envoy", ejected: last(track.values) }));
  return known.length ? known : [{ name: "Envoy", ejected: 0 }];
}

function last(values) {
  return values.map(Number).filter(Number.isFinite).at(-1) ?? 0;
}

function rate(figures) {
  const value = Number(figures?.call_rate);
  return Number.isFinite(value) ? value : 0;
}

function percent(figures) {
  const value = Number(figures?.busy_share);
  return Number.isFinite(value) ? `${Math.round(value * 100)} %` : "–";
}

function flow(x1, y1, x2, y2, width, bad) {
  const half = (x1 + x2) / 2;
  return svg("path", { class: bad ? "flow bad" : "flow", "stroke-width": width.toFixed(1), d: `M${x1} ${y1}C${half} ${y1} ${half} ${y2} ${x2} ${y2}` });
}

function node(x, y, width, height, mood, title, text) {
  return svg("g", {}, svg("rect", { class: `node ${mood}`, x, y: y - height / 2, width, height, rx: 7 }),
    svg("text", { class: "strong", x: x + 10, y: y - 3 }, title), svg("text", { class: mood === "bad" ? "badtext" : "", x: x + 10, y: y + 13 }, text));
}

function told(workers, edges, rates) {
  const ejected = edges.reduce((sum, edge) => sum + edge.ejected, 0);
  const each = workers.map((worker) => `${short(worker.name)} ${number(rate(rates.get(worker.name)))} calls a second, ${worker.slots.filter((slot) => slot.state === "STATE_READY").length} slots ready`);
  return `The mesh: ${edges.length} edge${edges.length > 1 ? "s" : ""}${ejected ? `, ${ejected} workers ejected` : ""}; ${each.join("; ")}`;
}
