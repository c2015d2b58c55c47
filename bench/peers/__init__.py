"""Peers: the usual implementations in other frameworks, with which gsbench's own are compared.

A new peer needs a file with a class that `Peer.make` can call, and a line in `PEERS`. Nothing here imports a framework
before it is needed.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from gsbench.estimators import Estimator
from gsbench.extras import install
from gsbench.models import ModelConfig
from gsbench.training.minibatches import Batch

ALPHA, LEARNING_RATE = 1.0, 3e-4  # the same as in `gsbench.meters.case.Case`

FULL = ("float32", "float64")


@dataclass(frozen=True)
class Peer:
    """A formulation by name.

    module, cls   where its class is
    framework     the framework that it needs, as its makers spell it
    kinds         which of gsbench's estimators it does: "sum" over all classes, one "gumbel" softmax draw
    extra         gsbench's extra that installs it
    dtypes        what it computes in
    """

    name: str
    module: str
    cls: str
    framework: str
    kinds: tuple[str, ...]
    extra: str = "peers"
    dtypes: tuple[str, ...] = (*FULL, "bfloat16")

    def load(self) -> Any:
        """The class. Its framework's import warnings are hidden, because the user cannot mend them."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(importlib.import_module(f"{__name__}.{self.module}"), self.cls)

    def problem(self, dtype: str = "float32") -> str | None:
        """Why this peer cannot run here in `dtype`, or None if it can."""
        if dtype not in self.dtypes:
            return f"{self.name} computes in {', '.join(self.dtypes)}, got dtype {dtype}"
        try:
            self.load()
        except Exception as error:  # a damaged installation fails with other errors than ImportError
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            return f"{self.framework} cannot be imported ({reason}); {install(self.extra)}"
        return None

    def make(
        self, config: ModelConfig, estimator: Estimator, batch: Batch, threads: int, seed: int, dtype: str
    ) -> Any:
        """The peer ready to be timed, with its framework's own initial weights, on a batch of NumPy arrays.

        In bfloat16 only products are, in the framework's own way of mixed precision: parameters, Adam's moments and log
        densities are float32.

        It has `unlabelled_step()`: clear gradients, the unlabelled bound with noise drawn anew, backward of its
        negative mean, Adam's update; `step()` where it does the "gumbel" kind: the same of the whole training loss;
        `copy_weights(model)`; and `versions()` for the record. `gsbench.meters.child.STEPS` names the steps, as in
        `gsbench.meters.case.Case`.
        """
        return self.load()(config, estimator, batch, threads, seed, dtype)


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("plain-chainer", "plain_chainer", "PlainChainer", "Chainer", ("sum", "gumbel"), "chainer", FULL),
        Peer("plain-torch", "plain_torch", "PlainTorch", "PyTorch", ("sum", "gumbel")),
        Peer("split-torch", "split_torch", "SplitTorch", "PyTorch", ("sum", "gumbel")),
        Peer("plain-jax", "plain_jax", "PlainJax", "JAX", ("sum", "gumbel"), extra="jax"),
        Peer("pyro-parallel", "pyro_enumeration", "PyroParallel", "Pyro", ("sum",)),
        Peer("pyro-sequential", "pyro_enumeration", "PyroSequential", "Pyro", ("sum",)),
    )
}


def kind(estimator: Estimator) -> str | None:
    """The kind of formulation that computes the same as `estimator`, or None if no peer has one."""
    if estimator.exact:
        return "sum"
    return "gumbel" if estimator.name == "gumbel-softmax" and estimator.settings["draws"] == 1 else None


def peer_cases(peers: Iterable[str], estimators: Iterable[Estimator]) -> list[tuple[str, str, str]]:
    """(peer, estimator, timed) for all meaningful cases: the step on unlabelled examples, and, for one Gumbel-Softmax
    draw, also the full training step.
    """
    return [
        (name, str(estimator), timed)
        for estimator in estimators
        for name in peers
        if kind(estimator) in PEERS[name].kinds
        for timed in ("unlabelled-step", *(["step"] if kind(estimator) == "gumbel" else []))
    ]


def check_config(config: ModelConfig) -> None:
    """Raises ValueError for networks that the peers do not support."""
    if (config.nonlinearity, config.norm, config.log_var_limits) != ("relu", "none", None):
        raise ValueError(
            "the peers are written for relu, no norm and unclipped log variances, got "
            f"{config.nonlinearity}, norm {config.norm!r}, log_var_limits {config.log_var_limits}"
        )


class PeerOutOfMemory(MemoryError):
    """A peer, and not gsbench, ran out of memory."""


NO_MEMORY = ("allocate memory", "RESOURCE_EXHAUSTED")  # PyTorch's words and JAX's


def memory_errors(call: Callable[..., Any]) -> Callable[..., Any]:
    """A peer's call that raises PeerOutOfMemory if memory runs out. PyTorch and JAX raise a RuntimeError."""

    @functools.wraps(call)
    def watched(*args: Any) -> Any:
        try:
            return call(*args)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not any(words in str(error) for words in NO_MEMORY):
                raise
            raise PeerOutOfMemory(str(error)) from error

    return watched
