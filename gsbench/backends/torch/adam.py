"""Adam for the PyTorch backend: PyTorch's fused update, a prior and clipping before it, and the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from gsbench.backends.base import BETA2, EPSILON, EPSILON_FORM, Array, Optimizer, Parameter

NAMES = {"m": "exp_avg", "v": "exp_avg_sq"}  # ours → PyTorch's


class Adam(Optimizer):
    """PyTorch's Adam over named parameters: algorithm 1 of Kingma and Ba 2015 (arXiv 1412.6980).

    W ← W − α m̂/(√v̂ + ε), m̂ = m/(1 − β1ᵗ), v̂ = v/(1 − β2ᵗ), β2 0.999, ε 1e-8. The update is fused: one pass over all
    arrays, on all threads.

    loss_scale   by which the gradients of a float16 loss are too large; None: they are not scaled
    """

    def __init__(
        self, parameters: Mapping[str, Parameter], learning_rate: float, beta1: float, loss_scale: float | None
    ) -> None:
        self._parameters = parameters
        self._optimizer = torch.optim.Adam(
            parameters.values(), lr=learning_rate, betas=(beta1, BETA2), eps=EPSILON, fused=True
        )
        self._loss_scale = loss_scale
        self._weight_decay: float = 0.0
        self._clip_norm: float | None = None
        self._clip_element: float | None = None
        self._updates = 0

    def constrain(
        self, weight_decay: float = 0.0, clip_norm: float | None = None, clip_element: float | None = None
    ) -> None:
        self._weight_decay, self._clip_norm, self._clip_element = weight_decay, clip_norm, clip_element

    @property
    def settings(self) -> dict[str, Any]:
        return {"adam_beta2": BETA2, "adam_epsilon": EPSILON, "adam_epsilon_form": EPSILON_FORM}

    def set_learning_rate(self, learning_rate: float) -> None:
        self._optimizer.param_groups[0]["lr"] = learning_rate

    def clear_gradients(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)

    def update(self) -> None:
        self._constrain_gradients()
        self._optimizer.step()
        self._updates += 1

    @torch.no_grad()
    def _constrain_gradients(self) -> None:
        """Unscales, adds the prior's gradient, and clips: without a wait for the device."""
        found = [p for p in self._parameters.values() if p.grad is not None]
        gradients = [p.grad for p in found]
        if self._loss_scale is not None:
            torch._foreach_mul_(gradients, 1 / self._loss_scale)
        if self._weight_decay:
            torch._foreach_add_(gradients, found, alpha=self._weight_decay)
        if self._clip_norm:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            torch._foreach_mul_(gradients, (self._clip_norm / norm).clamp(max=1.0))
        if self._clip_element:
            torch._foreach_clamp_min_(gradients, -self._clip_element)
            torch._foreach_clamp_max_(gradients, self._clip_element)

    def state(self) -> dict[str, Array]:
        state: dict[str, Array] = {"updates": np.asarray(self._updates)}
        for name, parameter in self._parameters.items():
            moments = self._optimizer.state.get(parameter, {})
            state.update({f"{key}/{name}": moments[theirs] for key, theirs in NAMES.items() if theirs in moments})
        return state

    def state_forms(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        forms: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {"updates": ((), np.dtype(int))}
        for name, p in self._parameters.items():
            dtype = torch.empty((), dtype=p.dtype).numpy().dtype
            forms.update({f"{key}/{name}": (tuple(p.shape), dtype) for key in NAMES})
        return forms

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._updates = int(state["updates"])
        for name, p in self._parameters.items():
            if f"m/{name}" not in state:
                self._optimizer.state.pop(p, None)
                continue
            moments = {
                theirs: torch.from_numpy(np.array(state[f"{key}/{name}"])).to(p.device) for key, theirs in NAMES.items()
            }
            step = torch.tensor(float(self._updates), device=p.device)
            self._optimizer.state[p] = {"step": step, **moments}
