"""gsbench: what it costs to sum over the classes of a discrete latent variable, against sampling one."""

from __future__ import annotations

from gsbench.version import __version__

TYPE_CHECKING = False  # typing's, which takes long to import: a Ctrl-C is not provided for yet
if TYPE_CHECKING:
    from typing import Any

    from gsbench.planner import Plan, load_results, plan

__all__ = ["Plan", "__version__", "load_results", "plan"]


def __getattr__(name: str) -> Any:
    """`load_results`, `plan` and `Plan`, with what they import, when first asked for: pandas takes a second."""
    if name in ("Plan", "load_results", "plan"):
        from gsbench import planner

        return getattr(planner, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
