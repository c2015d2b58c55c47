"""Blocks → Markdown, HTML, LaTeX, and text for a terminal."""
