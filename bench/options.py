"""The options of `pytest bench/`, each checked before anything runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from peers import PEERS, peer_cases

from gsbench.cli.values import at_least, byte_count, integers, one_of, option, path, seconds, some_of
from gsbench.data import count_classes, load_dataset, split
from gsbench.estimators import ESTIMATORS, Estimator, parse_estimators
from gsbench.estimators.marginalize_streamed import MarginalizeStreamed
from gsbench.fields import settings_of
from gsbench.limits import available_cores
from gsbench.meters.case import check_inputs
from gsbench.meters.machine import CLOCK, blas
from gsbench.meters.measure import memory_limit
from gsbench.models import MODELS, ModelConfig
from gsbench.registry import HELP, OPTION
from gsbench.settings.case import NETWORKS, Settings, check_class_count
from gsbench.settings.presets import PRESETS
from gsbench.values import SettingError, whole

DEFAULT_CLASSES = (10, 20, 50, 100, 200)
DEFAULT_ESTIMATORS = "marginalize,marginalize-streamed,gumbel-softmax,sum-and-relax"
# A relaxed draw, three hard ones, and two that sum the likeliest class. Others are named by --estimators.
DEFAULT_GRADED = "gumbel-softmax,straight-through,reinmax,score-function,sum-and-sample,sum-and-relax"
GRADIENT_BLOCKS = 20  # of repetitions; their spread gives the bias its interval
STATES = ("initial", "trained")
# Unbiased, so that it trains on the same bound as the exact sum, at the cost of two calls of f.
TRAINING_ESTIMATOR = "sum-and-sample"
ROOFLINE = ("bound", "step")


# Settings that all cases share. Options in the plural list values, of which a case takes one.
PLURALS = {"n_classes": "classes", "estimator": "estimators", "model": "models"}
OF_CASE = {n: s for n, s in {**settings_of(Settings), **NETWORKS}.items() if n not in PLURALS}


def peer_names(text: str) -> tuple[str, ...]:
    """Names of peers, or "all" of them."""
    names = some_of("peer", (*PEERS, "all"))(text)
    return tuple(PEERS) if "all" in names else names


def estimators(text: str) -> tuple[Estimator, ...]:
    return tuple(parse_estimators(text))


def gradient_draws(text: str) -> int:
    draws = whole(2 * GRADIENT_BLOCKS).read(text)
    if draws % GRADIENT_BLOCKS:
        raise ValueError(f"must be a multiple of {GRADIENT_BLOCKS}, {2 * GRADIENT_BLOCKS} at least, got {text!r}")
    return int(draws)


def default_threads() -> int:
    """The linear algebra library's default threads: all cores, or the limit of its environment variables."""
    return min(blas()[1] or available_cores(), available_cores())


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("gsbench", "gsbench: what is measured")
    add = group.addoption
    listed = ", ".join
    add(
        "--classes",
        type=integers("class counts", 2, "10,50,333"),
        metavar="K,K,…",
        help="class counts, integers >= 2 (default: "
        f"{','.join(map(str, DEFAULT_CLASSES))}, as far as the data set has them)",
    )
    add(
        "--estimators",
        type=option(estimators),
        metavar="NAME,…",
        help=f"estimators, with settings if wanted, such as 'gumbel-softmax(tau=0.5)'; known: {listed(ESTIMATORS)} "
        f"(default: {listed(DEFAULT_ESTIMATORS.split(','))}; for the quality of gradients "
        f"{listed(DEFAULT_GRADED.split(','))}, as far as the preset allows)",
    )
    add(
        "--models",
        type=some_of("model", MODELS),
        default=("adgm",),
        metavar="NAME,…",
        help=f"models; known: {listed(MODELS)} (default: adgm)",
    )
    add(
        "--data-dir",
        type=path,
        metavar="DIR",
        help="data folder with mnist/, fashion-mnist/, omniglot/ (default: the environment variable GSBENCH_DATA)",
    )
    add(OPTION, action="append", metavar="FILE.py|MODULE", help=HELP)
    for name, declared in OF_CASE.items():
        default = None if declared.default is dataclasses.MISSING or name in NETWORKS else declared.default
        text = declared.help if default is None else f"{declared.help} (default: {default})"
        add(
            f"--{declared.option.replace('_', '-')}",
            dest=name,
            type=option(declared.read),
            default=default,
            metavar="X",
            help=text.replace("%", "%%"),
        )
    add(
        "--memory-limit",
        type=byte_count,
        metavar="SIZE",
        help="largest memory of a case, such as 8GiB (default: four fifths of the free memory)",
    )
    add(
        "--accuracy-seconds",
        type=seconds,
        metavar="S",
        help="also train with each estimator for so long (default: no training; with --preset small the report's "
        "verdict takes accuracy by step from gsbench's reference curves)",
    )
    add(
        "--accuracy-preset",
        type=one_of("preset", PRESETS),
        metavar="NAME",
        default="small",
        help="the networks' sizes in these runs (default: %(default)s, so that seconds are enough)",
    )
    add(
        "--gradient-draws",
        type=option(gradient_draws),
        default=100,
        metavar="n",
        help="repetitions from which bias and variance of a gradient are estimated, a multiple of "
        f"{GRADIENT_BLOCKS}, {2 * GRADIENT_BLOCKS} at least (default: %(default)s)",
    )
    add(
        "--gradient-steps",
        type=at_least(1),
        default=200,
        metavar="STEPS",
        help=f"training steps, with {TRAINING_ESTIMATOR}, after which gradients are compared with the exact one "
        "again (default: %(default)s)",
    )
    add(
        "--roofline",
        type=some_of("part", ROOFLINE),
        default=("bound",),
        metavar="PART,…",
        help="parts whose share of the machine's matrix-product peak is measured: bound, the unlabelled bound; step, "
        "the full training step (default: bound)",
    )
    add(
        "--chunks",
        type=integers("chunk sizes", 1, "1,10,100"),
        default=(),
        metavar="C,C,…",
        help="also measure marginalize-streamed with these chunk sizes, in classes, at every class count that is at "
        "least as large (default: none)",
    )
    add(
        "--peers",
        type=peer_names,
        default=(),
        metavar="NAME,…",
        help="also time these formulations that people use today, in pairs with gsbench's; "
        f"known: {listed(PEERS)}, or all of them: all (those in PyTorch and Pyro need the extra peers, "
        "that in JAX the extra jax)",
    )


# `gsbench bench` names this module to pytest as a plug-in. Pytest then knows the options before it looks for a
# conftest.py in every folder among the arguments, which the value of an option it does not know yet may name.
pytest_addoption = add_options


@dataclasses.dataclass(frozen=True)
class Options:
    """The checked options. `base` is the case without its model, estimator and class count."""

    base: Settings
    classes: tuple[int, ...]
    estimators: tuple[Estimator, ...]
    graded: tuple[Estimator, ...]
    models: tuple[str, ...]
    data_dir: str | None
    memory_limit: int
    accuracy_seconds: float | None
    accuracy_preset: str
    gradient_draws: int
    gradient_steps: int
    roofline: tuple[str, ...]
    chunks: tuple[int, ...]
    peers: tuple[str, ...]

    @property
    def chunk_cases(self) -> list[tuple[int, int]]:
        """(K, chunk) for all chunks that K classes fill."""
        return [(k, chunk) for k in self.classes for chunk in self.chunks if chunk <= k]

    @property
    def gradient_blocks(self) -> tuple[int, int]:
        """Blocks of repetitions, and repetitions in a block."""
        return GRADIENT_BLOCKS, self.gradient_draws // GRADIENT_BLOCKS

    def training_of(self, state: str) -> dict[str, Any]:
        """How the parameters of a state in `STATES` were made, for its records."""
        trained = state == "trained"
        return {
            "training_steps": self.gradient_steps if trained else 0,
            "training_estimator": TRAINING_ESTIMATOR if trained else "",
        }

    @property
    def baseline(self) -> str:
        """The best version of the exact sum that the preset allows. Every other estimator is compared with it."""
        norms = {dataclasses.replace(self.base, model=model).make_config().norm for model in self.models}
        return "marginalize" if "batch" in norms else "marginalize-streamed"

    def settings(self, model: str, n_classes: int, estimator: str = "marginalize", **changes: Any) -> Settings:
        return dataclasses.replace(self.base, model=model, n_classes=n_classes, estimator=estimator, **changes)


def _classes(option: Any, dataset: str, data_dir: str | None) -> tuple[int, ...]:
    """The named counts, refused if the data set has fewer classes; else the defaults that it has."""
    if option is not None:
        check_class_count(dataset, max(option), data_dir)
        return option
    most = count_classes(dataset, data_dir)
    if most is None:
        return DEFAULT_CLASSES
    return tuple(k for k in DEFAULT_CLASSES if k <= most) or (most,)


def _estimators(option: Any, defaults: str, configs: list[ModelConfig]) -> tuple[Estimator, ...]:
    """The named estimators, refused if not defined for the preset; else the defaults that are defined."""
    found = []
    for estimator in option or parse_estimators(defaults):
        try:
            for config in configs:
                estimator.check(config)
        except ValueError:
            if option is not None:
                raise
        else:
            found.append(estimator)
    return tuple(found)


def told(error: Exception) -> str:
    """The error's message, with settings by the options that give them."""
    if not isinstance(error, SettingError):
        return str(error)
    spelled = {**{name: s.option for name, s in OF_CASE.items()}, **PLURALS}
    return error.told(lambda field: f"--{spelled.get(field, field).replace('_', '-')}")


def check_data(options: Options) -> None:
    """Raises pytest.UsageError if the data set is unavailable, or has too few examples of a class for its split.

    The largest class count has the fewest examples of each class.
    """
    base = options.base
    try:
        dataset = load_dataset(base.dataset, max(options.classes), data_dir=options.data_dir, seed=base.seed)
        parts = split(dataset, base.labelled_per_class, seed=base.seed)
        for model in options.models:
            check_inputs(model, dataset)
        if len(parts.unlabelled) == 0:
            raise ValueError(f"--labels {base.labelled_per_class} leaves no unlabelled image of {base.dataset!r}")
    except (ValueError, OSError) as error:
        raise pytest.UsageError(told(error)) from error
    except MemoryError as error:
        k = max(options.classes)
        raise pytest.UsageError(
            f"data set {base.dataset!r} with {k} classes does not fit in memory: {error}"
        ) from error


def _check_chunks(options: Options) -> None:
    """Raises ValueError for chunks that the preset does not allow, or that are larger than any class count."""
    if not options.chunks:
        return
    MarginalizeStreamed().check(options.base.make_config())
    if not options.chunk_cases:
        raise ValueError(
            f"--chunks {','.join(map(str, options.chunks))} are larger than every class count; the largest is "
            f"{max(options.classes)}"
        )


def _check_peers(options: Options) -> None:
    """Raises ValueError for any case but the one that the peers formulate."""
    base, config = options.base, options.base.make_config()
    plain = ModelConfig(config.n_classes)
    same = ("nonlinearity", "norm", "classifier_units", "drop_x", "drop_hidden", "log_var_limits")
    differs = [name for name in same if getattr(config, name) != getattr(plain, name)]
    got = (base.device, base.n_mc, differs, "adgm" in options.models)
    if options.peers and got != ("cpu", 1, [], True):
        raise ValueError(
            "--peers are written for --models adgm, --device cpu, --n-mc 1 and networks with relu, one width, "
            "no norm, no dropout and no limits of log σ²; got models "
            f"{', '.join(options.models)}, device {base.device}, n_mc {base.n_mc}, preset "
            f"{base.preset}{''.join(f', {name} {getattr(config, name)}' for name in differs)}"
        )
    if options.peers and not peer_cases(options.peers, options.estimators):
        raise ValueError(
            f"--peers {','.join(options.peers)} do none of --estimators {','.join(map(str, options.estimators))}; all "
            "do the exact sum, and those with 'plain' or 'split' in their name one draw of gumbel-softmax"
        )


def _check_clock(timer: str) -> None:
    """Raises ValueError if pytest-benchmark's clock is not the clock of pairs and training runs."""
    if timer != CLOCK:
        raise ValueError(
            f"--benchmark-timer is {CLOCK} here, which is wall time and the clock of pairs and training runs too, got "
            f"{timer}; leave the option out"
        )


def read_options(config: pytest.Config) -> Options:
    """The options of this run; raises pytest.UsageError that says what was wrong, what was got and what is allowed."""
    get = config.getoption
    try:
        _check_clock(str(get("benchmark_timer")))
        given = {name: value for name in OF_CASE if (value := get(name)) is not None}
        base = Settings.of({"threads": default_threads(), **given})
        bk = base.make_backend()
        configs = [
            dataclasses.replace(base, preset=p, model=m).make_config()
            for p in (base.preset, get("accuracy_preset"))
            for m in get("models")
        ]
        options = Options(
            base,
            _classes(get("classes"), base.dataset, get("data_dir")),
            _estimators(get("estimators"), DEFAULT_ESTIMATORS, configs),
            _estimators(get("estimators"), DEFAULT_GRADED, configs),
            get("models"),
            get("data_dir"),
            get("memory_limit") or memory_limit(bk),
            get("accuracy_seconds"),
            get("accuracy_preset"),
            get("gradient_draws"),
            get("gradient_steps"),
            get("roofline"),
            get("chunks"),
            get("peers"),
        )
        _check_chunks(options)
        _check_peers(options)
        return options
    except (ValueError, OSError) as error:
        raise pytest.UsageError(told(error)) from error
