"""Imports Chainer 7.8.1 (its last release, August 2022) on today's Python and NumPy.

    from gsbench.backends.chainer.importing import chainer

Each mend stands beside its reason. Nothing of Chainer's or NumPy's behaviour is changed beyond what the import needs,
and the user sees no warning from it.
"""

from __future__ import annotations

import os
import sys
import types
import warnings

import numpy

# CuPy 13 binds cuDNN 8 and CuPy 14 none, and no network of ours has a convolution: without this, Chainer warns of
# a missing or mismatched cuDNN.
os.environ.setdefault("CHAINER_CUDNN", "0")

# chainer._environment_check imports numpy.distutils (gone with Python 3.12) and pkg_resources (gone with
# setuptools 82). Chainer calls only its check(), which looks for conflicting installations.
_environment_check = types.ModuleType("chainer._environment_check")
_environment_check.check = lambda: None  # type: ignore[attr-defined]
sys.modules.setdefault("chainer._environment_check", _environment_check)

# chainer/functions/array/as_strided.py reads np.sctypes["int"] while it is imported (gone with NumPy 2). It is lent
# for the import alone: only the backward pass of F.as_strided, which gsbench does not use, reads it again.
_lend_sctypes = not hasattr(numpy, "sctypes")
if _lend_sctypes:
    numpy.sctypes = {  # type: ignore[attr-defined]
        "int": [numpy.int8, numpy.int16, numpy.int32, numpy.int64],
        "float": [numpy.float16, numpy.float32, numpy.float64],
    }

# With CuPy installed but no usable card, CuPy and Chainer warn of it at import. The CPU works all the same, and
# `ChainerBackend` says in its own words what is missing when a CUDA device is asked for.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import chainer

if _lend_sctypes:
    del numpy.sctypes  # type: ignore[attr-defined]

__all__ = ["chainer"]
