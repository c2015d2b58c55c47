"""Sphinx: the pages are Markdown, the reference comes from the docstrings and from the command's own help."""

from gsbench import __version__

project = "gsbench"
author = copyright = "The gsbench authors"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton", "sphinxarg.ext"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "gsbench"
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_class_signature = "separated"


def as_written(app, what, name, obj, options, lines):
    """Docstrings have formulas, tables and shapes set out by hand: they are shown as they are."""
    if lines:
        lines[:] = ["::", "", *(f"   {line}" for line in lines), ""]


def setup(app):
    app.connect("autodoc-process-docstring", as_written)
