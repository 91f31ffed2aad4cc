// Pictures out of numbers: lines, bands, heat and points, as SVG that reads well in both themes.
import { el, svg } from "./dom.js";

const LEFT = 66, RIGHT = 10, TOP = 8, BOTTOM = 22;
// On a phone charts are drawn narrower, so that their words stay as large.
const width = () => (innerWidth < 620 ? 360 : 640);

// `tracks`: [{name, values, kind?: "line"|"dashed"|"band", low?, high?, color?}], values on equal steps.
export function lines({ label, begin, step, tracks, unit, marks = [], height = 200 }) {
  const drawn = tracks.filter((track) => (track.values ?? track.high).some(Number.isFinite));
  if (!drawn.length) return el("p", { class: "empty" }, "Nothing was measured in this window.");
  const count = Math.max(...drawn.map((track) => (track.values ?? track.high).length));
  const top = ceiling(Math.max(...drawn.flatMap((track) => track.values ?? track.high).filter(Number.isFinite)));
  const x = (index) => LEFT + ((width() - LEFT - RIGHT) * (index + 0.5)) / count;
  const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - value / top);
  const parts = [...grid(top, y, unit), ...clock(begin, step, count, x, height)];
  for (const mark of marks) {
    const at = (mark.time - begin) / step;
    if (at >= 0 && at <= count) {
      parts.push(svg("line", { class: "mark", x1: x(at - 0.5), x2: x(at - 0.5), y1: TOP, y2: height - BOTTOM }, svg("title", {}, mark.text)));
    }
  }
  drawn.forEach((track, index) => {
    const color = track.color ?? `c${(index % 6) + 1}`;
    if (track.kind === "band") parts.push(svg("path", { class: `band ${color}`, d: band(track.low, track.high, x, y) }));
    else parts.push(svg("path", { class: `line ${color} ${track.kind ?? ""}`, d: line(track.values, x, y) }));
  });
  const named = drawn.filter((track) => track.name);
  return el("figure", { tabindex: "0" },
    svg("svg", { viewBox: `0 0 ${width()} ${height}`, role: "img", "aria-label": `${label}: ${named.map((track) => summary(track, unit)).join("; ")}` }, parts),
    named.length > 1 ? el("ul", { class: "legend" }, named.map((track, index) =>
      el("li", {}, el("i", { class: track.color ?? `c${(index % 6) + 1}` }), track.name))) : null);
}

// How latency is spread over time, from quantiles: dark where many calls lie.
export function heat({ label, begin, step, quantiles, unit, height = 200 }) {
  const known = quantiles.flatMap((each) => each.values).filter((value) => Number.isFinite(value) && value > 0);
  if (!known.length) return el("p", { class: "empty" }, "Nothing was measured in this window.");
  const low = Math.log10(Math.min(...known)) - 0.1, high = Math.log10(Math.max(...known)) + 0.1;
  const count = quantiles[0].values.length, rows = 24;
  const x = (index) => LEFT + ((width() - LEFT - RIGHT) * index) / count;
  const y = (power) => TOP + (height - TOP - BOTTOM) * (1 - (power - low) / (high - low));
  const parts = [];
  for (let column = 0; column < count; column += 1) {
    const density = densities(quantiles.map((each) => [each.q, each.values[column]]), low, high, rows);
    const most = Math.max(...density, 1e-9);
    density.forEach((value, row) => {
      if (value <= 0) return;
      const bottom = low + ((high - low) * row) / rows;
      parts.push(svg("rect", { class: "heat", "fill-opacity": (0.12 + 0.88 * (value / most)).toFixed(2), x: x(column).toFixed(1),
        y: y(bottom + (high - low) / rows).toFixed(1), width: (x(1) - x(0) + 0.4).toFixed(1), height: (y(0) - y((high - low) / rows) + 0.4).toFixed(1) }));
    });
  }
  for (let power = Math.ceil(low); power <= Math.floor(high); power += 1) {
    parts.push(svg("line", { class: "grid", x1: LEFT, x2: width() - RIGHT, y1: y(power), y2: y(power) }),
      svg("text", { x: LEFT - 6, y: y(power) + 4, "text-anchor": "end" }, unit(10 ** power)));
  }
  parts.push(...clock(begin, step, count, (index) => x(index + 0.5), height));
  return el("figure", { tabindex: "0" }, svg("svg", { viewBox: `0 0 ${width()} ${height}`, role: "img",
    "aria-label": `${label}, between ${unit(Math.min(...known))} and ${unit(Math.max(...known))}` }, parts));
}

// Variants by size and speed; those that nothing beats are joined.
export function pareto(points) {
  const height = 240, most = (key) => ceiling(Math.max(1.05, ...points.map((point) => point[key])));
  const mostX = most("size"), mostY = most("speed");
  const x = (value) => LEFT + ((width() - LEFT - RIGHT) * value) / mostX;
  const y = (value) => TOP + (height - TOP - BOTTOM - 14) * (1 - value / mostY);
  const parts = grid(mostY, y, (value) => `${value}×`);
  for (const share of [0.25, 0.5, 0.75, 1]) {
    parts.push(svg("text", { x: x(mostX * share), y: height - BOTTOM + 4, "text-anchor": "end" }, `${+(mostX * share).toFixed(2)}`));
  }
  parts.push(svg("text", { x: (LEFT + width()) / 2, y: height - 4, "text-anchor": "middle" }, "size ÷ size before"));
  const front = points.filter((point) => point.best).sort((a, b) => a.size - b.size);
  if (front.length > 1) parts.push(svg("path", { class: "line c1", d: front.map((point, index) => `${index ? "L" : "M"}${x(point.size)} ${y(point.speed)}`).join("") }));
  for (const point of points) {
    parts.push(svg("circle", { class: `point ${point.mood}`, cx: x(point.size), cy: y(point.speed), r: point.best ? 6 : 4 }, svg("title", {}, point.text)),
      point.name ? svg("text", { x: x(point.size) + 9, y: y(point.speed) + 4 }, point.name) : null);
  }
  return el("figure", { tabindex: "0" }, svg("svg", { viewBox: `0 0 ${width()} ${height}`, role: "img",
    "aria-label": `Speed and size of variants: ${points.map((point) => point.text).join("; ")}` }, parts.filter(Boolean)));
}

export function numbers(values) {
  return values.map((value) => (value === null ? NaN : Number(value)));
}

function line(values, x, y) {
  let path = "", pen = "M";
  values.forEach((value, index) => {
    if (!Number.isFinite(value)) { pen = "M"; return; }
    path += `${pen}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    // A value alone between gaps would not be seen.
    if (pen === "M" && !Number.isFinite(values[index + 1])) path += "h1.5";
    pen = "L";
  });
  return path;
}

function band(low, high, x, y) {
  const there = high.map((_, index) => index).filter((index) => Number.isFinite(low[index]) && Number.isFinite(high[index]));
  if (!there.length) return "";
  const way = (values, order) => order.map((index) => `${x(index).toFixed(1)} ${y(Math.max(0, values[index])).toFixed(1)}`).join("L");
  return `M${way(high, there)}L${way(low, [...there].reverse())}Z`;
}

function grid(top, y, unit) {
  return [0, 0.5, 1].flatMap((share) => [
    svg("line", { class: "grid", x1: LEFT, x2: width() - RIGHT, y1: y(top * share), y2: y(top * share) }),
    svg("text", { x: LEFT - 6, y: y(top * share) + 4, "text-anchor": "end" }, unit(top * share)),
  ]);
}

function clock(begin, step, count, x, height) {
  const long = step * count > 36 * 3600;
  return [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const time = new Date((begin + step * count * share) * 1000);
    const text = long ? time.toLocaleDateString([], { weekday: "short", day: "numeric" }) : time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    return svg("text", { x: x(count * share - 0.5), y: height - 6, "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" }, text);
  });
}

function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((each) => each * power).find((each) => each >= value * 1.02) ?? 10 * power;
}

function densities(points, low, high, rows) {
  const found = new Array(rows).fill(0);
  const width = (high - low) / rows;
  for (let index = 1; index < points.length; index += 1) {
    const [[fromShare, from], [toShare, to]] = [points[index - 1], points[index]];
    if (!Number.isFinite(from) || !Number.isFinite(to) || from <= 0) continue;
    const first = Math.max(0, Math.floor((Math.log10(from) - low) / width)), last = Math.min(rows - 1, Math.floor((Math.log10(Math.max(from, to)) - low) / width));
    for (let row = first; row <= last; row += 1) found[row] += (toShare - fromShare) / (last - first + 1);
  }
  return found;
}

function summary(track, unit) {
  const there = (track.values ?? track.high).filter(Number.isFinite);
  return `${track.name} last ${unit(there.at(-1))}, at most ${unit(Math.max(...there))}`;
}
