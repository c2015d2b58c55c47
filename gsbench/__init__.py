"""gsbench: what it costs to sum over the classes of a discrete latent variable, against sampling one."""

from __future__ import annotations

from gsbench.version import __version__

TYPE_CHECKING = False  # typing's, which takes long to import: a Ctrl-C is not provided for yet
if TYPE_CHECKING:
    from typing import Any

    from gsbench.on_tensors import expectation
    from gsbench.planner import Plan, load_results, plan
    from gsbench.racing import race

__all__ = ["Plan", "__version__", "expectation", "load_results", "plan", "race"]
# Name → module. It is imported when the name is first asked for, because pandas takes a second.
_LATER = {
    **dict.fromkeys(("Plan", "load_results", "plan"), "planner"), "expectation": "on_tensors", "race": "racing",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LATER:
        import importlib

        return getattr(importlib.import_module(f"gsbench.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
