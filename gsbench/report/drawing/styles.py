"""Colour and marker of each estimator. Known names have fixed ones; a known name with settings has a shade of them.

The palette is Okabe and Ito's, with an indigo, a wine red and a brown added. Colour-blind readers can tell these
apart; the markers help as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D

from gsbench.records.order import by_estimator, family

Style = tuple[str, str]  # colour, marker

KNOWN: dict[str, Style] = {
    "marginalize": ("#0072B2", "o"),
    "marginalize-streamed": ("#56B4E9", "v"),
    "gumbel-softmax": ("#D55E00", "s"),
    "straight-through": ("#009E73", "^"),
    "gumbel-rao": ("#332288", "p"),
    "reinmax": ("#882255", "P"),
    "score-function": ("#E69F00", "X"),
    "sum-and-sample": ("#CC79A7", ">"),
    "sparsemax": ("#7A4B1E", "*"),
    "sum-and-relax": ("#1414E6", "<"),
    "labels-only": ("#000000", "D"),
}
# For known names with settings, such as `gumbel-softmax(tau=0.1)`. Each family begins at another marker.
VARIANT_MARKERS = ("*", "P", "<", "d", "D", "X", "8", "h")
LIGHT = 0.3  # luminance from which the first variant is darker, because a lighter one would fade
# For other names. 3 colours and 8 markers give 24 different pairs, because 3 and 8 have no common divisor.
OTHER_COLOURS = ("#7F7F7F", "#999933", "#44AA99")
OTHER_MARKERS = ("P", "X", "h", "<", "p", ">", "d", "*")


def estimator_styles(names: Iterable[str]) -> dict[str, Style]:
    """The styles of all known names and of `names`. Styles that are not fixed depend on the alphabetical order."""
    styles = dict(KNOWN)
    rest = sorted(set(names) - set(KNOWN))
    for rank, known in enumerate(KNOWN):
        variants = [name for name in rest if family(name) == known]
        styles |= {name: _variant(KNOWN[known], rank, i) for i, name in enumerate(variants)}
    others = [name for name in rest if family(name) not in KNOWN]
    return styles | {n: (OTHER_COLOURS[i % 3], OTHER_MARKERS[i % 8]) for i, n in enumerate(others)}


def _variant(style: Style, rank: int, number: int) -> Style:
    """Variant `number` of the known style at `rank`: alternately lighter or darker, with another marker."""
    colour, own = style
    markers = [marker for marker in (*VARIANT_MARKERS[rank:], *VARIANT_MARKERS[:rank]) if marker != own]
    red, green, blue = (channel**2.2 for channel in to_rgb(colour))
    lighter, darker, light = (1.0, 0.42), (0.0, 0.38), (1.0, 0.22)
    is_light = 0.2126 * red + 0.7152 * green + 0.0722 * blue > LIGHT
    shades = (darker, light, (0.0, 0.6)) if is_light else (lighter, darker, light)
    end, share = shades[number % 3]  # the shade has this share of a grey: 0 is black, 1 is white
    red, green, blue = ((1 - share) * channel + share * end for channel in to_rgb(colour))
    return to_hex((red, green, blue)), markers[number % len(markers)]


LINES = ("-", "--", ":", "-.")
FILLS = ("full", "none", "left", "top")
GREY = "#555555"


@dataclass(frozen=True)
class Look:
    """The styles of all estimators and series in one report, in the order of legends."""

    estimators: dict[str, Style]
    series: dict[str, tuple[str, Any]]  # label → (line style, fill of the marker)

    def marker(self, estimator: str, series: str) -> dict[str, Any]:
        colour, marker = self.estimators[estimator]
        return {
            "color": colour, "marker": marker, "fillstyle": self._of(series)[1], "markeredgecolor": colour,
            "linestyle": "",
        }  # fmt: skip

    def line(self, estimator: str, series: str) -> dict[str, Any]:
        return {**self.marker(estimator, series), "linestyle": self.dash(series)}

    def dash(self, series: str) -> str:
        return self._of(series)[0]

    def _of(self, series: str) -> tuple[str, Any]:
        """The style of a series. A series without a style, as in training runs, gets the first style."""
        return self.series.get(series) or next(iter(self.series.values()))

    def handles(self, estimators: Iterable[str], series: Iterable[str], lines: bool = True) -> list[Line2D]:
        """Legend entries: one for each estimator, and one for each series if there are several."""
        names, labels = set(estimators), set(series)
        show, first = self.line if lines else self.marker, next(iter(self.series))
        entries = [Line2D([], [], label=name, **show(name, first)) for name in self.estimators if name in names]
        for label, (line, fill) in self.series.items():
            if label in labels and len(labels) > 1:
                style = {"color": GREY, "marker": "o", "fillstyle": fill, "linestyle": line if lines else ""}
                entries.append(Line2D([], [], label=label, **style))
        return entries


def make_look(estimators: Iterable[str], series: Iterable[str]) -> Look:
    """The look for the known estimators and the given ones. Series get styles in their order."""
    styles = estimator_styles(estimators)
    labels = list(dict.fromkeys(series)) or [""]
    lines = {label: (LINES[i % 4], FILLS[i % 4]) for i, label in enumerate(labels)}
    return Look({name: styles[name] for name in by_estimator(styles)}, lines)
