// Makes elements. Text is always text: nothing that comes from the mesh is read as HTML.
const SVG = "http://www.w3.org/2000/svg";

export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function tag(text, mood = "") {
  return el("span", { class: `tag ${mood}` }, text);
}

export function link(path, ...children) {
  return el("a", { href: `#/${path}` }, ...children);
}

// A table whose columns are [title, cell of a row, class]; `empty` is what is said instead of no rows.
export function table(caption, rows, columns, empty) {
  if (!rows.length) return el("p", { class: "empty" }, ...[empty].flat());
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {},
      el("thead", {}, el("tr", {}, columns.map(([title, , kind = ""]) => el("th", { scope: "col", class: kind }, title)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, columns.map(([, cell, kind = ""]) => el("td", { class: kind }, cell(row))))))));
}

export function section(title, ...children) {
  return el("section", {}, el("h2", {}, title), ...children);
}

// The link to the question that a figure is the answer to.
export function asked(question, text = "query") {
  return el("p", { class: "query" }, el("a", { href: queryPath(question) }, text));
}

export function queryPath({ service, method, request }) {
  return `#/query/${service}/${method}?${encodeURIComponent(JSON.stringify(request))}`;
}
