"""One self-contained page: tags that escape what they hold, tables, the style."""

from html import escape

__all__ = ["Html", "join", "page", "scrolling", "table", "tag"]


class Html(str):
    """Text that is HTML already. All other text is escaped when it enters a tag."""

    __slots__ = ()


def tag(name, /, *children, **attributes):
    """Build an element.

    Parameters
    ----------
    name : str
        Of the element.

    *children : str
        Plain text is escaped, `Html` is not.

    **attributes : str
        A trailing underscore is dropped, an inner one becomes a hyphen.

    Returns
    -------
    element : Html
        Closed, unless HTML leaves it open.
    """
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
    )
    if name in ("img", "meta", "br"):
        return Html(f"<{name}{pairs}>")
    return Html(f"<{name}{pairs}>{join(children)}</{name}>")


def join(children):
    """Put pieces one after the other, escaping those that are plain text."""
    return Html(
        "".join(
            child if isinstance(child, Html) else escape(str(child))
            for child in children
        )
    )


def table(caption, header, bodies, *, row_headers=1):
    """Build a table that can be read aloud, in a box that scrolls by itself.

    Parameters
    ----------
    caption : str
        What it shows.

    header : list of str
        One entry a column.

    bodies : list of (str or None, list of list)
        Parts of the table: a heading, or None, and rows of cells.

    row_headers : int, default=1
        How many cells at the beginning of a row name it.

    Returns
    -------
    table : Html
        With captions and scopes.
    """
    top = tag("tr", *(tag("th", cell, scope="col") for cell in header))
    # In a span, which can be kept on a narrow screen while the table scrolls.
    parts = [tag("caption", tag("span", caption)), tag("thead", top)]
    for title, rows in bodies:
        lines = [_row(cells, row_headers) for cells in rows]
        if title is not None:
            heading = tag("th", title, scope="rowgroup", colspan=len(header))
            lines.insert(0, tag("tr", heading, class_="part"))
        parts.append(tag("tbody", *lines))
    return scrolling(tag("table", *parts), caption)


def scrolling(content, label):
    """Put what may be wider than the screen in a box that the keyboard can scroll."""
    return tag(
        "div", content, class_="wide", role="region", tabindex="0", aria_label=label
    )


def page(title, sections):
    """Build the whole document.

    Parameters
    ----------
    title : str
        Of the page.

    sections : list of (str, str, Html)
        Anchor, heading and content.

    Returns
    -------
    document : str
        Needs no network and no script.
    """
    links = [tag("a", heading, href=f"#{anchor}") for anchor, heading, _ in sections]
    contents = tag("nav", *links, aria_label="Contents")
    parts = [
        tag("section", tag("h2", heading, id=anchor), content, aria_labelledby=anchor)
        for anchor, heading, content in sections
    ]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        # Whatever a column may be called, nothing is loaded and nothing runs.
        tag(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; img-src data:; style-src 'unsafe-inline'",
        ),
        tag("title", title),
        tag("style", Html(_STYLE)),
    )
    body = tag("body", tag("header", tag("h1", title), contents), tag("main", *parts))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff;
  --tint: #f3f5f7; --line: #d5dae0; --link: #0a58ab; --yes: #116b3a; --no: #8a4b08; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e3e6ea;
  --soft: #9aa4af; --paper: #14171b; --tint: #1e2328; --line: #363d45; --link: #7db7ff;
  --yes: #6fd197; --no: #f0b46a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem 1.2rem 4rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-top: .6rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; }
p, ul, dl { margin: .6rem 0; max-width: 46rem; }
a { color: var(--link); }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; }
nav a { padding: .2rem 0; }
code { font-family: ui-monospace, monospace; font-size: .92em; }
pre { background: var(--tint); padding: .7rem .9rem; border-radius: .3rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: .6rem; padding: 0; max-width: none;
  list-style: none; }
.facts li { background: var(--tint); border-radius: .4rem; padding: .5rem .9rem;
  min-width: 7rem; color: var(--soft); font-size: .9rem; }
.facts strong { display: block; font-size: 1.35rem; color: var(--ink); }
.note { color: var(--soft); font-size: .92rem; }
.alarm { border-left: .25rem solid var(--no); padding-left: .8rem; }
.findings li { margin: .35rem 0; }
.sure, .weak { font-weight: 600; white-space: nowrap; }
.sure { color: var(--yes); } .weak { color: var(--no); }
figure { margin: 1.4rem 0; break-inside: avoid; }
figcaption { color: var(--soft); font-size: .92rem; max-width: 46rem; }
.panels { display: grid; gap: .6rem;
  grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); }
.panels img { width: 100%; max-width: 25rem; height: auto; }
img.large { width: 100%; min-width: 44rem; height: auto; }
.wide { overflow-x: auto; margin: 1rem 0; }
.wide:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .88rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .5rem; }
caption span { display: block; max-width: calc(100vw - 2.6rem); }
th, td { padding: .3rem .6rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; } thead th { vertical-align: bottom; }
tbody th, th:first-child, td.text { text-align: left; }
tbody th { font-weight: 400; }
tr.part th { font-weight: 600; background: var(--tint); }
tbody th:first-child { position: sticky; left: 0; background: var(--paper); }
tr.part th:first-child { background: var(--tint); }
td { white-space: nowrap; } .settings th { text-align: left; }
.settings td { white-space: normal; text-align: left; overflow-wrap: anywhere; }
td small, li small { display: block; color: var(--soft); }
details { margin: 1rem 0; } summary { cursor: pointer; color: var(--link); }
@media (max-width: 36rem) { th, td { padding: .3rem .4rem; }
  tbody th:first-child { max-width: 9rem; } }
@page { size: landscape; margin: 12mm; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; }
  nav, details { display: none; } .wide { overflow: visible; }
  table { font-size: 6.5pt; } th, td { padding: .12rem .2rem; }
  caption span { max-width: none; } img.large { max-width: 46rem; min-width: 0; }
  tr { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""


def _row(cells, row_headers):
    names = [tag("th", cell, scope="row") for cell in cells[:row_headers]]
    return tag("tr", *names, *(tag("td", cell) for cell in cells[row_headers:]))
