"""The registry of figures, in the page's order. A new figure needs only its declaration in a file of this folder."""

from __future__ import annotations

import importlib
import pkgutil

from gsbench.registry import Registry, instance_fault
from gsbench.report.drawing.figure import Declared, Figure, Pictures

_MODULES = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
_DECLARED = [figure for module in _MODULES for figure in getattr(module, "FIGURES", ())]
FIGURES: Registry[Figure | Pictures] = Registry(
    "figure", sorted(_DECLARED, key=lambda figure: figure.place), instance_fault(Declared)
)
