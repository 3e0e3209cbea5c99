"""The skeleton of a page, and the one way text gets onto it: as text nodes of a tree.

A page is one file. It loads nothing, runs nothing and names no other place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, tostring

from unified_flux.text import safe

# Longer texts are cut with an ellipsis; a prompt may be a page long, and a data URI longer still.
TEXT_LIMIT = 4000
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f6f5f1; --card: #ffffff; --ink: #1d1c1a; --quiet: #5b5851; --line: #dcd8cf;
  --accent: #2d6187; --mark: #8a4b08; --mark-ground: #fbf1e2; --fault: #a02a1f;
  --shade: #c9c4b8;
  --sans: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #141517; --card: #1d1f22; --ink: #ebe9e4; --quiet: #a9a69e; --line: #373a3f;
    --accent: #7db2d9; --mark: #e8b26a; --mark-ground: #2e2618; --fault: #f09286;
    --shade: #000000;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 400 1rem/1.5 var(--sans); font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
main { max-width: 84rem; margin: 0 auto; padding: clamp(1.25rem, 4vw, 3.5rem) clamp(1rem, 4vw, 3rem); }
h1, h2, h3, p, ul, dl, dd, figure { margin: 0; padding: 0; }
h1 { font-size: clamp(1.6rem, 1.2rem + 1.8vw, 2.4rem); line-height: 1.2; font-weight: 650;
  letter-spacing: -.015em; text-wrap: balance; }
h2 { font-size: 1.2rem; line-height: 1.3; font-weight: 650; margin: 0 0 1rem; }
h3 { font-size: 1rem; line-height: 1.35; font-weight: 650; }
section { margin-top: clamp(2.25rem, 4vw, 3.25rem); }
.quiet { color: var(--quiet); }
.small { font-size: .875rem; }
.prompt { margin-top: 1rem; max-width: 46rem; font-size: 1.125rem; line-height: 1.55;
  border-inline-start: 3px solid var(--accent); padding-inline-start: 1rem; }
.total { margin-top: 1.1rem; font-size: 1.05rem; font-weight: 600; }
.made { margin-top: .2rem; }
.grid { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); }
.grid > * { max-width: 34rem; }
.card { display: grid; grid-template-rows: subgrid; grid-row: span 2; gap: 0; min-width: 0; overflow: hidden;
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.words { padding: 1rem 1.1rem 1.15rem; display: flex; flex-direction: column; gap: .85rem; }
.model { font: .8125rem/1.45 var(--mono); color: var(--quiet); }
.shots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 7rem), 1fr)); gap: 1px;
  border-bottom: 1px solid var(--line); }
.shot { display: flex; flex-direction: column; min-width: 0; background: var(--ground); }
.frame { aspect-ratio: 1; position: relative; }
.frame img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
.frame.empty { aspect-ratio: auto; min-height: 9rem; flex: 1; display: flex; align-items: center;
  justify-content: center; padding: 1rem; text-align: center; color: var(--quiet); font-size: .9375rem; }
figure .frame.empty { aspect-ratio: 1; min-height: 0; flex: none; }
.shot figcaption { padding: .5rem 1.1rem .55rem; font-size: .8125rem; line-height: 1.45; color: var(--quiet);
  border-top: 1px solid var(--line); background: var(--card); flex: 1 0 auto; }
.facts { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: .3rem .9rem; font-size: .9375rem; }
.facts dt { color: var(--quiet); }
.notes { list-style: none; font-size: .875rem; color: var(--quiet); display: grid; gap: .3rem; }
.fault { color: var(--fault); font-size: .9375rem; }
.fault strong { font-weight: 650; }
.badge { display: inline-block; font-size: .75rem; line-height: 1.3; font-weight: 600; padding: .1rem .5rem;
  border: 1px solid currentColor; border-radius: 99px; color: var(--mark); white-space: nowrap; }
.title { display: flex; flex-wrap: wrap; align-items: center; gap: .2rem .6rem; }
.panel { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem; }
.narrow { max-width: 46rem; }
.chart { display: block; width: 100%; overflow: visible; font: .9375rem var(--sans); }
.chart text { fill: var(--ink); }
.chart .label { font-weight: 600; }
.chart .aside { fill: var(--quiet); font-size: .8125rem; }
.chart .bar { fill: var(--accent); }
.chart .axis { fill: var(--quiet); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.scroll:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; overflow-wrap: normal; }
th, td { text-align: start; vertical-align: top; padding: .6rem .9rem; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { font-weight: 600; font-size: .875rem; color: var(--quiet); vertical-align: bottom; }
tbody th { font-weight: 600; }
td { overflow-wrap: break-word; max-width: 24rem; }
.fields th, .fields td { min-width: 9rem; }
.fields tr > :first-child { position: sticky; inset-inline-start: 0; background: var(--card);
  min-width: 11rem; max-width: 14rem; overflow-wrap: anywhere; }
.fields tr.differs > *, .fields tr.differs > :first-child { background: var(--mark-ground); }
.fields tr.differs > th { box-shadow: inset 4px 0 0 var(--mark); }
.fields .badge { display: block; width: fit-content; margin-top: .3rem; }
.loss { font-weight: 650; }
.amount { text-align: end; white-space: nowrap; padding-inline-end: 1.75rem; }
.costs th, .costs td { min-width: 6rem; }
.asides { list-style: none; display: grid; gap: .4rem; max-width: 46rem; color: var(--quiet); font-size: .9375rem; }
@media (max-width: 37.5rem) {
  table { font-size: .875rem; }
  th, td { padding: .5rem .65rem; }
  .fields tr > :first-child { min-width: 9.6rem; max-width: 9.6rem; }
  /* A shade at the side to which there is more; the two upper layers move along and cover it. */
  .scroll { background:
    linear-gradient(90deg, var(--card) 50%, transparent) 0 0 / 2.5rem 100% no-repeat local,
    linear-gradient(270deg, var(--card) 50%, transparent) 100% 0 / 2.5rem 100% no-repeat local,
    linear-gradient(90deg, var(--shade), transparent) 0 0 / .9rem 100% no-repeat,
    linear-gradient(270deg, var(--shade), transparent) 100% 0 / .9rem 100% no-repeat, var(--card); }
}
@media (forced-colors: active) {
  .chart text { fill: CanvasText; }
  .chart .bar, .chart .axis { fill: CanvasText; }
}
@media print {
  body { background: #fff; }
  .card, .panel, tr { break-inside: avoid; }
  .scroll { overflow: visible; }
}
"""


def node(tag: str, *children: Element | str | None, **attributes: str | int | None) -> Element:
    """An element whose strings are text, made harmless; `class_` is `class`, `_` is a hyphen."""
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            text = str(value)
            # Never cut: half a data URI is no picture.
            made.set(name.rstrip("_").replace("_", "-"), safe(text, 6 * len(text)))
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child is not None:
            _write(made, safe(child, TEXT_LIMIT))
    return made


def _write(parent: Element, text: str) -> None:
    """Put text behind what an element holds already."""
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def page(title: str, *children: Element | str | None) -> str:
    """A whole page as HTML text."""
    style = Element("style")
    style.text = STYLE
    head = node(
        "head",
        node("meta", charset="utf-8"),
        node("meta", http_equiv="Content-Security-Policy", content=POLICY),
        node("meta", name="viewport", content="width=device-width, initial-scale=1"),
        node("meta", name="color-scheme", content="light dark"),
        # Without it a browser asks the place that the page lies at for a favicon.
        node("link", rel="icon", href="data:,"),
        node("title", safe(title, 120)),
        style,
    )
    root = node("html", head, node("body", node("main", *children)), lang="en")
    return f"<!doctype html>\n{tostring(root, encoding='unicode', method='html')}\n"


def section(heading: str, *children: Element | None) -> Element:
    """A part of a page under its heading."""
    return node("section", node("h2", heading), *children)


def items(texts: Iterable[str], class_: str) -> Element | None:
    """A list of sentences, None where there is none."""
    told = [node("li", text, dir="auto") for text in texts]
    return node("ul", *told, class_=class_, role="list") if told else None


def scrolling_table(
    label: str, heads: Sequence[Element], rows: Sequence[Element], class_: str
) -> Element:
    """A table that scrolls by keyboard where the page is too narrow for it."""
    table = node(
        "table",
        node("thead", node("tr", *heads)),
        node("tbody", *rows),
        class_=class_,
    )
    return node("div", table, class_="scroll", tabindex=0, role="region", aria_label=label)
