"""Imports Chainer 7.8.1 (its last release, August 2022) on today's Python and NumPy.

    from gsbench.backends.chainer.importing import chainer

A comment beside each workaround gives its reason. Chainer's and NumPy's behaviour is changed only as far as the import
needs, and the user sees no warning from it.
"""

from __future__ import annotations

import os
import sys
import types
import warnings

import numpy

# Without this setting, Chainer warns of a missing or mismatched cuDNN: CuPy 13 binds cuDNN 8, and CuPy 14 binds none.
# gsbench needs no cuDNN, because its networks have no convolutions.
os.environ.setdefault("CHAINER_CUDNN", "0")

# chainer._environment_check imports numpy.distutils (gone with Python 3.12) and pkg_resources (gone with
# setuptools 82). Chainer calls only its check(), which looks for conflicting installations.
_environment_check = types.ModuleType("chainer._environment_check")
_environment_check.check = lambda: None  # type: ignore[attr-defined]
sys.modules.setdefault("chainer._environment_check", _environment_check)

# chainer/functions/array/as_strided.py reads np.sctypes["int"] (gone with NumPy 2) while it is imported. A substitute
# exists during the import only: later only the backward pass of F.as_strided, unused in gsbench, reads np.sctypes.
_lend_sctypes = not hasattr(numpy, "sctypes")
if _lend_sctypes:
    numpy.sctypes = {  # type: ignore[attr-defined]
        "int": [numpy.int8, numpy.int16, numpy.int32, numpy.int64],
        "float": [numpy.float16, numpy.float32, numpy.float64],
    }

# CuPy and Chainer warn at import if CuPy is installed without a usable card. The CPU works nevertheless, and
# `ChainerBackend` raises its own error when a CUDA device is requested.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import chainer

if _lend_sctypes:
    del numpy.sctypes  # type: ignore[attr-defined]

__all__ = ["chainer"]
