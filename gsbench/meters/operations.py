"""Counts the matrix products that a case needs, from its shapes alone. Every implementation needs them.

First layers are split over their inputs. An input that depends on neither the class nor the draw is multiplied once per
example. Elementwise work and the optimiser are not counted. tests/test_operations.py compares the count with the
products that the backend makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gsbench.estimators import Estimator
from gsbench.meters.estimate import model_of_shapes
from gsbench.models import ModelConfig
from gsbench.models.network import Network
from gsbench.values import not_known

TIMED = ("bound", "unlabelled-step", "step")


@dataclass(frozen=True)
class MatrixProduct:
    """[m, k] × [k, n]: 2mkn floating-point operations.

    transposed   the operand that lies in memory as its transpose: "left", "right" or ""
    """

    m: int
    k: int
    n: int
    transposed: str = ""

    @property
    def operations(self) -> int:
        return 2 * self.m * self.k * self.n

    def __str__(self) -> str:
        return f"{self.m}x{self.k}x{self.n}"


def products(
    model: str, config: ModelConfig, batch: int, n_mc: int, estimator: Estimator, timed: str, calls: float | None = None
) -> list[MatrixProduct]:
    """The products of an unlabelled bound ("bound", "unlabelled-step") or of a full training step ("step"), forward and
    backward. A full step adds the labelled bound, which evaluates f at one class, and the classifier on its logits.

    model   a name in `MODELS`
    batch   B, the unlabelled examples, and as many labelled ones in a step
    n_mc    N, the draws of a and z
    calls   values of y for an example and draw, or their mean; None: `estimator.calls(K)`

    Raises ValueError for an unknown `timed`.
    """
    if timed not in TIMED:
        raise ValueError(f"unknown timed {not_known(timed, TIMED)}")
    networks = model_of_shapes(model, config).networks  # none in a user's model
    calls = estimator.calls(config.n_classes) if calls is None else calls
    found = [p for net in networks for p in _network_products(net, batch, n_mc, estimator.calls_by_entry(calls))]
    if timed == "step":
        found += [p for net in networks for p in _network_products(net, batch, n_mc, {"classes": 1})]
    return found


def operations(
    model: str, config: ModelConfig, batch: int, n_mc: int, estimator: Estimator, timed: str, calls: float | None = None
) -> int:
    """Floating-point operations of `products` (same arguments). Those of a user's model are as its framework counts."""
    found = products(model, config, batch, n_mc, estimator, timed, calls)
    calls = estimator.calls(config.n_classes) if calls is None else calls
    examples, labelled = n_mc * batch, int(timed == "step")
    rows = examples * (calls + labelled)
    counted = model_of_shapes(model, config).operations_of_pass(rows, examples * (1 + labelled))
    return sum(p.operations for p in found) if counted is None else counted


def _network_products(
    network: Network, batch: int, n_mc: int, calls_by_entry: Mapping[str, float]
) -> Iterator[MatrixProduct]:
    """The products of one network, forward and backward. `calls_by_entry` as `Estimator.calls_by_entry`.

    | weights | rows | gradient of the input |
    |---|---|---|
    | W_x | B | none: pixels are constants |
    | W_a | N·B | yes |
    | W_y | N·C·B, or no product at all | see `_y_products` |
    | W_z | N·C·B | yes |
    | later layers | the rows of the sum of the first layer's terms | yes |

    C is the sum of the calls. Classes that are the same for all draws ("classes") add no factor N. This matters in M2,
    whose q(z|x,y) then has C·B rows.
    """
    calls = sum(calls_by_entry.values())
    draws_of_y = 1 if set(calls_by_entry) == {"classes"} else n_mc
    draws = {"x": 1, "a": n_mc, "y": draws_of_y, "z": n_mc}
    values = {"x": 1, "a": 1, "y": calls, "z": calls}

    def rows(*inputs: str) -> int:
        return round(max(draws[u] for u in inputs) * max(values[u] for u in inputs) * batch)

    shapes = {key.split("/")[1]: shape for key, shape in network.parameters.items()}
    firsts = [key[2:] for key in shapes if key.startswith("W_")]
    for key, shape in shapes.items():
        if key == "W_y":
            for y_enters, share in calls_by_entry.items():
                yield from _y_products(round(rows("y") * share / calls), shape, y_enters)
        elif key.startswith("W_"):
            yield from _layer_products(rows(key[2:]), shape, input_gradient=key != "W_x")
        elif key.startswith("W"):
            yield from _layer_products(rows(*firsts), shape, input_gradient=True)


def _layer_products(rows: int, shape: tuple[int, int], input_gradient: bool) -> Iterator[MatrixProduct]:
    """u Wᵀ; ∂/∂W = gᵀ u; ∂/∂u = g W. u [rows, n_in], W [n_out, n_in], g [rows, n_out]"""
    n_out, n_in = shape
    yield MatrixProduct(rows, n_in, n_out, "right")
    yield MatrixProduct(n_out, rows, n_in, "left")
    if input_gradient:
        yield MatrixProduct(rows, n_out, n_in)


def _y_products(rows: int, shape: tuple[int, int], y_enters: str) -> Iterator[MatrixProduct]:
    """y W_y and ∂/∂W_y = yᵀ g for a soft y; ∂/∂y = g W_yᵀ, for all K entries, for every y that has a gradient.

    y [rows, K], W_y [K, H], g [rows, H]. For a hard y, y W_y is a look-up of rows and yᵀ g adds rows up.
    """
    n_classes, units = shape
    if y_enters == "soft":
        yield MatrixProduct(rows, n_classes, units)
        yield MatrixProduct(n_classes, rows, units, "left")
    if y_enters in ("soft", "hard"):
        yield MatrixProduct(rows, units, n_classes, "right")
