"""How to install what gsbench can do without: the extras of the package."""

from __future__ import annotations

# Chainer's build imports pkg_resources, which setuptools 82 dropped, so a plain `pip install` of Chainer fails.
INSTALL_CHAINER = ("pip install 'setuptools<81' wheel", "pip install --no-build-isolation chainer==7.8.1")


def install(extra: str) -> str:
    """The commands that install an extra into the environment of gsbench, in one line."""
    return ", then ".join(INSTALL_CHAINER) if extra == "chainer" else f"pip install 'gsbench[{extra}]'"
