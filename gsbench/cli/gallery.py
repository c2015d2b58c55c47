"""`gsbench gallery`."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsbench import values
from gsbench.cli.values import path, whole

if TYPE_CHECKING:
    from gsbench.gallery import Gallery

FILES = ("gallery.png", "gallery.svg", "gallery.csv")
LISTED = 12  # most lines of classes in the table; with more classes, it lists the likeliest ones
FOLLOWS = "Jang et al. 2017, arXiv 1611.01144: s = softmax((log pi + g) / tau)"

EXAMPLES = """examples:
  gsbench gallery
  gsbench gallery --classes 50 --taus 0.1,0.5,1,2 --draws 1000
  gsbench gallery --probabilities 0.7,0.2,0.1 --output figures/gallery
  gsbench gallery --logits=-1,0.5,2 --json

A list that begins with a minus sign needs an equals sign. Without options, the logits come from a random linear layer
with 10 inputs and six classes, whose likeliest class has a probability of 0.80. The temperatures are 0.1, 1, 5 and 100.
"""


def numbers(text: str) -> list[float]:
    """Reads `0.1,1,5`. `-inf` is the logit of a class with probability 0."""
    try:
        return [-math.inf if part == "-inf" else values.number(part) for part in values.parts(text)]
    except ValueError:
        got = f"got {values.shown(text)}"
        raise argparse.ArgumentTypeError(f"must be numbers with commas between them, such as 0.1,1,5, {got}") from None


def add_gallery(commands: Any) -> None:
    """`gsbench gallery`."""
    parser = commands.add_parser(
        "gallery",
        help="draw Gumbel-Softmax samples at several temperatures",
        description="Draws a figure of a categorical distribution, its Gumbel-Softmax draws by temperature and the "
        "mean of many draws (Jang et al. 2017, arXiv 1611.01144). Writes the figure (PNG, SVG) and its numbers (CSV), "
        "and prints a table and the figure's path.",
        epilog=EXAMPLES,
    )
    of = parser.add_mutually_exclusive_group()
    of.add_argument("--logits", type=numbers, metavar="x,x,…", help="logits of the categorical")
    of.add_argument("--probabilities", type=numbers, metavar="p,p,…", help="its probabilities; their sum is 1")
    of.add_argument("--classes", type=whole, default=6, metavar="K", help="random logits of K classes (default: 6)")
    parser.add_argument("--taus", type=numbers, metavar="τ,τ,…", help="temperatures (default: 0.1,1,5,100)")
    parser.add_argument("--draws", type=whole, metavar="n", help="number of draws of the mean (default: 100)")
    parser.add_argument("--seed", type=whole, help="seed of the random logits and of the draws (default: 212)")
    parser.add_argument(
        "--output", type=path, default=Path("gallery"), metavar="DIR",
        help=f"folder for {', '.join(FILES)} (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON, not the table")
    parser.set_defaults(run=run_gallery)


def run_gallery(arguments: argparse.Namespace) -> None:
    from gsbench.gallery import SEED, logits_of, make_gallery, random_logits

    given = {name: getattr(arguments, name) for name in ("taus", "draws", "seed")}
    seed = SEED if arguments.seed is None else arguments.seed
    if arguments.logits is not None:
        logits: Any = arguments.logits
    elif arguments.probabilities is not None:
        logits = logits_of(arguments.probabilities)
    else:
        logits = random_logits(arguments.classes, seed)
    gallery = make_gallery(logits, **{name: value for name, value in given.items() if value is not None})
    paths = write_gallery(gallery, arguments.output)
    if arguments.json:
        print(json.dumps({**as_json(gallery), "files": [str(path) for path in paths]}, allow_nan=False))
        return
    print(table(gallery))
    print(paths[0])


def write_gallery(gallery: Gallery, folder: Path) -> list[Path]:
    """Writes the figure and its numbers, and returns their paths. The same gallery gives the same files.

    Either all files are written, or none. Raises OSError.
    """
    import pandas as pd

    from gsbench.files import write_all_whole
    from gsbench.gallery import rows
    from gsbench.report.drawing.sheet import figure_settings, save_figure
    from gsbench.report.figures.gallery import draw_gallery

    numbers = pd.DataFrame(rows(gallery)).astype({"draw": "Int64"}).to_csv(index=False, float_format="%.15g")
    png, svg, csv = (folder / name for name in FILES)
    with figure_settings():
        figure = draw_gallery(gallery).figure
        write_all_whole(
            {
                png: lambda file: save_figure(figure, file, "png"),
                svg: lambda file: save_figure(figure, file, "svg"),
                csv: lambda file: file.write(numbers.encode()),
            }
        )
    return [png, svg, csv]


def table(gallery: Gallery) -> str:
    """A row per class: its probability and its mean over the draws at each τ. The last rows measure the means."""
    from gsbench.report.blocks import Table
    from gsbench.report.writers.terminal import wrapped, written

    order = sorted(range(gallery.n_classes), key=lambda k: -gallery.probabilities[k])[: LISTED - 1]
    if gallery.n_classes <= LISTED:
        order = list(range(gallery.n_classes))
    columns = [gallery.probabilities, *gallery.means]
    lines = [[k, *(f"{column[k]:.3f}" for column in columns)] for k in order]
    if (others := gallery.n_classes - len(order)) > 0:
        rest = (f"{column.sum() - column[order].sum():.3f}" for column in columns)
        lines.append([f"{others:,} others", *rest])
    lines.append([""] * (1 + len(columns)))
    for name, figures in (
        ("distance to the categorical", gallery.from_categorical),
        ("distance to uniform", gallery.from_uniform),
        ("mean largest entry", gallery.mean_largest),
    ):
        lines.append([name, "", *(f"{value:.3f}" for value in figures)])
    headers = ["class", "probability", *(f"mean at τ = {tau:g}" for tau in gallery.taus)]
    shown = written(Table(headers, lines, keys=2))
    about = "Distance: total variation of the mean, from 0 to 1. Mean largest entry: 1 if all draws are one-hot."
    title = f"Mean of {gallery.draws:,} Gumbel-Softmax draws ({FOLLOWS})"
    return f"{wrapped(title)}\n\n{shown}\n\n{wrapped(about)}"


def as_json(gallery: Gallery) -> dict[str, Any]:
    """All numbers. A logit of −inf is null."""
    return {
        "follows": FOLLOWS,
        "n_classes": gallery.n_classes,
        "draws": gallery.draws,
        "seed": gallery.seed,
        "logits": [float(x) if math.isfinite(x) else None for x in gallery.logits],
        "probabilities": gallery.probabilities.tolist(),
        "by_tau": [
            {
                "tau": tau,
                "one_draw": gallery.first[i].tolist(),
                "mean": gallery.means[i].tolist(),
                "mean_largest_entry": float(gallery.mean_largest[i]),
                "mean_off_categorical": float(gallery.from_categorical[i]),
                "mean_off_uniform": float(gallery.from_uniform[i]),
            }
            for i, tau in enumerate(gallery.taus)
        ],
        "draws_at_lowest_tau": gallery.shown.tolist(),
    }
