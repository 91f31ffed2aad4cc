"""Pages that need nothing else: one style for screens, light and dark, and for paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_LIGHT = (
    "--ink:#1c1e21;--paper:#fff;--dim:#5b6472;--line:#d1d5db;--soft:#f3f4f6;--good:#15803d;--bad:#b45309;--worst:#b91c1c;"
    "--c0:#2563eb;--c1:#c2410c;--c2:#15803d;--c3:#9333ea;--c4:#0e7490;--c5:#be185d;--c6:#a16207;--c7:#6b7280"
)
_DARK = (
    "--ink:#e5e7eb;--paper:#16181c;--dim:#9ca3af;--line:#374151;--soft:#1f2329;--good:#4ade80;--bad:#fbbf24;--worst:#f87171;"
    "--c0:#60a5fa;--c1:#fb923c;--c2:#4ade80;--c3:#c084fc;--c4:#22d3ee;--c5:#f472b6;--c6:#facc15;--c7:#9ca3af"
)
_COLOURS = "".join(
    f".l{place}{{stroke:var(--c{place})}}.band.l{place}{{fill:var(--c{place})}}" for place in range(8)
)
STYLE = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media screen and (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
*{{box-sizing:border-box}}
body{{font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;color:var(--ink);background:var(--paper);
max-width:70rem;margin:2rem auto;padding:0 1rem;-webkit-print-color-adjust:exact;print-color-adjust:exact}}
h1{{font-size:1.5rem;line-height:1.25}}h2{{font-size:1.15rem;margin:2.2rem 0 .6rem}}
h3{{font-size:1rem;margin:1.2rem 0 .2rem}}
.dim,caption{{color:var(--dim)}}.good{{color:var(--good)}}.bad{{color:var(--bad)}}.worst{{color:var(--worst)}}
.wide{{overflow-x:auto}}
table{{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums;white-space:nowrap}}
th,td{{text-align:left;vertical-align:top;padding:.3rem .55rem;border-bottom:1px solid var(--line)}}
th{{white-space:normal;vertical-align:bottom}}
th:first-child,td:first-child{{padding-left:0}}
td.text{{white-space:normal;min-width:14rem}}td.number,th.number{{text-align:right}}
.tiles{{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.6rem;margin:1rem 0}}
.tile{{background:var(--soft);border-radius:.5rem;padding:.6rem .8rem}}
.tile b{{display:block;font-size:1.35rem;line-height:1.3}}
.tile span{{color:var(--dim);font-size:.85rem}}
.charts{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,30rem),1fr));gap:1rem 2rem}}
figure{{margin:0}}figcaption{{font-weight:600;margin-bottom:.2rem}}
svg{{display:block;width:100%;max-width:45rem;font-size:12px}}svg text{{fill:var(--ink)}}svg .tick{{fill:var(--dim)}}
svg path{{fill:none;stroke-width:1.75;stroke-linejoin:round;stroke-linecap:round}}svg .dashed{{stroke-dasharray:5 4}}
.band{{opacity:.18;stroke:none}}.axis{{stroke:var(--dim)}}.grid{{stroke:var(--line)}}
.mark line{{stroke:var(--dim);stroke-dasharray:2 3}}.mark text{{fill:var(--dim);font-size:10px}}
.legend{{margin:.2rem 0 0;font-size:.85rem;color:var(--dim)}}
.key{{display:inline-flex;align-items:center;margin-right:1rem}}
.key svg{{width:1.25rem;height:.5rem;margin-right:.35rem}}{_COLOURS}
pre{{white-space:pre-wrap;font-size:13px}}
@media print{{body{{max-width:none;margin:0;font-size:11px}}h2{{break-after:avoid}}
figure,.tile,tr{{break-inside:avoid}}
.charts{{grid-template-columns:1fr 1fr}}.wide{{overflow:visible}}table{{white-space:normal}}
@page{{size:A4;margin:14mm}}}}
"""


def page(title: str, body: Iterable[str], *, style: str = "") -> str:
    """Return a whole page; `style` is added to that of all pages."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>{''.join(body)}</body></html>\n"
    )


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, texts: Sequence[int] = ()) -> str:
    """Return a table, or nothing without rows; columns in `texts` hold sentences, which may be broken into lines."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in headings)
    body = "".join(
        f"<tr>{''.join(_cell(text, place in texts) for place, text in enumerate(row))}</tr>" for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def section(heading: str, body: str) -> str:
    """Return a part under its heading, or nothing if there is nothing."""
    return f"<section><h2>{escape(heading)}</h2>{body}</section>" if body else ""


def _cell(text: str, is_text: bool) -> str:
    return f'<td class="text">{escape(text)}</td>' if is_text else f"<td>{escape(text)}</td>"
