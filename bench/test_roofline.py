"""The share of the machine's matrix-product peak that a case reaches. The peak is measured in turn with the case."""

from statistics import fmean

from timing import once_where_disabled, out_of_memory_recorded, take_rounds

from gsbench.meters.case import Case
from gsbench.meters.measure import rounds_for
from gsbench.meters.operations import operations, products
from gsbench.meters.products import LEAST_RUNS, SQUARES, CaseAmongProducts, largest_product, product_call

# An interval needs more rounds: the median lies between the smallest and the largest of 7 with 98.4 %.
MORE_ROUNDS = 2


def products_of(case, timed, calls):
    settings = case.settings
    return products(settings.model, case.model.config, settings.batch, settings.n_mc, case.estimator, timed, calls)


def largest_product_of(case, timed, calls_of_f):
    """As it occurs: a sum in chunks has the rows of one chunk at once. None of a user's model, whose products are
    unknown."""
    draws = case.settings.n_mc * case.settings.batch
    at_once = min(case.estimator.classes_at_once(case.model, draws), calls_of_f)
    found = products_of(case, timed, at_once)
    return largest_product(found) if found else None


def rounds_of(session, call):
    """No more rounds than runs of the products, because these take most of a small case's time."""
    least = session.min_rounds + MORE_ROUNDS
    return max(least, min(LEAST_RUNS, rounds_for(call, session.max_time, least, session.warmup_calls)))


def test_roofline(benchmark, record, options, session, model, n_classes, estimator, roofline):
    settings = options.settings(model, n_classes, estimator)
    recorder = record("roofline", settings, timed=roofline)
    recorder.require_memory(settings)
    benchmark.group = f"roofline {model} K={n_classes} {roofline}"
    with out_of_memory_recorded(recorder):
        case = Case(settings, recorder.dataset())
        call, calls_of_f = getattr(case, roofline), [case.calls_of_f()]
        once_where_disabled(benchmark, recorder, call)
        largest = largest_product_of(case, roofline, calls_of_f[0])
        calls = {product: product_call(session.bk, product) for product in filter(None, (*SQUARES, largest))}
        turns = CaseAmongProducts(call, calls, rounds_of(session, call))
        take_rounds(benchmark, turns, turns.rounds, spare=call)
    calls_of_f.append(case.calls_of_f())  # where they follow the logits, steps change them
    needed = operations(
        model, case.model.config, settings.batch, settings.n_mc, case.estimator, roofline, fmean(calls_of_f)
    )
    found = turns.fraction(needed, seed=settings.seed)
    figures = {
        "operations": needed,
        f"{roofline}_seconds": turns.median_seconds,
        "seconds_per_class": turns.median_seconds / n_classes,
        "peak_operations_per_second": found.peak_operations_per_second,
        "peak_operations_per_second_median": found.peak_operations_per_second_median,
        "peak_product": str(found.peak_product),
        "product_runs": len(turns.product_seconds[found.peak_product]),
        "largest_product": str(largest or ""),
        "fraction_of_peak": found.fraction,
        "fraction_of_peak_low": found.low,
        "fraction_of_peak_high": found.high,
        "confidence": found.confidence,
        "rounds": turns.rounds,
    }
    benchmark.extra_info.update(recorder.write(figures))
