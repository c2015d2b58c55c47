"""The peers compute what gsbench computes: from the same weights and noise, example by example."""

import numpy as np
import pytest
from peers.plain_chainer import PlainADGM

from gsbench.backends import load_backend
from gsbench.estimators import parse_estimator
from gsbench.models import ADGM, make_config
from gsbench.objective import loss, unlabelled_bound


@pytest.fixture
def pair():
    """A gsbench ADGM and the plain one with its weights, a minibatch, and the noise that seed 3 gives."""
    bk = load_backend("chainer", "cpu", "float32")
    model = ADGM(bk, make_config("small", n_classes=5), seed=1)
    plain = PlainADGM(model.config)
    plain.copy_weights(model)
    x = (np.random.default_rng(2).random((7, 784)) < 0.3).astype(np.float32)
    noise = model.draw_noise(bk.generator(3), len(x))
    return bk, model, plain, x, noise.eps_a[0, 0], noise.eps_z[0, 0]


def test_plain_chainer_gives_the_same_bound(pair):
    bk, model, plain, x, eps_a, eps_z = pair
    ours = unlabelled_bound(model, x, parse_estimator("marginalize"), bk.generator(3))
    np.testing.assert_allclose(plain.unlabelled_bound(x, eps_a, eps_z).array, bk.to_numpy(ours), rtol=1e-5)


def test_plain_chainer_gives_the_same_gradient(pair):
    bk, model, plain, x, eps_a, eps_z = pair
    bk.backward(loss(model, unlabelled_bound(model, x, parse_estimator("marginalize"), bk.generator(3))))
    plain.cleargrads()
    bk.backward(loss(model, plain.unlabelled_bound(x, eps_a, eps_z)))
    last = list(plain.p_x_yz.children())[-1].W.grad
    np.testing.assert_allclose(last, bk.gradient(model.parameters["p_x_yz/W3"]), rtol=1e-3, atol=1e-6)
    first = next(plain.q_a_x.children()).W.grad
    np.testing.assert_allclose(first, bk.gradient(model.parameters["q_a_x/W_x"]), rtol=1e-3, atol=1e-6)


def test_plain_chainer_refuses_what_it_is_not_written_for():
    with pytest.raises(ValueError, match="relu"):
        PlainADGM(make_config("blog", n_classes=3))
