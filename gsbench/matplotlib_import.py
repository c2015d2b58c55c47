"""Makes matplotlib importable whatever MPLBACKEND says. Import this module before matplotlib.

matplotlib refuses to be imported where that variable names a backend that is not installed: a notebook hands
`module://matplotlib_inline.backend_inline` down to every program that it starts, into whatever environment. gsbench
draws with Agg alone and needs no backend. So matplotlib is imported without the variable. Then the variable is put
back, and matplotlib gets the backend that it names, as its own import would have done, for the user's other code.
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
        with suppress(ValueError):  # one that is not installed: matplotlib looks for one itself where one is needed
            matplotlib.rcParams["backend"] = _backend
