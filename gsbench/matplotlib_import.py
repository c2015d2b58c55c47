"""Imports matplotlib with any value of MPLBACKEND. Import this module before matplotlib.

The import of matplotlib fails if this variable names a backend that is not installed. A notebook, for example, passes
`module://matplotlib_inline.backend_inline` on to every program that it starts, in any environment. gsbench draws with
Agg only and needs no other backend, so this module imports matplotlib without the variable. Then it restores the
variable and sets the backend that it names, as matplotlib's own import does, for the user's other code.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

VARIABLE = "MPLBACKEND"

if "matplotlib" not in sys.modules:
    _backend = os.environ.pop(VARIABLE, None)
    try:
        import matplotlib
    finally:
        if _backend is not None:
            os.environ[VARIABLE] = _backend
    if _backend:
        with suppress(ValueError):  # if it is not installed, matplotlib chooses a backend when it needs one
            matplotlib.rcParams["backend"] = _backend
