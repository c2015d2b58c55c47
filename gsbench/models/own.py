"""A user's own model: a PyTorch module with two functions.

    class Mixture(torch.nn.Module):
        noise = {}                                    # standard normal draws for each example: name → size

        def __init__(self, n_classes): ...
        def encode(self, x, noise): ...               # → logits of q(y|x) [B, K], context: name → tensor [B, …]
        def bound(self, y, x, noise, context): ...    # → f(y) [R], a value for each row

    MODELS.register(own_model("mixture", Mixture))

`encode` computes what depends on the example and not on the class. With several draws a step, each draw counts as an
example of its own. `bound` gets R rows. Each row has an example's x, noise and context, and a y. All y of a call are
class numbers, int64 [R], or points of the simplex, float [R, K]. So y W is W[y] or y @ W: see `embed`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from gsbench.backends import load_backend
from gsbench.backends.base import Array, Backend, Generator, Module, Parameter, Tensor
from gsbench.models.base import ClassBound, Model, Noise
from gsbench.models.config import ModelConfig
from gsbench.models.labels import AllClasses, ClassValues, Draws, DrawsAndPoint, HardPoints, Labels, Points
from gsbench.models.network import Role

METHODS = ("encode", "bound")
BACKEND = "torch"
FEW, MORE = 2, 4  # examples with which a model is counted
AT_ONCE = 50  # classes, where f is tried at all of them


def embed(y: Tensor, W: Tensor) -> Tensor:
    """y W: rows of W for class numbers int [R], a product for points of the simplex [R, K]. W [K, H] → [R, H]"""
    return y.to(W.dtype) @ W if y.ndim > 1 else W[y]


def in_rows(bk: Backend, y: ClassValues, classes: Array, n: int, batch: int) -> tuple[int, Tensor]:
    """C and y as C·N·B rows, draws after classes, examples last: class numbers int [R], or points [R, K].

    classes   the numbers of the classes that f covers
    """
    xp, examples = bk.xp, n * batch
    if isinstance(y, AllClasses):
        return len(classes), xp.repeat(classes, examples)
    if isinstance(y, Labels):
        return 1, classes[xp.tile(y.index, (n,))]
    if isinstance(y, Draws):
        count = y.index.shape[1]
        return count, classes[bk.reshape(xp.permute_dims(y.index, (1, 0, 2)), (count * examples,))]
    if isinstance(y, (Points, HardPoints)):
        _, count, _, n_classes = y.y.shape
        return count, bk.reshape(bk.swap(y.y, 0, 1), (count * examples, n_classes))
    raise ValueError(f"y of the form {type(y).__name__} has no rows")


@dataclass(frozen=True)
class OwnNoise(Noise):
    """The draws of a step by name, [N·B, …], for a user's model. `eps_z` [N, 1, B, 0] has their numbers alone."""

    draws: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class OwnBound(ClassBound):
    """f of a user's model. x [E, D_x] and context [E, …] have a row for each draw and example, E = N·B, draws first.

    classes   the numbers of the classes that f covers, int [C]
    """

    classes: Array = None

    @property
    def floating_context(self) -> dict[str, Tensor]:
        """The context that may carry a gradient, without class numbers, masks and the like."""
        floating = (self.bk.xp.float32, self.bk.xp.float64, self.bk.dtype)
        return {name: value for name, value in self.context.items() if value.dtype in floating}

    @property
    def inputs(self) -> dict[str, Tensor]:
        context = {f"context/{name}": value for name, value in self.floating_context.items()}
        return {**self.model.parameters_of_f, **context}

    def with_inputs(self, inputs: Mapping[str, Tensor], classes: slice | Array | None = None) -> OwnBound:
        context = {**self.context, **{name: inputs[f"context/{name}"] for name in self.floating_context}}
        covered = self.classes if classes is None else self.classes[classes]
        return replace(self, model=self.model.with_parameters(inputs), context=context, classes=covered)

    def at(self, draw: Array, example: Array) -> OwnBound:
        index = draw * self.noise.eps_z.shape[2] + example

        def take(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: value[index] for name, value in values.items()}

        empty = self.bk.reshape(self.noise.eps_z, (1, 1, len(index), 0))
        noise = OwnNoise(None, empty, draws=take(_draws(self.noise)))
        return replace(self, x=self.x[index], noise=noise, context=take(self.context))

    def with_noise_for_each_class(self, rng: Generator) -> ClassBound:
        raise ValueError("class_noise='independent' is not defined for a model of your own")


def _draws(noise: Noise) -> Mapping[str, Array]:
    assert isinstance(noise, OwnNoise)
    return noise.draws


class OwnModel(Model):
    """The base of the classes that `own_model` makes. `module_class` is the user's."""

    module_class: ClassVar[Any]
    backends = (BACKEND,)
    is_configured = False
    draws_images = False
    x_is_binary = False
    module: Module

    def _make_networks(self) -> None:
        try:
            self.module = self.bk.module(lambda: self.module_class(self.config.n_classes), int(self._seed))
        except ValueError as error:
            raise ValueError(f"model {self.name!r} {error}") from error

    def __init__(self, bk: Backend, config: ModelConfig, seed: int = 0) -> None:
        self._seed = seed % 2**63
        self._replaced: dict[str, Tensor] = {}
        self._training = True
        super().__init__(bk, config, seed)

    @classmethod
    def adapted(cls, config: ModelConfig) -> ModelConfig:
        """Batch norm in the module counts as the config's, because the same estimators are not defined for it."""
        counted = _counted(cls, config.n_classes, config.n_pixels)
        return replace(config, norm="batch" if counted.has_batch_norm else "none")

    @classmethod
    def of_shapes(cls, shapes: Backend, config: ModelConfig) -> Model:
        twin = copy.copy(_counted(cls, config.n_classes, config.n_pixels).model)
        twin.bk, twin.config = shapes, config
        return twin

    # Parameters and state

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {name: self._replaced.get(name, p) for name, p in self.module.parameters.items()}

    @property
    def statistics(self) -> dict[str, Array]:
        return {name: self._replaced.get(name, a) for name, a in self.module.statistics.items()}

    def with_parameters(self, parameters: Mapping[str, Tensor], statistics: Mapping[str, Array] | None = None) -> Model:
        twin = copy.copy(self)
        names = {*self.module.parameters, *self.module.statistics}
        given = {**parameters, **(statistics or {})}
        twin._replaced = {**self._replaced, **{name: given[name] for name in names & given.keys()}}
        return twin

    @property
    def parameters_of_f(self) -> dict[str, Parameter]:
        """All of them, because f may use some for a few classes alone."""
        return self.parameters

    @property
    def class_rows(self) -> frozenset[str]:
        return frozenset()  # unknown

    @property
    def roles(self) -> dict[str, Role]:
        """A parameter that f uses directly is generative, even if the logits depend on it too."""
        roles = dict.fromkeys(self.parameters, Role.OTHER_RECOGNITION)
        roles.update(dict.fromkeys(self._counted.of_logits, Role.RECOGNITION_OF_Y))
        return {**roles, **dict.fromkeys(self._of_f, Role.GENERATIVE)}

    @functools.cached_property
    def _of_f(self) -> frozenset[str]:
        """The parameters on which f depends directly, at any class."""
        bk, found = self.bk, frozenset[str]()
        with self.module.counting():
            noise = self.draw_noise(bk.generator(0), FEW)
            f = self.class_bound(bk.array(_binary(FEW, self.config.n_pixels)), noise)
            assert isinstance(f, OwnBound)
            f = replace(f, context={k: bk.stop_gradient(v) for k, v in f.context.items()})
            for start in range(0, self.config.n_classes, AT_ONCE):
                part = replace(f, classes=f.classes[start : start + AT_ONCE])
                found |= self.module.uses(bk.sum(part(AllClasses())))
        return found

    @property
    def classifier_parameters(self) -> dict[str, Parameter]:
        return {name: p for name, p in self.parameters.items() if name in self._counted.of_logits}

    @property
    def training(self) -> bool:
        return self._training

    def _set_training(self, training: bool) -> None:
        self._training = training
        self.module.set_training(training)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        before = self._training
        self._set_training(False)
        try:
            with self.bk.no_gradient():
                yield
        finally:
            self._set_training(before)

    @contextlib.contextmanager
    def leaving_statistics(self) -> Iterator[None]:
        with self.module.leaving_statistics():
            yield

    # The bound

    def draw_noise(self, rng: Generator, batch: int, n_mc: int = 1) -> Noise:
        draws = {}
        for name, size in getattr(self.module_class, "noise", {}).items():
            shape = size if isinstance(size, tuple) else (size,)
            drawn = self.bk.widen(self.bk.normal(rng, (n_mc, batch, *shape)))
            draws[name] = self.bk.reshape(drawn, (n_mc * batch, *shape))
        return OwnNoise(None, self.bk.array(np.zeros((n_mc, 1, batch, 0), np.float32)), draws=draws)

    def _encode(self, x: Array, noise: Noise) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """x [E, D_x], the logits [N, B, K] and the context [E, …]"""
        n, _, batch, _ = noise.eps_z.shape
        rows = x if n == 1 else self.bk.concat([x] * n, axis=0)
        found = self._call("encode", rows, rows, dict(_draws(noise)))
        logits, context = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        wanted = (n * batch, self.config.n_classes)
        if not isinstance(context, dict) or tuple(getattr(logits, "shape", ())) != wanted:
            got = f"a tensor {tuple(logits.shape)}" if hasattr(logits, "shape") else repr(type(logits).__name__)
            raise ValueError(
                f"encode of model {self.name!r} must return logits {wanted} and a dict of tensors, got {got} and "
                f"{type(context).__name__}"
            )
        for name, value in context.items():
            shape = tuple(value.shape) if hasattr(value, "shape") else None
            if not shape or shape[0] != n * batch:
                got = f"shape {shape}" if shape is not None else f"a {type(value).__name__}"
                raise ValueError(
                    f"encode of model {self.name!r} must return a context of tensors with a row for each of the "
                    f"{n * batch} examples; {name!r} has {got}"
                )
        return rows, self.bk.reshape(self.bk.widen(logits), (n, batch, wanted[1])), context

    def _call(self, method: str, x: Array, *arguments: Any) -> Any:
        """A method of the user's. Raises ValueError that names it and the model, if it raises anything but a lack of
        memory.
        """
        try:
            return self.module.call(method, self._replaced, *arguments)
        except Exception as error:
            if self.bk.is_out_of_memory(error):
                raise
            told = f"{type(error).__name__}: {error}"
            raise ValueError(f"{method} of model {self.name!r}, with x {tuple(x.shape)}, raises {told}") from error

    def class_logits(self, x: Array, noise: Noise) -> Tensor:
        return self._encode(x, noise)[1]

    def class_bound(self, x: Array, noise: Noise) -> ClassBound:
        rows, logits, context = self._encode(x, noise)
        classes = self.bk.integers(np.arange(self.config.n_classes))
        return OwnBound(self, rows, noise, logits, context, classes=classes)

    def bound_of(self, y: ClassValues, f: ClassBound) -> Tensor:
        assert isinstance(f, OwnBound)
        if isinstance(y, DrawsAndPoint):
            return self.bk.concat([self.bound_of(part, f) for part in (y.draws, y.point)], axis=1)
        n, _, batch, _ = f.noise.eps_z.shape
        count, values = in_rows(self.bk, y, f.classes, n, batch)
        return self._bound(f, values, count, n, batch)

    def _bound(self, f: OwnBound, y: Tensor, count: int, n: int, batch: int) -> Tensor:
        """The user's bound at `count` values of y for each draw and example: y [C·E] or [C·E, K] → [N, C, B]"""
        bk, examples = self.bk, n * batch

        def rows(value: Tensor) -> Tensor:
            """[E, …] → [C·E, …]"""
            if count == 1:
                return value
            return bk.reshape(bk.broadcast_to(value, (count, *value.shape)), (count * examples, *value.shape[1:]))

        noise, context = ({k: rows(v) for k, v in values.items()} for values in (_draws(f.noise), f.context))
        found = self._call("bound", f.x, y, rows(f.x), noise, context)
        if tuple(getattr(found, "shape", ())) != (count * examples,):
            got = tuple(found.shape) if hasattr(found, "shape") else type(found).__name__
            raise ValueError(f"bound of model {self.name!r} must return a number for each row, {(len(y),)}, got {got}")
        return bk.swap(bk.reshape(bk.widen(found), (count, n, batch)), 0, 1)

    def encode(self, x: Array, y: ClassValues) -> Tensor:
        raise ValueError(f"model {self.name!r} makes no images")

    def decode(self, y: ClassValues, z: Array) -> Tensor:
        raise ValueError(f"model {self.name!r} makes no images")

    # What it takes

    @property
    def _counted(self) -> Counted:
        return _counted(type(self), self.config.n_classes, self.config.n_pixels)

    @property
    def floats_per_row(self) -> int:
        """What a row keeps for its backward pass, and the gradient that is made from it."""
        return 2 * self._counted.floats_of_row

    @property
    def floats_left_per_row(self) -> int:
        return self._counted.floats_of_row

    @property
    def floats_waiting_per_row(self) -> int:
        return self._counted.floats_of_row

    def floats_of_examples(self, n_mc: int, batch: int) -> int:
        return 2 * n_mc * batch * self._counted.floats_of_example

    @property
    def floats_gathered(self) -> int:
        return self._counted.floats_given

    def operations_of_pass(self, rows: float, examples: float) -> int:
        """Operations, forward and backward, of `encode` for so many examples and `bound` for so many rows. If there is
        no product among them, the numbers that are kept stand for them.
        """
        c = self._counted
        found = rows * c.operations_of_row + examples * c.operations_of_example
        return round(found or rows * c.floats_of_row + examples * c.floats_of_example)


@dataclass(frozen=True, eq=False)
class Counted:
    """What was counted on a model of two and of four examples.

    of_logits          parameters on which the logits depend
    floats_of_row      numbers that a row of `bound` keeps for its backward pass, with what it is given
    floats_of_example  the same of an example of `encode`
    floats_given       numbers that a row is given: x, noise and context
    """

    model: OwnModel
    has_batch_norm: bool
    of_logits: frozenset[str]
    floats_of_row: int
    floats_of_example: int
    floats_given: int
    operations_of_row: float
    operations_of_example: float


def _sum(bk: Backend, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    return bk.sum(function(*arguments))


def _binary(batch: int, n_inputs: int) -> np.ndarray:
    return np.random.default_rng(0).integers(2, size=(batch, n_inputs)).astype(np.float32)


@functools.lru_cache(maxsize=16)
def _counted(cls: type[OwnModel], n_classes: int, n_inputs: int) -> Counted:
    bk = load_backend(BACKEND, "cpu", "float32")
    model = cls(bk, ModelConfig(n_classes, n_inputs))
    module, per = model.module, MORE - FEW
    found = []
    with module.counting():
        for batch in (FEW, MORE):
            rng = bk.generator(0)
            x = bk.array(_binary(batch, n_inputs))
            noise = model.draw_noise(rng, batch)
            f = model.class_bound(x, noise)
            assert isinstance(f, OwnBound)
            of_logits = module.uses(bk.sum(f.logits_y))
            leaves = {**f.context, **{k: bk.leaf(v) for k, v in f.floating_context.items()}}
            given = [f.x, *_draws(noise).values(), *f.context.values()]
            f = replace(f, context=leaves)
            labels = Labels(bk.integers(np.zeros(batch, np.int64)))
            encoding = module.counted(functools.partial(_sum, bk, model.class_logits, x, noise))
            bound = module.counted(functools.partial(_sum, bk, f, labels))
            found.append((encoding, bound, sum(math.prod(value.shape) for value in given)))
    (few_encoding, few_bound, few_given), (encoding, bound, given) = found
    numbers = round((given - few_given) / per)
    of_example, of_row = (
        [(b - a) / per for a, b in zip(*pair, strict=True)] for pair in ((few_encoding, encoding), (few_bound, bound))
    )
    return Counted(
        model, module.has_batch_norm, of_logits, round(of_row[0]) + numbers, round(of_example[0]) + numbers,
        numbers, of_row[1], of_example[1],
    )  # fmt: skip


def own_model(name: str, module_class: Callable[[int], Any]) -> type[OwnModel]:
    """The model of a user's module, to be registered: `MODELS.register(own_model("mine", Mine))`.

    module_class   makes the module from K; its methods and `noise` are described above

    Raises ValueError that says what the class lacks.
    """
    lacking = [method for method in METHODS if not callable(getattr(module_class, method, None))]
    if lacking:
        raise ValueError(f"the model {name!r} lacks {', '.join(lacking)}: see gsbench.models.own")
    sizes = getattr(module_class, "noise", None)
    if not isinstance(sizes, Mapping):
        example = "{'z': 20}"
        raise ValueError(f"the model {name!r} needs noise, a dict of names and sizes, such as {example}, got {sizes!r}")
    for size in sizes.values():
        if not all(isinstance(n, int) and n > 0 for n in (size if isinstance(size, tuple) else (size,))):
            raise ValueError(f"the model {name!r} needs noise of sizes that are integers > 0 or tuples, got {size!r}")
    doc = getattr(module_class, "__doc__", None) or f"A model of yours, {name}."
    attributes = {"name": name, "module_class": staticmethod(module_class), "__doc__": doc,
                  "__module__": getattr(module_class, "__module__", __name__)}  # fmt: skip
    return type(f"Own{name.title().replace('-', '')}", (OwnModel,), attributes)


__all__ = ["OwnModel", "embed", "own_model"]
