"""The Markdown of `markdown.py` as one HTML page that loads nothing from anywhere."""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from stenograf.openapi.words import anchor

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h4 { margin-top: 2.5rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid #8886; padding: .25rem .6rem; text-align: left; vertical-align: top; }
code { background: #8882; border-radius: .2rem; padding: .1rem .25rem; }
pre { background: #8882; border-radius: .4rem; padding: .8rem; overflow-x: auto; }
pre code { background: none; padding: 0; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"
"""What a browser may do with the page: apply its own style, and nothing else."""

_FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_TARGET = re.compile(r"#|https?://")  # files beside the page are not served
_CELL_BORDER = re.compile(r"(?<!\\)\|")


def page(text: str) -> str:
    """The page of a Markdown text: headings, paragraphs, lists, tables, code, links."""
    title = text.partition("\n")[0].lstrip("# ")
    body = "\n".join(_parts(text))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _parts(text: str) -> Iterator[str]:
    end = 0
    for fence in _FENCE.finditer(text):
        yield from _blocks(text[end : fence.start()])
        yield f"<pre><code>{escape(fence[1])}</code></pre>"
        end = fence.end()
    yield from _blocks(text[end:])


def _blocks(text: str) -> Iterator[str]:
    for kind, group in groupby(text.splitlines(), key=_kind):
        lines = list(group)
        if kind == "heading":
            yield from (_heading(line) for line in lines)
        elif kind == "table":
            yield _table(lines)
        elif kind == "list":
            yield _list(lines)
        elif kind == "text":
            yield f"<p>{_inline(' '.join(lines))}</p>"


def _kind(line: str) -> str:
    if not line.strip():
        return "nothing"
    if line.startswith("#"):
        return "heading"
    if line.startswith("|"):
        return "table"
    return "list" if line.lstrip().startswith("- ") else "text"


def _heading(line: str) -> str:
    marks, _, title = line.partition(" ")
    return f'<h{len(marks)} id="{escape(anchor(title))}">{_inline(title)}</h{len(marks)}>'


def _table(lines: Sequence[str]) -> str:
    head, _, *rows = (_CELL_BORDER.split(line.strip())[1:-1] for line in lines)
    return f"<table>{_row(head, 'th')}{''.join(_row(row, 'td') for row in rows)}</table>"


def _row(cells: Sequence[str], tag: str) -> str:
    shown = (_inline(cell.strip().replace("\\|", "|")) for cell in cells)
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in shown)}</tr>"


def _list(lines: Sequence[str]) -> str:
    """Items, those behind two spaces inside the item before them."""
    shown = "<ul>"
    deep = False
    for line in lines:
        if line.startswith("  ") != deep:
            shown += "</ul>" if deep else "<ul>"
            deep = not deep
        shown += f"<li>{_inline(line.strip()[2:])}"
    return f"{shown}{'</ul>' if deep else ''}</ul>"


def _inline(text: str) -> str:
    marked = _CODE.sub(r"<code>\1</code>", escape(text, quote=False))
    return _LINK.sub(_link, marked)


def _link(match: re.Match[str]) -> str:
    text, target = match.groups()
    if not _TARGET.match(target):
        return text
    return f'<a href="{escape(target)}">{text}</a>'
