"""An ADGM as one writes it in PyTorch once one knows what its time goes into: nothing is tiled over the classes.

A first layer has a weight for each of its inputs. So x and a go through theirs once, and a class adds its row of W_y.
Adam is fused. PyTorch's own layers and functions; nothing is compiled. In bfloat16 by autocast.

Beside `marginalize` the sum is one graph. Beside `marginalize-streamed` it runs in chunks of classes, each with its
backward pass at once, as one has to write it where the graph of all K classes does not fit in memory.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from peers import check_config
from peers.plain_torch import PlainTorch, draw, log_normal
from peers.torch_networks import autocast

CHUNK_ROWS = 5000  # classes times examples that a chunk of the streamed sum has: 50 classes of 100 examples


class SplitMLP(nn.Module):
    """Linear layers with ReLU between them; the first has a weight for each input, and the caller adds up its parts."""

    def __init__(self, inputs: dict[str, int], *sizes: int) -> None:
        super().__init__()
        whole = nn.Linear(sum(inputs.values()), sizes[0])
        parts = zip(inputs, whole.weight.detach().split([*inputs.values()], dim=1), strict=True)
        # W_y is [K, H], a row for each class; the others are [H, D].
        self.W = nn.ParameterDict({name: (w.T if name == "y" else w).contiguous() for name, w in parts})
        self.b1 = whole.bias
        self.later = nn.ModuleList(nn.Linear(d, h) for d, h in itertools.pairwise(sizes))

    def part(self, name: str, u: Any, bias: Any = None) -> Any:
        """What an input adds to the first layer: [..., D] → [..., H]"""
        return F.linear(u, self.W[name].T if name == "y" else self.W[name], bias)

    def forward(self, h: Any) -> Any:
        """The sum of the first layer's parts [..., H] → the output [..., D], in the parameters' dtype"""
        for layer in self.later:
            h = layer(F.relu_(h))
        return h.to(self.b1.dtype)


class SplitADGM(nn.Module):
    """The ADGM of a `ModelConfig` with relu and no norm. Every bound is per example and is maximised."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        check_config(config)
        c = self.config = config
        hidden, class_hidden = [c.units] * c.layers, [c.units] * c.class_layers
        a, x, y, z = {"a": c.d_a}, {"x": c.n_pixels}, {"y": c.n_classes}, {"z": c.d_z}
        self.q_a_x = SplitMLP(x, *hidden, 2 * c.d_a)
        self.q_y_ax = SplitMLP(a | x, *hidden, c.n_classes)
        self.q_z_axy = SplitMLP(a | x | y, *class_hidden, 2 * c.d_z)
        self.p_x_yz = SplitMLP(y | z, *class_hidden, c.n_pixels)
        self.p_a_xyz = SplitMLP(x | y | z, *class_hidden, 2 * c.d_a)

    def named(self) -> dict[str, Any]:
        """The parameters by gsbench's names."""
        found: dict[str, Any] = {}
        for name in ("q_a_x", "q_y_ax", "q_z_axy", "p_x_yz", "p_a_xyz"):
            network = getattr(self, name)
            found |= {f"{name}/W_{key}": w for key, w in network.W.items()} | {f"{name}/b1": network.b1}
            for i, layer in enumerate(network.later, start=2):
                found |= {f"{name}/W{i}": layer.weight, f"{name}/b{i}": layer.bias}
        return found

    def copy_weights(self, model: Any) -> None:
        """Takes the weights of a gsbench ADGM of the same config."""
        with torch.no_grad():
            for name, p in self.named().items():
                p.copy_(torch.from_numpy(model.bk.to_numpy(model.parameters[name])))

    def recognise(self, x: Any, eps_a: Any) -> tuple[Any, Any, Any]:
        """x [B, D_x], eps_a [B, D_a] → a [B, D_a], log q(a|x) [B], log q(y|a,x) [B, K]"""
        mean_a, log_var_a = self.q_a_x(self.q_a_x.part("x", x, self.q_a_x.b1)).chunk(2, dim=-1)
        a = draw(mean_a, log_var_a, eps_a)
        q_y = self.q_y_ax
        log_q_y = F.log_softmax(q_y(q_y.part("x", x, q_y.b1) + q_y.part("a", a)), dim=1)
        return a, log_normal(a, mean_a, log_var_a), log_q_y

    def shared(self, x: Any, a: Any) -> tuple[Any, Any]:
        """What x and a add to the first layers of q(z|a,x,y) and p(a|x,y,z), for all classes. → [B, H], [B, H]"""
        q_z, p_a = self.q_z_axy, self.p_a_xyz
        return q_z.part("x", x, q_z.b1) + q_z.part("a", a), p_a.part("x", x, p_a.b1)

    def rows(self, k: Any) -> tuple[Any, ...]:
        """What the classes k (a slice) add to the first layers that y enters. → three [C, 1, H]"""
        return tuple(net.W["y"][k, None] for net in (self.q_z_axy, self.p_x_yz, self.p_a_xyz))

    def f(self, x: Any, a: Any, shared: Any, parts: Any, eps_z: Any) -> Any:
        """f(y) + log q(a|x)

        x [B, D_x], a [B, D_a], eps_z [B, D_z], `shared` two [B, H]; `parts`, what y adds to three first layers,
        [..., H] → [...]
        """
        (q_z, p_a), (y_q_z, y_p_x, y_p_a) = shared, (part.to(shared[0].dtype) for part in parts)
        mean_z, log_var_z = self.q_z_axy(y_q_z + q_z).chunk(2, dim=-1)
        z = draw(mean_z, log_var_z, eps_z)
        mean_p, log_var_p = self.p_a_xyz(self.p_a_xyz.part("z", z) + (y_p_a + p_a)).chunk(2, dim=-1)
        logits_x = self.p_x_yz(self.p_x_yz.part("z", z, self.p_x_yz.b1) + y_p_x)
        log_p_x = -F.binary_cross_entropy_with_logits(logits_x, x.expand_as(logits_x), reduction="none").sum(-1)
        # ε is (z − μ)/σ, so that log q(z|a,x,y) needs no more than σ.
        log_p_z_over_q_z = 0.5 * (log_var_z + eps_z**2 - z**2).sum(-1)
        return log_p_x + log_normal(a, mean_p, log_var_p) + log_p_z_over_q_z - math.log(self.config.n_classes)

    def unlabelled_bound(self, x: Any, eps_a: Any, eps_z: Any) -> Any:
        """U(x) with the sum over all classes in one graph. x [B, D_x], eps_a [B, D_a], eps_z [B, D_z] → [B]"""
        a, log_q_a, log_q_y = self.recognise(x, eps_a)
        f = self.f(x, a, self.shared(x, a), self.rows(slice(None)), eps_z).T  # [B, K]
        return (log_q_y.exp() * (f - log_q_y)).sum(1) - log_q_a

    def backward_in_chunks(self, x: Any, eps_a: Any, eps_z: Any, classes: int, dtype: str) -> Any:
        """The backward pass of −mean U(x), for so many classes at a time. → U(x) [B], without a graph

        The weight q(y|a,x) of each class is known before f is, so that a chunk's graph is used up before the next
        one's is made. The gradients of what all chunks share add up in leaves that stand in their place.
        """
        with autocast(dtype):
            a, log_q_a, log_q_y = self.recognise(x, eps_a)
            joined = (a, *self.shared(x, a))
        leaves = [u.detach().requires_grad_() for u in joined]
        weights = log_q_y.detach().exp().T / -len(x)  # [K, B]
        values = []
        for k in range(0, self.config.n_classes, classes):
            chunk = slice(k, k + classes)
            with autocast(dtype):
                f = self.f(x, leaves[0], leaves[1:], self.rows(chunk), eps_z)  # [C, B]
            f.backward(weights[chunk])
            values.append(f.detach())
        bound = (log_q_y.exp() * (torch.cat(values).T - log_q_y)).sum(1) - log_q_a
        torch.autograd.backward([-bound.mean(), *joined], [None, *(u.grad for u in leaves)])
        return bound.detach()

    def sampled_bound(self, x: Any, eps_a: Any, eps_z: Any, tau: float) -> Any:
        """U(x) at one Gumbel-Softmax draw of y. → [B]"""
        a, log_q_a, log_q_y = self.recognise(x, eps_a)
        y = F.gumbel_softmax(log_q_y, tau)
        parts = (net.part("y", y) for net in (self.q_z_axy, self.p_x_yz, self.p_a_xyz))
        f = self.f(x, a, self.shared(x, a), parts, eps_z)
        return f - (log_q_y.exp() * log_q_y).sum(1) - log_q_a

    def labelled_bound(self, x: Any, y: Any, eps_a: Any, eps_z: Any) -> tuple[Any, Any]:
        """L(x, y) and log q(y|a,x) for labels y int [B]. → [B], [B]"""
        a, log_q_a, log_q_y = self.recognise(x, eps_a)
        parts = (F.embedding(y, net.W["y"]) for net in (self.q_z_axy, self.p_x_yz, self.p_a_xyz))
        f = self.f(x, a, self.shared(x, a), parts, eps_z)
        return f - log_q_a, -F.nll_loss(log_q_y, y, reduction="none")


class SplitTorch(PlainTorch):
    """The peer: the split ADGM with PyTorch's fused Adam and one minibatch."""

    network = SplitADGM
    fused = True

    def __init__(self, config: Any, estimator: Any, batch: Any, threads: int, seed: int, dtype: str) -> None:
        super().__init__(config, estimator, batch, threads, seed, dtype)
        self._classes = None
        if estimator.name == "marginalize-streamed":
            self._classes = estimator.chunk or max(1, CHUNK_ROWS // len(self._x))

    def unlabelled_step(self) -> None:
        if self._classes is None:
            return super().unlabelled_step()
        self._optimizer.zero_grad()
        self.model.backward_in_chunks(self._x, *self._noise(len(self._x)), self._classes, self._dtype)
        self._optimizer.step()
