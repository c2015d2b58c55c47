"""A user's own PyTorch model and data: M2 written as a user would gives what the package's M2 gives."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from core_fixtures import BATCH, SIZES, make_model, make_pixels
from records_fixture import make_record, write_lines

from gsbench.cli import main
from gsbench.data import load_dataset
from gsbench.data.own import own_data
from gsbench.estimators import ESTIMATORS, parse_estimator
from gsbench.meters.case import Case
from gsbench.meters.estimate import estimate_step_bytes
from gsbench.meters.gradient_quality import Point, gradient_quality
from gsbench.meters.measure import step_peak
from gsbench.meters.operations import operations
from gsbench.models import MODELS, ModelConfig, Role
from gsbench.settings.case import Settings
from gsbench.training.objective import loss, training_loss, unlabelled_bound

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
own = pytest.importorskip("gsbench.models.own")
F = torch.nn.functional

EVERY = (
    *ESTIMATORS, "marginalize-streamed(chunk=2)", "gumbel-softmax(tau=0.3,draws=2)", "sum-and-sample(mass=0.6)",
    "sum-and-relax(m=2,mass=0.8,tau=0.5)",
)  # fmt: skip


class WrittenM2(torch.nn.Module):
    """M2 with two hidden layers, on the concatenated inputs of the papers."""

    noise = {"z": SIZES["d_z"]}  # noqa: RUF012

    def __init__(self, n_classes):
        super().__init__()
        d, units, d_z = SIZES["n_pixels"], SIZES["units"], SIZES["d_z"]

        def network(n_in, n_out):
            layers = [torch.nn.Linear(n_in, units), torch.nn.ReLU(), torch.nn.Linear(units, units), torch.nn.ReLU()]
            return torch.nn.Sequential(*layers, torch.nn.Linear(units, n_out))

        self.n_classes = n_classes
        self.q_y_x, self.q_z_xy = network(d, n_classes), network(d + n_classes, 2 * d_z)
        self.p_x_yz = network(n_classes + d_z, d)

    def encode(self, x, noise):
        return self.q_y_x(x), {"twice": 2 * x}

    def bound(self, y, x, noise, context):
        y = y if y.ndim > 1 else F.one_hot(y, self.n_classes).to(x.dtype)
        mean, log_var = self.q_z_xy(torch.cat([context["twice"] / 2, y], 1)).chunk(2, 1)
        eps = noise["z"]
        z = mean + torch.exp(log_var / 2) * eps
        log_q_z = -0.5 * (eps**2 + log_var + math.log(2 * math.pi)).sum(1)
        log_p_z = -0.5 * (z**2 + math.log(2 * math.pi)).sum(1)
        log_p_x = -F.binary_cross_entropy_with_logits(self.p_x_yz(torch.cat([y, z], 1)), x, reduction="none").sum(1)
        return log_p_x + log_p_z - log_q_z - math.log(self.n_classes)


class Normed(WrittenM2):
    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.norm = torch.nn.BatchNorm1d(SIZES["n_pixels"])

    def encode(self, x, noise):
        return super().encode(self.norm(x), noise)


class Mixture(torch.nn.Module):
    """A mixture of Gaussians with unit variances. q(y|x) is the exact posterior."""

    noise = {}  # noqa: RUF012

    def __init__(self, n_classes):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.randn(n_classes, 2))

    def log_joint(self, x, mean):
        return -0.5 * ((x - mean) ** 2).sum(-1) - math.log(2 * math.pi * len(self.mean))

    def encode(self, x, noise):
        return self.log_joint(x[:, None], self.mean), {}

    def bound(self, y, x, noise, context):
        return self.log_joint(x, own.embed(y, self.mean))


def blobs(n_classes, size, rng):
    y = rng.integers(n_classes, size=size)
    angles = 2 * np.pi * y / n_classes
    return 5 * np.stack([np.cos(angles), np.sin(angles)], 1) + rng.normal(size=(size, 2)), y


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The models and the data are gone after each test."""
    from gsbench.data import DATASETS

    made = {"m2-written": WrittenM2, "normed": Normed, "mixture": Mixture}
    for name, module in made.items():
        monkeypatch.setitem(MODELS, name, own.own_model(name, module))
    monkeypatch.setitem(DATASETS, "blobs", own_data("blobs", blobs, n_inputs=2))
    tiny = own_data("tiny", lambda k, n, rng: (rng.random((n, 6)), rng.integers(k, size=n)), n_inputs=6)
    monkeypatch.setitem(DATASETS, "tiny", tiny)


def names(n_classes):
    """The user's parameter → the package's, and how its part is taken from there."""
    d, d_z = SIZES["n_pixels"], SIZES["d_z"]
    first = {"q_y_x": [("W_x", d)], "q_z_xy": [("W_x", d), ("W_y", n_classes)],
             "p_x_yz": [("W_y", n_classes), ("W_z", d_z)]}  # fmt: skip
    return {
        **{f"{net}.0.weight": [f"{net}/{key}" for key, _ in parts] for net, parts in first.items()},
        **{f"{net}.{2 * (i - 1)}.{kind}": [f"{net}/{own}{i}"] for net in first for i in (1, 2, 3)
           for kind, own in (("weight", "W"), ("bias", "b")) if (i, kind) != (1, "weight")},
    }  # fmt: skip


def joined(arrays, n_classes):
    """The package's arrays by the user's names: a first layer's weights side by side, W_y transposed."""
    def part(key):
        return arrays[key].T if key.endswith("W_y") else arrays[key]

    return {mine: np.concatenate([part(key) for key in keys], axis=1) if len(keys) > 1 or "0.weight" in mine
            else arrays[keys[0]] for mine, keys in names(n_classes).items()}  # fmt: skip


def pair(n_classes):
    """The package's M2 and the user's, with the same parameters."""
    reference = make_model("m2", n_classes, backend_name="torch")
    config = ModelConfig(n_classes=n_classes, **SIZES)
    written = MODELS["m2-written"](reference.bk, config, 0)
    values = joined({key: reference.bk.to_numpy(p) for key, p in reference.parameters.items()}, n_classes)
    for name, p in written.parameters.items():
        written.bk.set_values(p, values[name])
    return reference, written


def gradients(model, value):
    bk = model.bk
    return {k: bk.to_numpy(g) for k, g in zip(model.parameters, bk.gradients_by(value, [*model.parameters.values()]),
                                              strict=True)}  # fmt: skip


@pytest.mark.parametrize("n_mc", [1, 3])
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("n_classes", [3, 7])
def test_every_estimator_has_the_bound_and_the_gradients_of_the_packages_model(n_classes, name, n_mc):
    found = []
    for model in pair(n_classes):
        x, rng = model.bk.array(make_pixels()), model.bk.generator(4)
        bound = unlabelled_bound(model, x, parse_estimator(name), rng, n_mc)
        found.append((model.bk.to_numpy(bound), gradients(model, loss(model, bound))))
    (expected, of_reference), (bound, of_written) = found
    np.testing.assert_allclose(bound, expected, rtol=1e-10)
    for key, g in joined(of_reference, n_classes).items():
        np.testing.assert_allclose(of_written[key], g, rtol=1e-10, atol=1e-12, err_msg=key)


def test_the_training_loss_is_that_of_the_packages_model():
    y = np.arange(BATCH) % 3
    found = []
    for model in pair(3):
        x, rng = model.bk.array(make_pixels()), model.bk.generator(4)
        value = training_loss(model, x, model.bk.integers(y), x, parse_estimator("sum-and-sample"), 2.0, rng, 2)
        found.append((float(value.detach()), gradients(model, value)))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-10)
    for key, g in joined(found[0][1], 3).items():
        np.testing.assert_allclose(found[1][1][key], g, rtol=1e-10, atol=1e-12)


def test_parameters_have_roles_by_their_use():
    _, model = pair(3)
    roles = model.roles
    assert {key.split(".")[0]: role for key, role in roles.items()} == {
        "q_y_x": Role.RECOGNITION_OF_Y, "q_z_xy": Role.GENERATIVE, "p_x_yz": Role.GENERATIVE,
    }  # fmt: skip
    assert {key.split(".")[0] for key in model.classifier_parameters} == {"q_y_x"}


def settings(estimator="marginalize", model="m2-written", dataset="tiny", **more):
    given = {"n_classes": 5, "backend": "torch", "threads": 1, "batch": 10, "labelled_per_class": 2, **more}
    return Settings(estimator, model=model, dataset=dataset, **given)


def test_the_operations_are_those_of_the_products():
    """PyTorch counts the products on concatenated inputs, the package those of split first layers, on classes alone."""
    config = settings().make_config()
    estimator, n = parse_estimator("gumbel-softmax"), 10
    d, u, z, k = (*(SIZES[name] for name in ("n_pixels", "units", "d_z")), 5)
    forward = d * u + u * u + u * k + (d + k) * u + u * u + u * 2 * z + (k + z) * u + u * u + u * d
    backward = 2 * forward - d * u - (d + k) * u  # no gradient with respect to x and a constant y
    assert operations("m2-written", config, n, 1, estimator, "bound") == pytest.approx(2 * n * (forward + backward))


@pytest.mark.parametrize("name", ["marginalize", "gumbel-softmax", "marginalize-streamed(chunk=1)"])
def test_the_memory_of_a_step_is_estimated_from_what_rows_keep(name):
    case = settings(name, batch=200, n_classes=20)
    peak = step_peak(case.make_backend(), lambda: Case(case).step)["live_peak_bytes"]
    assert 0.5 * peak < estimate_step_bytes(case) < 2.5 * peak


def test_batch_norm_is_refused_where_rows_must_not_interact():
    with pytest.raises(ValueError, match="marginalize-streamed needs rows that do not interact, and norm='batch'"):
        settings("marginalize-streamed", model="normed")
    case = Case(settings("marginalize", model="normed"))
    before = {name: a.clone() for name, a in case.model.statistics.items()}
    case.step()
    assert any((before[name] != a).any() for name, a in case.model.statistics.items())


def test_a_mixtures_gradient_of_the_logits_is_0_and_left_out():
    case = Case(settings(model="mixture", dataset="blobs"), load_dataset("blobs", 5))
    point = Point(case.model, case.batch.x_unlabelled, total_draws=4)
    figures = gradient_quality(point, parse_estimator("score-function"), 4, 2)
    assert point.parts == ("theta",)
    assert figures["theta_variance"] > 0
    assert not any(name.startswith(("logits_", "phi_")) for name in figures)


def test_the_exact_sum_of_a_mixture_is_its_log_density():
    model = MODELS["mixture"](settings().make_backend(), ModelConfig(n_classes=5, n_pixels=2))
    x = np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)
    bound = unlabelled_bound(model, model.bk.array(x), parse_estimator("marginalize"), model.bk.generator(0))
    means = model.bk.to_numpy(model.parameters["mean"])
    density = np.exp(-0.5 * ((x[:, None] - means) ** 2).sum(-1)).sum(1) / (2 * np.pi * 5)
    np.testing.assert_allclose(model.bk.to_numpy(bound), np.log(density), rtol=1e-5)


def test_another_backend_is_refused():
    with pytest.raises(ValueError, match="backend must be torch for model 'mixture', got 'chainer'"):
        settings(model="mixture", dataset="blobs", backend="chainer")


def broken(**methods):
    return own.own_model("broken", type("Broken", (WrittenM2,), methods))


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        ({"encode": lambda self, x, noise: self.q_y_x(x)}, "must return logits (2, 5) and a dict of tensors, got a"),
        ({"encode": lambda self, x, noise: (x, {})}, "and a dict of tensors, got a tensor (2, 6) and dict"),
        ({"bound": lambda self, y, x, noise, context: x.sum()}, "must return a number for each row, (2,), got ()"),
    ],
)
def test_wrong_shapes_are_named(methods, told, monkeypatch):
    monkeypatch.setitem(MODELS, "broken", broken(**methods))
    with pytest.raises(ValueError, match="model 'broken'") as raised:
        settings(model="broken")
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (type("No", (torch.nn.Module,), {"noise": {}}), "lacks encode, bound"),
        (type("No", (WrittenM2,), {"noise": None}), "needs noise, a dict of names and sizes, such as"),
    ],
)
def test_what_a_class_lacks_is_named(made, told):
    with pytest.raises(ValueError, match=told):
        own.own_model("no", made)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda k, n, rng: (np.zeros((n, 3)), np.zeros(n, int)), "must return 20000 examples of 2 numbers"),
        (lambda k, n, rng: (np.zeros((n, 2)), np.zeros(n)), "these as integers, got float64"),
        (lambda k, n, rng: (np.full((n, 2), np.nan), np.zeros(n, int)), "all finite"),
        (lambda k, n, rng: (np.zeros((n, 2)), np.full(n, k)), "labels of data set 'odd' must be"),
    ],
)
def test_wrong_examples_are_named(make, told, monkeypatch):
    from gsbench.data import DATASETS

    monkeypatch.setitem(DATASETS, "odd", own_data("odd", make, n_inputs=2))
    with pytest.raises(ValueError, match=told):
        load_dataset("odd", 5)


def test_the_planner_predicts_the_steps_of_a_users_model(tmp_path, capsys):
    cases = [settings("marginalize", "mixture", "blobs", n_classes=k) for k in (10, 20, 50, 100)]
    records = [make_record("step", **case.record_fields(), step_seconds=1e-4 * case.n_classes) for case in cases]
    file = write_lines(tmp_path / "run.jsonl", records)
    assert main(["plan", str(file), "--classes", "70"]) == 0
    out = capsys.readouterr().out
    assert "For mixture" in out
    assert "7.0" in next(line for line in out.splitlines() if line.startswith("70 "))


@pytest.mark.slow
def test_a_users_model_is_measured_trained_and_reported(tmp_path, session, capsys):
    """The gradients' part for the logits is left out, and the comparison with M2 too."""
    case = ["--dataset", "blobs", "--backend", "torch", "--classes", "4", "--batch", "10", "--threads", "1"]
    ended = session(
        f"--benchmark-storage=file://{tmp_path}/bench", *case, "--models", "mixture", "--estimators",
        "marginalize,gumbel-softmax", "--benchmark-max-time", "0.05", "--benchmark-min-rounds", "3",
        "--gradient-draws", "40", "--gradient-steps", "2", "-k", "not memory",
    )  # fmt: skip
    assert ended.ret == 0, ended.stdout + ended.stderr
    (file,) = (tmp_path / "bench" / "records").glob("*.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert {record["model"] for record in records} == {"mixture"}
    assert {record["group"] for record in records} == {"step", "bound", "speedup", "gradient", "roofline"}
    assert {record["status"] for record in records} == {"ok"}
    assert all("theta_variance" in r and "logits_variance" not in r for r in records if r["group"] == "gradient")
    assert main(["report", str(file), "--output", str(tmp_path), "--name", "r"]) == 0
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "mixture" in page
    assert "At a glance" in page
    capsys.readouterr()


class Experts(WrittenM2):
    """f of class k uses a decoder of its own, and a frozen one that all share."""

    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.experts = torch.nn.ModuleList(torch.nn.Linear(SIZES["n_pixels"], 1) for _ in range(n_classes))
        self.p_x_yz.requires_grad_(False)
        self.unused = torch.nn.Parameter(torch.zeros(3))
        self.register_buffer("classes", torch.arange(n_classes))

    def encode(self, x, noise):
        logits, context = super().encode(x, noise)
        return logits, {**context, "number": torch.arange(len(x))}  # no gradient

    def bound(self, y, x, noise, context):
        assert len(context["number"]) == len(x)
        weights = y if y.ndim > 1 else F.one_hot(y, self.n_classes).to(x.dtype)
        own = torch.cat([expert(x) for expert in self.experts], 1)
        return super().bound(y, x, noise, context) + (weights * own).sum(1)


@pytest.fixture
def experts(monkeypatch):
    monkeypatch.setitem(MODELS, "experts", own.own_model("experts", Experts))
    return "experts"


@pytest.mark.parametrize("preset", ["default", "tuned"])
@pytest.mark.parametrize("name", ["marginalize-streamed(chunk=2)", "sum-and-relax(mass=1.0)"])
def test_parameters_that_only_some_classes_use_get_their_gradients_in_parts(name, preset, experts):
    """Also if calls of f are counted before all else, without gradients."""
    found = []
    for estimator in (name, "marginalize"):
        case = Case(settings(estimator, experts, dtype="float64", preset=preset))
        case.calls_of_f()
        case.bound()
        gradients = {key: case.bk.gradient(p) for key, p in case.model.parameters.items()}
        found.append({key: g.numpy() for key, g in gradients.items() if g is not None})
    assert {f"experts.{k}.weight" for k in range(5)} <= set(found[1])
    for key, expected in found[1].items():
        np.testing.assert_allclose(found[0].get(key, 0 * expected), expected, rtol=1e-8, atol=1e-12, err_msg=key)


def test_a_frozen_part_has_no_gradient_and_an_unused_one_no_part(experts):
    case = Case(settings("score-function", experts), None)
    assert not any(key.startswith("p_x_yz") for key in case.model.parameters)
    point = Point(case.model, case.batch.x_unlabelled, total_draws=2)
    assert point.parts == ("logits", "theta")  # phi would be the parameter that nothing uses
    assert {key for key, role in case.model.roles.items() if role is Role.OTHER_RECOGNITION} == {"unused"}


def test_a_part_that_the_user_put_to_evaluation_stays_there():
    class Frozen(Normed):
        def __init__(self, n_classes):
            super().__init__(n_classes)
            self.norm.eval()

    model = own.own_model("frozen", Frozen)(settings().make_backend(), ModelConfig(n_classes=3, **SIZES))
    with model.evaluating():
        pass
    assert model.module.inner.training
    assert not model.module.inner.norm.training


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        ({"encode": lambda self, x, noise: 1 / 0}, "encode of model 'broken', with x (2, 6), raises ZeroDivisionError"),
        ({"bound": lambda self, y, x, noise, context: x @ x}, "bound of model 'broken', with x (2, 6), raises Runtime"),
        ({"encode": lambda self, x, noise: (self.q_y_x(x), {"a": None})}, "'a' has a NoneType"),
        ({"encode": lambda self, x, noise: (self.q_y_x(x), {"a": x[:1]})}, "'a' has shape (1, 6)"),
    ],
)
def test_an_error_in_a_users_function_names_it(methods, told, monkeypatch):
    monkeypatch.setitem(MODELS, "broken", broken(**methods))
    with pytest.raises(ValueError, match="model 'broken'") as raised:
        settings(model="broken")
    assert told in str(raised.value)


def test_a_module_without_parameters_and_wrong_sizes_of_noise_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="needs noise of sizes that are integers > 0 or tuples, got 0"):
        own.own_model("no", type("No", (WrittenM2,), {"noise": {"z": 0}}))

    class Still(WrittenM2):
        def __init__(self, n_classes):
            super().__init__(n_classes)
            self.requires_grad_(False)

    monkeypatch.setitem(MODELS, "still", own.own_model("still", Still))
    with pytest.raises(ValueError, match="model 'still' has no parameter that requires a gradient"):
        settings(model="still")


def test_network_settings_are_not_for_a_users_model():
    with pytest.raises(ValueError, match="the networks of model 'mixture' are a user's; they have no setting 'units'"):
        settings(model="mixture", dataset="blobs", networks=(("units", 10),))


def test_the_packages_models_take_no_x_beyond_0_to_1():
    case = settings("marginalize", "m2", "blobs")
    with pytest.raises(ValueError, match=r"model 'm2' needs x in \[0, 1\], because its p\(x\|…\) is Bernoulli"):
        Case(case, load_dataset("blobs", 5))


def test_few_classes_are_the_default_of_data_that_has_few(monkeypatch):
    from gsbench.data import DATASETS

    make = lambda k, n, rng: (rng.random((n, 2)), rng.integers(k, size=n))  # noqa: E731
    monkeypatch.setitem(DATASETS, "few", own_data("few", make, n_inputs=2, most_classes=3))
    assert load_dataset("few").n_classes == 3
    assert not load_dataset("few").is_square
