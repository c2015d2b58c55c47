"""Whole reports for the tests. Each is drawn once for all test files, without the parts that no test looks at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from records_fixture import chunk_records, make_run, peer_records, write_lines

from gsbench.report import make_report

WHOLE_RUN = [
    *make_run(ks=(10, 100), accuracy_ks=(100,)),
    *peer_records((10, 100)),
    *chunk_records((10, 100), (1, 5, 10, 100)),
]


_drawn: list[Path] = []


def whole_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report on one whole run, WHOLE_RUN, cut off at its end. No test may change its content."""
    if not _drawn:
        folder = tmp_path_factory.mktemp("report")
        path = write_lines(folder / "run.jsonl", WHOLE_RUN, rest='{"schema_version"')
        _drawn.append(make_report([path], name="whole", output=folder / "reports").parent)
    return _drawn[0]


@contextlib.contextmanager
def png_of(*names: str) -> Iterator[None]:
    """A context in which every figure is drawn as SVG. Only figures of these names are drawn as PNG; others are stubs.

    A PNG has the same parts as the SVG and takes longer to draw. Few tests look at its pixels.
    """
    savefig = Figure.savefig

    def save(self: Figure, file: Any, *, format: str, **options: Any) -> None:
        if format == "png" and Path(file.name).stem not in names:
            file.write(b"\x89PNG")
        else:
            savefig(self, file, format=format, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        yield


@pytest.fixture
def no_png() -> Iterator[None]:
    with png_of():
        yield
