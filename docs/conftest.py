"""The Python in the pages is run, block by block, one page after another."""

from importlib.util import find_spec

from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser

NEED_TORCH = ["your-model.md"]

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["*.md"], excludes=[] if find_spec("torch") else NEED_TORCH
).pytest()
