"""Converts matplotlib's SVG of a figure into an element for an HTML page with other figures, in light and in dark."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable

from matplotlib.colors import to_hex, to_rgb

from gsbench.report.drawing.sheet import CAPTION_ID, CAPTION_LINE, TITLE, TITLE_ID, Plot

POINTS = 72  # SVG units in an inch
FONT = "DejaVu Sans,Verdana,sans-serif"
PAPER = "#15181d"  # background of figures in dark mode
LEAST_CONTRAST = 3.2  # of a colour with PAPER
TEXT = re.compile(r">[^<]+<")  # text between two tags: it is neither an attribute nor url(…)
STYLE = re.compile(r' style="[^"]*"')
FONTS = re.compile(r"'DejaVu Sans'[^;\"]*")  # matplotlib lists a dozen fonts for each text
COLOUR = re.compile(r"#([0-9a-f]{6})\b")
PLACES = re.compile(r' (?:d|x|y|transform)="[^"]*"')
NUMBER = re.compile(r"\d+\.\d{3,}")  # hundredths of a point are finer than visible


def inline_svg(key: str, svg: str, plot: Plot) -> str:
    """The <svg> element of a figure.

    Its ids begin with `key`, so that figures on one page do not use each other's clip paths. Its colours are variables
    (`--c` and the colour), which the page sets for light and for dark. The page prints title and caption itself: in the
    SVG they have the class `told`, and `viewBox` excludes them. `data-whole` is the viewBox that includes them.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style type.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    opening, _, rest = body.partition(">")
    width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', opening)[0])
    rest = TEXT.sub(lambda text: text[0].replace('"', "&quot;").replace("url(", "url&#40;"), rest)
    rest = rest.replace("xlink:href", "href")
    rest = re.sub(f'<g id="(?:{TITLE_ID}|{CAPTION_ID})">', '<g class="told">', rest)
    rest = _own_ids(f"{key}-", rest)
    rest = STYLE.sub(lambda style: COLOUR.sub(r"var(--c\1)", FONTS.sub(FONT, style[0])), rest)
    rest = PLACES.sub(lambda places: NUMBER.sub(lambda number: f"{float(number[0]):.2f}", places[0]), rest)
    rest = re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", rest))
    top, bottom = _told_heights(plot)
    told = f'data-whole="0 0 {width:g} {height:g}" viewBox="0 {top:g} {width:g} {height - top - bottom:g}"'
    labels = f'role="img" aria-labelledby="{key}-title" aria-describedby="{key}-alt"'
    look = f'style="stroke-linejoin:round;stroke-linecap:butt;max-width:{1.3 * width:.0f}px"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {told} {labels} {look}>{rest}'


def _own_ids(prefix: str, svg: str) -> str:
    """The SVG with the prefix before all ids that are referred to. Other ids are removed."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    names = {name: f"{prefix}{i}" for i, name in enumerate(sorted(used))}
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{names[found[1]]}"' if found[1] in used else "", svg)
    return re.sub(r'(url\(#|href="#)([^)"]+)', lambda found: found[1] + names[found[2]], svg)


def _told_heights(plot: Plot) -> tuple[float, float]:
    """The heights of the title at the top and of the caption at the bottom, as in `make_sheet`."""
    texts = {text.get_gid(): text.get_text() for text in plot.figure.texts}
    lines = texts[CAPTION_ID].count("\n") + 1 if texts.get(CAPTION_ID) else 0
    top = POINTS * (TITLE - 0.1) if TITLE_ID in texts else 0.0
    return top, POINTS * (lines * CAPTION_LINE + 0.06) if lines else 0.0


def colours_of(svgs: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Every colour `rrggbb` of inlined figures → the colours in light and in dark."""
    found = sorted({name for svg in svgs for name in re.findall(r"var\(--c([0-9a-f]{6})\)", svg)})
    return {name: (f"#{name}", in_the_dark(f"#{name}")) for name in found}


def in_the_dark(colour: str) -> str:
    """The colour for dark mode. Greys are inverted, with PAPER for white; others get lighter if contrast needs it."""
    red, green, blue = to_rgb(colour)
    if max(red, green, blue) - min(red, green, blue) < 0.02:
        r, g, b = ((1 - red) * 0.92 + red * channel for channel in to_rgb(PAPER))
        return to_hex((r, g, b))
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    while contrast(colour, PAPER) < LEAST_CONTRAST and light < 1:
        light += 0.02
        colour = to_hex(colorsys.hls_to_rgb(hue, min(light, 1.0), saturation))
    return colour


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours as defined in WCAG 2, from 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
