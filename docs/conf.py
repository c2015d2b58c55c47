"""Sphinx: the pages are Markdown, the reference comes from the docstrings and from the commands' own help."""

import sys
from pathlib import Path

from gsbench import __version__

sys.path.append(str(Path(__file__).parent))  # for `rendering`, here and in the page of the commands

import mathml
from rendering import docstring

project = "gsbench"
author = copyright = "The gsbench authors"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton", "sphinxarg.ext"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
smartquotes = False  # which would write --init as –init
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "gsbench"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["wrapped.css"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "show-inheritance": True}


def setup(app):
    app.connect("autodoc-process-docstring", docstring)
    app.add_html_math_renderer("mathml", (mathml.inline, None), (mathml.block, None))
