// Figures as people read them. A dash where nothing was measured.
export const DASH = "–";

export function number(value) {
  const n = Number(value);
  if (!Number.isFinite(n)) return DASH;
  const size = Math.abs(n);
  if (size >= 1e9) return `${(n / 1e9).toFixed(1)} G`;
  if (size >= 1e6) return `${(n / 1e6).toFixed(1)} M`;
  if (size >= 1e4) return `${(n / 1e3).toFixed(1)} k`;
  if (size >= 100 || Number.isInteger(n)) return n.toFixed(0);
  return size >= 1 ? n.toFixed(1) : n === 0 ? "0" : n.toPrecision(2);
}

export function seconds(value) {
  const n = Number(value);
  if (!Number.isFinite(n)) return DASH;
  if (n >= 100) return `${n.toFixed(0)} s`;
  if (n >= 1) return `${n.toFixed(1)} s`;
  if (n >= 0.001) return `${(n * 1e3).toFixed(n >= 0.01 ? 0 : 1)} ms`;
  return n === 0 ? "0" : `${(n * 1e6).toFixed(0)} µs`;
}

export function share(value) {
  const n = Number(value);
  if (!Number.isFinite(n)) return DASH;
  return `${(n * 100).toFixed(n !== 0 && Math.abs(n) < 0.1 ? 2 : 0)} %`;
}

export function bytes(value) {
  const n = Number(value);
  if (!Number.isFinite(n)) return DASH;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, n > 0 ? Math.floor(Math.log2(n) / 10) : 0);
  return `${(n / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

export function when(text) {
  if (!text) return DASH;
  const time = new Date(text);
  const same = time.toDateString() === new Date().toDateString();
  return time.toLocaleString([], same ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" });
}

// The last parts of a resource's name: `models/a/versions/3` is `a@3`.
export function short(name) {
  const parts = name.split("/");
  return parts.length === 4 ? `${parts[1]}@${parts[3]}` : parts[1] ?? name;
}

export function word(constant, prefix) {
  return constant.replace(prefix, "").toLowerCase().replaceAll("_", " ");
}
