"""An ADGM as usually written in Pyro: a model and a guide. TraceEnum_ELBO enumerates the class in the guide.

    model   p(y) p(z) p(a|x,y,z) p(x|y,z)        guide   q(a|x) q(y|a,x) q(z|a,x,y)

In parallel enumeration, y gets its own axis, and every term that depends on y is broadcast to it. In sequential
enumeration, model and guide run once per class, with the same draw of a. Each run's terms are weighted with q(y|a,x)
per example, because all of them stand in the plate of the examples. Both tile x over the
classes, because the inputs of a first layer are concatenated. In bfloat16 they run under autocast.
"""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate

from peers import LEARNING_RATE
from peers.torch_networks import Networks, autocast, parameter_dtype, torch_versions


def concat(*inputs: Any) -> Any:
    """Inputs [..., D_i], broadcast to one another, side by side: [..., Σ D_i]"""
    shape = torch.broadcast_shapes(*(u.shape[:-1] for u in inputs))
    return torch.cat([u.expand(*shape, u.shape[-1]) for u in inputs], dim=-1)


def gaussian(out: Any) -> Any:
    """The distribution of a Gaussian head [..., 2D], whose event is the last axis."""
    mean, log_var = out.chunk(2, dim=-1)
    return dist.Normal(mean, torch.exp(0.5 * log_var)).to_event(1)


class PyroADGM:
    """Model and guide over the networks of a `ModelConfig`; the ELBO is the mean over the examples."""

    def __init__(self, config: Any, enumerate_y: str) -> None:
        self.networks = Networks(config)
        self.elbo = TraceEnum_ELBO(max_plate_nesting=1)
        self.annotated_guide = config_enumerate(self.guide, enumerate_y)

    def model(self, x: Any) -> None:
        """x [B, D_x]"""
        nets, c = self.networks, self.networks.config
        pyro.module("adgm", nets)
        with pyro.plate("examples", len(x)), poutine.scale(scale=1 / len(x)):
            y = pyro.sample("y", dist.OneHotCategorical(logits=x.new_zeros(c.n_classes)))
            z = pyro.sample("z", dist.Normal(x.new_zeros(c.d_z), x.new_ones(c.d_z)).to_event(1))
            pyro.sample("a", gaussian(nets.p_a_xyz(concat(x, y, z))))
            pyro.sample("x", dist.Bernoulli(logits=nets.p_x_yz(concat(y, z))).to_event(1), obs=x)

    def guide(self, x: Any) -> None:
        """x [B, D_x]"""
        nets = self.networks
        pyro.module("adgm", nets)
        with pyro.plate("examples", len(x)), poutine.scale(scale=1 / len(x)):
            a = pyro.sample("a", gaussian(nets.q_a_x(x)))  # [B, D_a]
            y = pyro.sample("y", dist.OneHotCategorical(logits=nets.q_y_ax(concat(a, x))))  # [K, 1, K] or [1, K]
            pyro.sample("z", gaussian(nets.q_z_axy(concat(a, x, y))))  # [K, B, D_z] or [B, D_z]

    def bound(self, x: Any) -> float:
        """The mean over the examples of the unlabelled bound. x [B, D_x]"""
        return -self.elbo.loss(self.model, self.annotated_guide, x)


class PyroParallel:
    """The peer: Pyro's loss and gradients, PyTorch's Adam, one minibatch.

    PyTorch's Adam handles all parameters at once. It is faster than `SVI` with Pyro's Adam, which makes one optimiser
    per parameter (by 6 % of a step at K = 10). Pyro's checks of arguments and shapes are off, for speed.
    """

    enumerate_y = "parallel"

    def __init__(self, config: Any, estimator: Any, batch: Any, threads: int, seed: int, dtype: str) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        pyro.enable_validation(False)
        # Pyro keeps parameters by name for the whole process, so that an earlier peer's would replace ours.
        pyro.clear_param_store()
        self._dtype = dtype
        self.model = PyroADGM(config, self.enumerate_y)
        self.model.networks.to(parameter_dtype(dtype))
        self.copy_weights = self.model.networks.copy_weights
        self._optimizer = torch.optim.Adam(self.model.networks.parameters(), lr=LEARNING_RATE)
        self._x = torch.from_numpy(batch.x_unlabelled).to(parameter_dtype(dtype))

    def versions(self) -> dict[str, Any]:
        return {"pyro_version": pyro.__version__, **torch_versions()}

    def unlabelled_step(self) -> None:
        self._optimizer.zero_grad()
        # `differentiable_loss` would keep the graphs of all classes in sequential enumeration.
        with autocast(self._dtype):
            self.model.elbo.loss_and_grads(self.model.model, self.model.annotated_guide, self._x)
        self._optimizer.step()


class PyroSequential(PyroParallel):
    """As `PyroParallel`, one class after the other."""

    enumerate_y = "sequential"
