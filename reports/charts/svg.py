"""Figures as files and as inline SVG: byte-stable, without metadata, ids that never clash, colours as CSS variables."""

from __future__ import annotations

import io
import re
from html import escape

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from runner_lab.reports.charts.style import DARK

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
PNG_DPI = 170


def render(figure: Figure, also_png: bool = False) -> tuple[str, bytes]:
    """The figure as an SVG document, and as PNG where that is asked for. The layout is solved once, for both."""
    text, image = io.StringIO(), io.BytesIO()
    FigureCanvasSVG(figure).print_svg(text, metadata=_NO_METADATA)
    if not also_png:
        return _document(text.getvalue()), b""
    figure.set_layout_engine("none")
    figure.dpi = PNG_DPI
    FigureCanvasAgg(figure).print_png(image, metadata={"Software": None})
    return _document(text.getvalue()), image.getvalue()


def inline(document: str, name: str, title: str, description: str) -> str:
    """The document's `<svg>` for a page: `name` prefixes every id, colours come from the page's CSS variables."""
    body = document[document.index("<svg") :]
    root, rest = body.split(">", 1)
    box = re.search(r'viewBox="([^"]+)"', root)
    view = box.group(1) if box else "0 0 432 288"
    width = float(view.split()[2])
    rest = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', rest)
    rest = re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{name}-\1"', rest)
    rest = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", rest)
    rest = re.sub(r"(?<=: )#[0-9a-f]{6}\b", lambda match: variable(match.group()), rest)
    head = (
        f'<svg viewBox="{view}" role="img" aria-labelledby="{name}-title {name}-desc" '
        f'style="max-width:{width * 4 / 3 * 1.3:.0f}px">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    )
    return head + rest.strip()


def variable(colour: str) -> str:
    """The CSS variable that stands for a chart's colour, or the colour itself where it has no dark twin."""
    return f"var(--c{colour[1:]})" if colour in DARK else colour


def variables(dark: bool) -> str:
    """The CSS that sets every variable."""
    return "".join(f"--c{light[1:]}:{night if dark else light};" for light, night in DARK.items())


def _document(text: str) -> str:
    """Matplotlib's SVG without its doctype, metadata and comments, which name web addresses and versions."""
    text = re.sub(r"<!DOCTYPE[^>]*>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    return re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
