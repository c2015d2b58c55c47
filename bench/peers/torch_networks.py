"""The five networks of an ADGM in PyTorch's own layers, for plain PyTorch and for Pyro."""

from __future__ import annotations

import itertools
import re
from typing import Any

import torch
from torch import nn

from peers import check_config
from peers.weights import concatenated_weights


def parameter_dtype(dtype: str) -> torch.dtype:
    """The dtype of parameters, images, noise and log densities: float32 where only the products are in bfloat16."""
    return torch.float64 if dtype == "float64" else torch.float32


def autocast(dtype: str) -> Any:
    """PyTorch's own mixed precision for a case in bfloat16: within it, products are in bfloat16."""
    return torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16")


class MLP(nn.Sequential):
    """Linear layers with ReLU between them. The output has the input's dtype, under `autocast` as well."""

    def __init__(self, *sizes: int) -> None:
        layers: list[nn.Module] = []
        for d, h in itertools.pairwise(sizes):
            layers += [nn.Linear(d, h), nn.ReLU()]
        super().__init__(*layers[:-1])

    def forward(self, u: Any) -> Any:
        """u [..., D] → [..., H]"""
        return super().forward(u).to(u.dtype)


class Networks(nn.Module):
    """The networks of a `ModelConfig` with relu and no norm; their inputs come concatenated."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        check_config(config)
        c = self.config = config
        hidden, class_hidden = [c.units] * c.layers, [c.units] * c.class_layers
        self.q_a_x = MLP(c.n_pixels, *hidden, 2 * c.d_a)
        self.q_y_ax = MLP(c.d_a + c.n_pixels, *hidden, c.n_classes)
        self.q_z_axy = MLP(c.d_a + c.n_pixels + c.n_classes, *class_hidden, 2 * c.d_z)
        self.p_x_yz = MLP(c.n_classes + c.d_z, *class_hidden, c.n_pixels)
        self.p_a_xyz = MLP(c.n_pixels + c.n_classes + c.d_z, *class_hidden, 2 * c.d_a)

    def copy_weights(self, model: Any) -> None:
        """Takes the weights of a gsbench ADGM of the same config."""
        with torch.no_grad():
            for name, layers in concatenated_weights(model).items():
                mine = [layer for layer in getattr(self, name) if isinstance(layer, nn.Linear)]
                for layer, (w, b) in zip(mine, layers, strict=True):
                    layer.weight.copy_(torch.from_numpy(w))
                    layer.bias.copy_(torch.from_numpy(b))


def torch_versions() -> dict[str, Any]:
    """PyTorch's version, threads and linear algebra library, for the record."""
    built = torch.__config__.show()
    mkl = re.search(r"Math Kernel Library Version ([\d.]+)", built)
    other = re.search(r"BLAS_INFO=(\w+)", built)
    blas = f"mkl {mkl[1]}" if mkl else (other[1] if other else None)
    return {"torch_version": torch.__version__, "torch_threads": torch.get_num_threads(), "baseline_blas": blas}
