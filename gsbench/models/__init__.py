"""The models by name. A new model needs a file with a `Model` class and a line in `MODELS`."""

from __future__ import annotations

from gsbench.models.adgm import ADGM
from gsbench.models.base import ClassBound, Model, Noise
from gsbench.models.config import ModelConfig
from gsbench.models.labels import AllClasses, ClassValues, Draws, DrawsAndPoint, HardPoints, Labels, Points
from gsbench.models.m2 import M2
from gsbench.models.network import Role
from gsbench.registry import Registry, class_fault

MODELS: Registry[type[Model]] = Registry("model", (ADGM, M2), class_fault(Model))

__all__ = [
    "MODELS",
    "AllClasses",
    "ClassBound",
    "ClassValues",
    "Draws",
    "DrawsAndPoint",
    "HardPoints",
    "Labels",
    "Model",
    "ModelConfig",
    "Noise",
    "Points",
    "Role",
]
