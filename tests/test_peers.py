"""The peers compute what gsbench computes: from the same weights and noise, example by example."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import recording
from peers import PEERS, PeerOutOfMemory, kind, memory_errors, peer_cases
from peers.child import command as child_command
from peers.child import take_steps
from peers.plain_chainer import PlainADGM

from gsbench.backends import load_backend
from gsbench.categorical import gumbel
from gsbench.estimators import ESTIMATORS, parse_estimator
from gsbench.meters.case import Case, random_batch
from gsbench.meters.child import ChildResult, run_in_child
from gsbench.meters.memory import LivePeak, peak_figures
from gsbench.models import ADGM
from gsbench.settings.case import Settings
from gsbench.settings.presets import make_config
from gsbench.training.minibatches import Batch
from gsbench.training.objective import labelled_bound, loss, training_loss, unlabelled_bound

PLAIN = ["plain-chainer", "plain-torch", "split-torch", "plain-jax"]
TILED = ["plain-chainer", "plain-torch"]
TORCH = ["plain-torch", "split-torch"]
PYRO = ["pyro-parallel", "pyro-sequential"]
SUM, GUMBEL = parse_estimator("marginalize"), parse_estimator("gumbel-softmax(tau=0.7)")
STREAMED = parse_estimator("marginalize-streamed(chunk=2)")
N = 7
RTOL = {"float64": 1e-10, "float32": 1e-4}
# For the peers in bfloat16, whose products have 8 bits. The gradient of q(y|a,x), in the norm of an array, is up to
# 26 % off, because it contains differences of f.
HALF_BOUND, HALF_GRADIENT = 2e-3, 0.4
SEED = 3  # of the noise


class Ours:
    """A gsbench ADGM, a minibatch whose examples differ, and the noise that the seed gives."""

    def __init__(self, dtype="float64"):
        self.bk = load_backend("chainer", "cpu", dtype)
        self.dtype, self.rtol = dtype, RTOL[dtype]
        # D_a and D_z differ, so that no draw can be mistaken for another.
        self.config = dataclasses.replace(make_config("small", n_classes=5), d_a=16, d_z=12)
        self.model = ADGM(self.bk, self.config, seed=1)
        rng = np.random.default_rng(2)
        for name, p in self.model.parameters.items():
            if "/b" in name:
                p.array[...] = 0.1 * rng.standard_normal(p.shape)
        x = (rng.random((2, N, 784)) < np.linspace(0.1, 0.6, N)[:, None]).astype(dtype)
        self.batch = Batch(x[0], rng.integers(5, size=N).astype(np.int32), x[1])

    def noise(self, rng=None):
        noise = self.model.draw_noise(rng or self.bk.generator(SEED), N)
        return noise.eps_a[0, 0], noise.eps_z[0, 0]

    def gumbel(self):
        """ε_a, ε_z and g [B, K], as in the estimator."""
        rng = self.bk.generator(SEED)
        eps = self.noise(rng)
        return *eps, gumbel(self.bk, rng, (N, 5))

    def bound(self, estimator):
        return unlabelled_bound(self.model, self.batch.x_unlabelled, estimator, self.bk.generator(SEED))

    def values(self, estimator):
        return self.bk.to_numpy(self.bound(estimator))


@pytest.fixture(params=RTOL)
def ours(request):
    return Ours(request.param)


def made(name, ours, estimator=SUM, dtype=None):
    dtype = dtype or ours.dtype
    if problem := PEERS[name].problem(dtype):
        pytest.skip(problem)
    peer = PEERS[name].make(ours.config, estimator, ours.batch, 1, 0, dtype)
    peer.copy_weights(ours.model)
    return peer


class Plain:
    """A peer's ADGM, called with NumPy arrays. This class knows PyTorch; subclasses know other frameworks."""

    def __init__(self, name, ours, estimator=SUM, dtype=None):
        self.peer = made(name, ours, estimator, dtype)
        self.model, self.dtype = self.peer.model, dtype or ours.dtype

    def __call__(self, method, *arrays):
        """The method's results, such as the bound, as NumPy arrays; runs −mean of the (first) bound backward."""
        from peers.torch_networks import autocast

        with autocast(self.dtype):
            got = getattr(self.model, method)(*(self.tensor(a) if isinstance(a, np.ndarray) else a for a in arrays))
        self.model.zero_grad()
        bounds = got if isinstance(got, tuple) else (got,)
        (-bounds[0].mean()).backward()
        return [b.detach().numpy() for b in bounds]

    def sampled(self, monkeypatch, x, eps_a, eps_z, g):
        self.replay_gumbel(monkeypatch, g)
        return self("sampled_bound", x, eps_a, eps_z, 0.7)

    def gradients(self):
        """Network → gradients [(W [out, in], b [out])] of its layers; with split layers, gsbench's name → gradient."""
        if hasattr(self.model, "named"):
            return {name: p.grad.numpy() for name, p in self.model.named().items()}
        return {
            name: [
                (layer.weight.grad.numpy(), layer.bias.grad.numpy())
                for layer in getattr(self.model, name)
                if hasattr(layer, "bias")
            ]
            for name in NETWORKS
        }

    def weight(self):
        """W_x of q(a|x)"""
        split = hasattr(self.model, "named")
        return (self.model.q_a_x.W["x"] if split else self.model.q_a_x[0].weight).detach().numpy()

    def tensor(self, x):
        import torch

        return torch.from_numpy(x).long() if x.dtype == np.int32 else torch.from_numpy(x)

    def replay_gumbel(self, monkeypatch, g):
        """Makes the framework's own gumbel_softmax draw g."""
        import torch

        # PyTorch takes −log of an exponential draw.
        monkeypatch.setattr(torch.Tensor, "exponential_", lambda t: t.copy_(torch.from_numpy(np.exp(-g)).view_as(t)))

    def replay(self, monkeypatch, labelled, unlabelled, g):
        """Makes the steps use this noise."""
        draws = [tuple(map(self.tensor, pair)) for pair in (labelled, unlabelled) if pair is not None]
        monkeypatch.setattr(self.peer, "_noise", lambda n: draws.pop(0))
        self.replay_gumbel(monkeypatch, g)


class PlainInChainer(Plain):
    def __call__(self, method, *arrays):
        got = getattr(self.model, method)(*arrays)
        self.model.cleargrads()
        bounds = got if isinstance(got, tuple) else (got,)
        (-sum(bounds[0]) / N).backward()
        return [b.array for b in bounds]

    def gradients(self):
        return {
            name: [(layer.W.grad, layer.b.grad) for layer in getattr(self.model, name).children()] for name in NETWORKS
        }

    def weight(self):
        return next(iter(self.model.q_a_x.children())).W.array

    def tensor(self, x):
        return x

    def replay_gumbel(self, monkeypatch, g):
        monkeypatch.setattr(np.random, "gumbel", lambda size: g.reshape(size))


class PlainInJax(Plain):
    """JAX's functions take one example and its noise; a step leaves no gradient but Adam's first moment."""

    def __init__(self, name, ours, estimator=SUM, dtype=None):
        self.made_with, self.found = (name, ours, estimator, dtype), None
        if problem := PEERS[name].problem():
            pytest.skip(problem)
        with pytest.MonkeyPatch.context() as patch:  # a step is compiled when it is called
            patch.setattr(PEERS[name].load(), "_compiled", lambda peer, loss: None)
            super().__init__(*self.made_with)

    def __call__(self, method, *arrays):
        import jax

        axes = (None, *(0 if isinstance(a, np.ndarray) else None for a in arrays))

        def loss(P, *arrays):
            got = jax.vmap(getattr(self.model, method), axes)(P, *arrays)
            bounds = got if isinstance(got, tuple) else (got,)
            return -bounds[0].mean(), bounds

        (_, bounds), self.found = jax.jit(jax.value_and_grad(loss, has_aux=True))(self.peer.state[0], *arrays)
        return [np.asarray(b) for b in bounds]

    def sampled(self, monkeypatch, *arrays):
        return self("sampled_bound", *arrays, 0.7)

    def gradients(self):
        found = self.found
        if found is None:  # Adam's first moment after one step is 1 − β_1 of the gradient
            import jax

            found = jax.tree.map(lambda m: m / 0.1, self.peer.state[1][0].mu)
        return {name: [(np.asarray(w).T, np.asarray(b)) for w, b in layers] for name, layers in found.items()}

    def weight(self):
        return np.asarray(self.peer.state[0]["q_a_x"][0][0]).T

    def replay(self, monkeypatch, labelled, unlabelled, g):
        def noise(peer, key, n, gumbel=False):
            return (*unlabelled, g) if gumbel else labelled

        monkeypatch.setattr(type(self.peer), "_noise", noise)
        name, ours, estimator, dtype = self.made_with
        self.peer = made(name, ours, estimator, dtype)  # the compiled steps keep the earlier noise


NETWORKS = ("q_a_x", "q_y_ax", "q_z_axy", "p_x_yz", "p_a_xyz")


def plain_of(name, ours, estimator=SUM, dtype=None):
    return {"plain-chainer": PlainInChainer, "plain-jax": PlainInJax}.get(name, Plain)(name, ours, estimator, dtype)


def check_gradients(ours, plain, rtol=None):
    """Compares every array's gradient, relative to its norm: our parameters' and the peer's layers'."""
    theirs = plain.gradients()

    def check(name, got, expected):
        error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
        assert error <= (rtol or ours.rtol), (name, error)

    if hasattr(plain.model, "named"):
        assert set(theirs) == set(ours.model.parameters)
        for name, got in theirs.items():
            check(name, got, ours.bk.gradient(ours.model.parameters[name]))
        return
    for network in ours.model.networks:
        mine = {key.split("/")[1]: ours.bk.gradient(p) for key, p in network.parameters.items()}
        first = [g.T if key == "W_y" else g for key, g in mine.items() if key.startswith("W_")]
        weights = [np.concatenate(first, axis=1), *(mine[f"W{i}"] for i in range(2, len(theirs[network.name]) + 1))]
        for i, ((their_w, their_b), w) in enumerate(zip(theirs[network.name], weights, strict=True), start=1):
            check((network.name, f"W{i}"), their_w, w)
            check((network.name, f"b{i}"), their_b, mine[f"b{i}"])


@pytest.mark.parametrize("name", PLAIN)
def test_the_plain_sum_is_the_same_bound_and_gradient(name, ours):
    plain = plain_of(name, ours)
    (bound,) = plain("unlabelled_bound", ours.batch.x_unlabelled, *ours.noise())
    expected = ours.values(SUM)
    assert np.ptp(expected) > 10  # examples differ
    np.testing.assert_allclose(bound, expected, rtol=ours.rtol)
    ours.bk.backward(loss(ours.model, ours.bound(SUM)))
    check_gradients(ours, plain)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if kind(parse_estimator(name)) == "sum"])
def test_the_peers_sum_is_compared_with_the_same_sum(name, ours):
    np.testing.assert_allclose(ours.values(parse_estimator(name)), ours.values(SUM), rtol=ours.rtol)


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_the_split_sum_in_chunks_is_the_same_bound_and_gradient(classes, ours):
    plain = plain_of("split-torch", ours)
    noise = map(plain.tensor, (ours.batch.x_unlabelled, *ours.noise()))
    bound = plain.model.backward_in_chunks(*noise, classes, ours.dtype)
    np.testing.assert_allclose(bound.numpy(), ours.values(SUM), rtol=ours.rtol)
    ours.bk.backward(loss(ours.model, ours.bound(SUM)))
    check_gradients(ours, plain)


@pytest.mark.parametrize(("chunk", "classes"), [("", [5]), ("(chunk=2)", [2, 2, 1])])
def test_the_split_sum_runs_in_chunks_beside_the_streamed_sum(chunk, classes, ours, monkeypatch):
    """Its timed step also leaves the gradient of the loss."""
    plain = plain_of("split-torch", ours, parse_estimator(f"marginalize-streamed{chunk}"))
    plain.replay(monkeypatch, None, ours.noise(), np.zeros(0))
    rows, taken = plain.model.rows, []
    monkeypatch.setattr(plain.model, "rows", lambda k: taken.append(len(rows(k)[0])) or rows(k))
    plain.peer.unlabelled_step()
    assert taken == classes
    ours.bk.backward(loss(ours.model, ours.bound(SUM)))
    check_gradients(ours, plain)


def test_the_split_sum_tiles_nothing(ours):
    """x is multiplied once, and only hidden layers are multiplied for every class."""
    plain = plain_of("split-torch", ours)
    import torch

    rows = []
    for network in NETWORKS:
        part = getattr(plain.model, network).part
        getattr(plain.model, network).part = lambda name, u, bias=None, part=part: (
            rows.append((name, u.shape[:-1].numel())) or part(name, u, bias)
        )
    plain.model.unlabelled_bound(*map(plain.tensor, (ours.batch.x_unlabelled, *ours.noise())))
    assert torch.is_grad_enabled()
    assert sorted(rows) == [*2 * [("a", N)], *4 * [("x", N)], *2 * [("z", 5 * N)]]


@pytest.mark.parametrize("name", TILED)
def test_the_table_of_all_classes_is_no_part_of_a_later_step(name, ours, monkeypatch):
    plain = plain_of(name, ours)
    plain.peer.unlabelled_step()
    table = plain.model.all_classes(N)
    np.testing.assert_array_equal(table, np.repeat(np.eye(5), N, axis=0))
    assert len(plain.model.all_classes(N + 1)) == 5 * (N + 1)
    plain.model.all_classes(N)
    for module in (sys.modules.get("torch", np), np):
        monkeypatch.setattr(module, "eye", None)
    plain.peer.unlabelled_step()


@pytest.mark.parametrize("name", PLAIN)
def test_the_plain_gumbel_softmax_is_the_same_bound_and_gradient(name, ours, monkeypatch):
    plain = plain_of(name, ours, GUMBEL)
    (bound,) = plain.sampled(monkeypatch, ours.batch.x_unlabelled, *ours.gumbel())
    np.testing.assert_allclose(bound, ours.values(GUMBEL), rtol=ours.rtol)
    ours.bk.backward(loss(ours.model, ours.bound(GUMBEL)))
    check_gradients(ours, plain)


@pytest.mark.parametrize("name", PLAIN)
def test_the_plain_labelled_bound_is_the_same(name, ours):
    got = plain_of(name, ours)("labelled_bound", ours.batch.x_labelled, ours.batch.y, *ours.noise())
    expected = labelled_bound(ours.model, ours.batch.x_labelled, ours.batch.y, ours.bk.generator(SEED))
    for mine, theirs in zip(expected, got, strict=True):
        np.testing.assert_allclose(theirs, ours.bk.to_numpy(mine), rtol=ours.rtol)


@pytest.mark.parametrize("timed", ["unlabelled_step", "step"])
@pytest.mark.parametrize("name", PLAIN)
def test_a_timed_plain_step_is_the_training_loss_and_an_update(name, timed, ours, monkeypatch):
    """With replayed noise, the step leaves the gradient of the loss, and its update is Adam's first."""
    plain = plain_of(name, ours, GUMBEL)
    rng = ours.bk.generator(SEED)
    labelled = ours.noise(rng) if timed == "step" else None
    eps, g = ours.noise(rng), gumbel(ours.bk, rng, (N, 5))
    if name == "plain-jax" and labelled is None:
        labelled = eps  # for the step that is compiled but not called
    plain.replay(monkeypatch, labelled, eps, g)
    getattr(plain.peer, timed)()

    b, model, rng = ours.batch, ours.model, ours.bk.generator(SEED)
    if timed == "step":
        ours.bk.backward(training_loss(model, b.x_labelled, b.y, b.x_unlabelled, GUMBEL, 1.0, rng))
    else:
        ours.bk.backward(loss(model, unlabelled_bound(model, b.x_unlabelled, GUMBEL, rng)))
    check_gradients(ours, plain)
    moved = plain.weight() - ours.bk.to_numpy(model.parameters["q_a_x/W_x"])
    assert np.abs(moved).max() == pytest.approx(3e-4, rel=1e-2)


@pytest.mark.parametrize("name", [name for name in PLAIN if "bfloat16" in PEERS[name].dtypes])
def test_a_peer_in_bfloat16_is_near_and_its_parameters_are_float32(name, monkeypatch):
    ours = Ours("float32")
    plain = plain_of(name, ours, GUMBEL, "bfloat16")
    for estimator, call in (
        (SUM, lambda: plain("unlabelled_bound", ours.batch.x_unlabelled, *ours.noise())),
        (GUMBEL, lambda: plain.sampled(monkeypatch, ours.batch.x_unlabelled, *ours.gumbel())),
    ):
        (bound,) = call()
        expected = ours.values(estimator)
        ours.model.bk.backward(loss(ours.model, ours.bound(estimator)))
        assert 1e-6 < np.abs(bound / expected - 1).max() < HALF_BOUND
        assert bound.dtype == plain.weight().dtype == np.float32
        check_gradients(ours, plain, HALF_GRADIENT)
        for p in ours.model.parameters.values():
            p.cleargrad()


@pytest.mark.parametrize(("name", "estimator"), [(n, SUM) for n in PEERS] + [("split-torch", STREAMED)])
def test_steps_in_bfloat16_train_or_say_why_they_cannot(name, estimator):
    ours = Ours("float32")
    problem = PEERS[name].problem("bfloat16")
    if name == "plain-chainer":
        assert problem == "plain-chainer computes in float32, float64, got dtype bfloat16"
        return
    if problem:
        pytest.skip(problem)
    peer = made(name, ours, estimator, "bfloat16")
    before = p_x_yz(name, peer).copy()
    peer.unlabelled_step()
    assert np.abs(p_x_yz(name, peer) - before).max() == pytest.approx(3e-4, rel=1e-2)


def replay_normal(monkeypatch, eps_a, eps_z):
    """Makes PyTorch's normal distributions, and so Pyro's, draw these ε, the same for every class."""
    import torch

    by_size = {eps.shape[-1]: torch.from_numpy(eps) for eps in (eps_a, eps_z)}
    monkeypatch.setattr(
        torch.distributions.normal, "_standard_normal", lambda shape, dtype, device: by_size[shape[-1]].expand(shape)
    )


@pytest.mark.parametrize("name", PYRO)
def test_pyro_gives_the_same_bound_example_by_example(name, ours, monkeypatch):
    model, expected, (eps_a, eps_z) = made(name, ours).model, ours.values(SUM), ours.noise()
    import torch

    for i in range(N):
        replay_normal(monkeypatch, eps_a[i : i + 1], eps_z[i : i + 1])
        got = model.bound(torch.from_numpy(ours.batch.x_unlabelled[i : i + 1]))
        assert got == pytest.approx(expected[i], rel=ours.rtol)


@pytest.mark.parametrize("name", PYRO)
def test_pyro_sums_each_example_over_its_own_classes(name, ours, monkeypatch):
    """The minibatch's bound and gradient come from each example's classes, not from all joint choices of classes."""
    model = made(name, ours).model
    replay_normal(monkeypatch, *ours.noise())
    import torch

    x = torch.from_numpy(ours.batch.x_unlabelled)
    assert model.bound(x) == pytest.approx(ours.values(SUM).mean(), rel=ours.rtol)
    ours.bk.backward(loss(ours.model, ours.bound(SUM)))
    model.elbo.loss_and_grads(model.model, model.annotated_guide, x)
    networks = plain_of("plain-torch", ours)
    networks.model = model.networks
    check_gradients(ours, networks)


@pytest.mark.parametrize("name", PYRO)
def test_pyro_draws_a_once_a_step(name, ours, monkeypatch):
    peer, drawn = made(name, ours), []
    import torch

    monkeypatch.setattr(
        torch.distributions.normal,
        "_standard_normal",
        lambda shape, dtype, device: drawn.append(tuple(shape)) or torch.randn(shape, dtype=dtype),
    )
    peer.unlabelled_step()
    assert drawn.count((N, 16)) == 1
    assert sum(np.prod(shape) for shape in drawn[1:]) == 5 * N * 12  # z: each class has its own


def p_x_yz(name, peer, gradient=False):
    """The first weight of p(x|y,z), or its gradient, as the framework's own array."""
    if name == "plain-jax":
        return np.asarray(peer.state[0]["p_x_yz"][0][0])
    networks = peer.model.networks if name in PYRO else peer.model
    if name == "plain-chainer":
        w = next(iter(networks.p_x_yz.children())).W
        return w.grad if gradient else w.array
    w = networks.p_x_yz.W["z"] if name == "split-torch" else networks.p_x_yz[0].weight
    return (w.grad if gradient else w.detach()).numpy()


@pytest.mark.parametrize("name", list(PEERS))
def test_noise_is_drawn_anew_and_steps_train(name, ours):
    peer = made(name, ours)
    weights = [p_x_yz(name, peer).copy()]
    for _ in range(2):
        peer.unlabelled_step()
        weights.append(p_x_yz(name, peer).copy())
    first, second = np.diff(weights, axis=0)
    assert np.abs(first).max() == pytest.approx(3e-4, rel=1e-2)  # Adam's first step is the learning rate
    assert not np.allclose(second, first, rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", [name for name in PEERS if name != "plain-jax"])  # JAX keeps none
def test_a_step_clears_the_gradients_of_the_one_before(name, ours):
    peer = made(name, ours)
    peer.unlabelled_step()
    p_x_yz(name, peer, gradient=True)[...] = 1e9
    peer.unlabelled_step()
    assert np.abs(p_x_yz(name, peer, gradient=True)).max() < 1e6


@pytest.mark.parametrize("name", list(PEERS))
def test_two_steps_in_a_fresh_process(name):
    if problem := PEERS[name].problem():
        pytest.skip(problem)
    settings = Settings(preset="small", n_classes=5, batch=4, threads=1)
    result = run_in_child(settings, None, command=child_command(name, "unlabelled-step"))
    assert result.status == "ok", result.reason
    assert 10_000_000 < result.process_start_bytes <= result.process_peak_bytes


def test_a_peer_in_a_fresh_process_is_stopped_at_its_limit():
    settings = Settings(preset="small", n_classes=5, batch=4, threads=1)
    stopped = run_in_child(settings, 20_000_000, command=child_command("plain-chainer", "unlabelled-step"))
    assert stopped.status == "out-of-memory"
    assert "20000000" in stopped.reason


def test_a_case_takes_the_unlabelled_step():
    case = Case(Settings(preset="small", n_classes=3, batch=4, threads=1))
    before = {name: np.array(p.array) for name, p in case.model.parameters.items()}
    case.unlabelled_step()
    assert all(np.abs(p.array - before[name]).max() > 1e-4 for name, p in case.model.parameters.items())


def test_only_cases_that_mean_something_are_made():
    estimators = [
        parse_estimator(text)
        for text in ("marginalize", "gumbel-softmax", "gumbel-softmax(draws=2)", "straight-through")
    ]
    assert [kind(estimator) for estimator in estimators] == ["sum", "gumbel", None, None]
    assert kind(parse_estimator("marginalize(class_noise=independent)")) is None
    assert peer_cases(["plain-torch", "pyro-parallel"], estimators) == [
        ("plain-torch", "marginalize", "unlabelled-step"),
        ("pyro-parallel", "marginalize", "unlabelled-step"),
        ("plain-torch", "gumbel-softmax", "unlabelled-step"),
        ("plain-torch", "gumbel-softmax", "step"),
    ]


def test_a_missing_framework_is_a_reason(monkeypatch):
    for module in [name for name in sys.modules if name.startswith("peers.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    problem = PEERS["plain-torch"].problem()
    assert problem.startswith("PyTorch cannot be imported (")
    assert problem.endswith("pip install 'gsbench[peers]'")
    assert PEERS["plain-chainer"].problem() is None


def test_naming_the_peers_imports_no_framework():
    frameworks = ("torch", "pyro", "jax", "chainer")
    code = f"import sys, json, peers; print(json.dumps([m for m in {frameworks} if m in sys.modules]))"
    path = [*sys.path]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; {code}"], capture_output=True, text=True
    )
    assert json.loads(run.stdout) == [], run.stderr


@pytest.fixture
def bench_records(session, tmp_path):
    """The records of a run of the benchmark's peers on a tiny grid, whose warnings are errors."""
    fixed = ["--preset", "small", "--batch", "5", "--threads", "1", "--classes", "3", "--dataset", "synthetic"]
    short = ["--benchmark-max-time", "0.05", "--benchmark-min-rounds", "3", f"--benchmark-storage=file://{tmp_path}"]

    def run(*options):
        ended = session("-W", "error", "-k", "test_peer", *fixed, *short, *options)
        assert ended.ret == 0, ended.stdout[-3000:] + ended.stderr[-2000:]
        (file,) = (tmp_path / "records").glob("*.jsonl")
        return [json.loads(line) for line in file.read_text().splitlines()]

    return run


STARTS = {"gsbench": 100, "plain-chainer": 200, "pyro-parallel": 300}


@pytest.fixture
def made_up_children(monkeypatch):
    """Replaces fresh processes by made-up figures, which show whose steps were measured, and which."""

    def figures(settings, limit_bytes, command):
        *_, whose, timed = command
        start = STARTS.get(whose, STARTS["gsbench"]) + (timed == "step")
        return ChildResult("ok", "", start + 50, "made up", start)

    monkeypatch.setattr(recording, "run_in_child", figures)


@pytest.fixture(scope="module")
def problems():
    """The reasons why two peers cannot run here.

    Each peer that can run makes a step, once per module: a benchmark session forgets its imports at its end, and
    PyTorch, which imports a part of itself at the first step, cannot be imported anew.
    """
    found = {name: PEERS[name].problem() for name in ("pyro-parallel", "plain-chainer")}
    for name in [name for name, problem in found.items() if not problem]:
        take_steps(name, "unlabelled-step", Settings(preset="small", n_classes=3, batch=5, threads=1))
    return found


@pytest.mark.usefixtures("made_up_children")
def test_the_benchmark_records_each_peer(problems, bench_records):
    found = bench_records("--peers", ",".join(problems), "--estimators", "gumbel-softmax,marginalize")
    assert sorted((r["baseline"], r["estimator"], r["timed"]) for r in found) == [
        ("plain-chainer", "gumbel-softmax", "step"),
        ("plain-chainer", "gumbel-softmax", "unlabelled-step"),
        ("plain-chainer", "marginalize", "unlabelled-step"),
        ("pyro-parallel", "marginalize", "unlabelled-step"),
    ]
    for row in found:
        problem = problems[row["baseline"]]
        assert (row["group"], row["status"], row["reason"]) == ("peer", "skipped" if problem else "ok", problem or "")
        if problem:
            continue
        assert row["speedup_low"] <= row["speedup"] <= row["speedup_high"]
        assert row["pairs"] >= 7
        # The median of the ratios lies near the ratio of the medians, peer to gsbench and not the inverse.
        assert 0.4 < row["speedup"] / (row["baseline_seconds"] / row["candidate_seconds"]) < 2.5
        for own, whose in (("", "gsbench"), ("baseline_", row["baseline"])):
            start = STARTS[whose] + (row["timed"] == "step")
            assert (row[f"{own}process_start_bytes"], row[f"{own}process_peak_bytes"]) == (start, start + 50)
        assert ("pyro_version" in row, row.get("torch_threads")) == (
            (True, 1) if row["baseline"] == "pyro-parallel" else (False, None)
        )


def test_the_fresh_processes_of_both_are_recorded(bench_records):
    (only,) = bench_records("--peers", "plain-chainer", "--estimators", "marginalize")
    assert only["status"] == "ok"
    for own in ("", "baseline_"):
        assert 10_000_000 < only[f"{own}process_start_bytes"] <= only[f"{own}process_peak_bytes"]


def test_a_peer_that_does_not_fit_is_recorded(bench_records):
    named = ["--peers", "plain-chainer", "--estimators", "marginalize"]
    (only,) = bench_records(*named, "--memory-limit", "60MB")
    assert only["status"] == "out-of-memory"
    assert only["reason"].startswith("plain-chainer: a fresh process held ")
    assert only["baseline"] == "plain-chainer"


@pytest.mark.usefixtures("made_up_children")
@pytest.mark.parametrize(
    ("whose", "error"),
    [
        ("plain-chainer", MemoryError("none left")),
        ("plain-chainer", RuntimeError("you tried to allocate memory")),
        ("marginalize", MemoryError("none left")),
    ],
)
def test_who_ran_out_of_memory_while_timed_is_told(bench_records, monkeypatch, whose, error):
    def no_memory(self):
        raise error

    monkeypatch.setattr(Case if whose == "marginalize" else PEERS[whose].load(), "unlabelled_step", no_memory)
    (only,) = bench_records("--peers", "plain-chainer", "--estimators", "marginalize")
    assert (only["status"], only["reason"]) == ("out-of-memory", f"{whose} ran out of memory: {error}")


def test_only_errors_of_memory_count_as_out_of_memory():
    def fails(error):
        raise error

    with pytest.raises(PeerOutOfMemory, match="none left"):
        memory_errors(fails)(MemoryError("none left"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        memory_errors(fails)(RuntimeError("shapes differ"))
    assert memory_errors(lambda x: 2 * x)(3) == 6


def test_a_peak_is_recorded_as_that_of_host_or_device():
    peak = LivePeak(3, 2, "meter")
    assert peak_figures(peak, on_device=False) == {"live_peak_bytes": 3, "live_meter": "meter", "state_bytes": 2}
    assert peak_figures(peak, on_device=True) == {"device_peak_bytes": 3, "device_meter": "meter", "state_bytes": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["jax"], "unknown peer 'jax'; known: plain-chainer, plain-torch, split-torch, plain-jax, pyro-"),
        (["pyro-parallel", "--estimators", "gumbel-softmax"], "--peers pyro-parallel do none of --estimators"),
    ],
)
def test_peers_that_cannot_be_timed_are_refused(session, options, message):
    ended = session("--collect-only", "--peers", *options)
    assert ended.ret == pytest.ExitCode.USAGE_ERROR
    assert message in ended.stdout + ended.stderr


def test_plain_chainer_refuses_settings_that_it_lacks():
    with pytest.raises(ValueError, match="relu"):
        PlainADGM(make_config("blog", n_classes=3))


def test_the_random_minibatch_equals_the_cases():
    settings = Settings(preset="small", n_classes=3, batch=4, threads=1)
    case, batch = Case(settings), random_batch(settings)
    np.testing.assert_array_equal(case.bk.to_numpy(case.batch.x_unlabelled), batch.x_unlabelled)
    np.testing.assert_array_equal(case.bk.to_numpy(case.batch.y), batch.y)
