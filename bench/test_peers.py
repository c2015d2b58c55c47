"""gsbench's sum over the classes beside the formulations that people use today (`--peers`), in pairs."""

import numpy as np
from peers.plain_chainer import PlainADGM
from timing import out_of_memory_recorded, skip_where_disabled, time_pairs

from gsbench.backends.chainer_import import chainer
from gsbench.case import Case


def plain_step(case):
    """The plain formulation's forward and backward pass on the case's minibatch, with noise drawn anew each time."""
    plain = PlainADGM(case.model.config)
    plain.copy_weights(case.model)
    x = case.batch.x_unlabelled
    rng = np.random.default_rng(case.settings.seed)

    def step():
        eps_a, eps_z = (
            rng.standard_normal((len(x), d), dtype=np.float32) for d in (plain.config.d_a, plain.config.d_z)
        )
        plain.cleargrads()
        with chainer.using_config("type_check", True):  # Chainer's default, which our backend turns off
            (-chainer.functions.mean(plain.unlabelled_bound(x, eps_a, eps_z))).backward()

    return step


def test_peer(benchmark, record, options, n_classes, estimator, peer):
    settings = options.settings("adgm", n_classes, estimator)
    recorder = record("peer", settings, timed="bound", baseline=peer)
    skip_where_disabled(benchmark)
    recorder.require_memory(options.settings("adgm", n_classes), settings)
    benchmark.group = f"peer {peer} K={n_classes}"
    with out_of_memory_recorded(recorder):
        case = Case(settings, recorder.dataset())
        figures = time_pairs(benchmark, recorder, plain_step(case), case.bound)
    benchmark.extra_info.update(recorder.write(figures))
