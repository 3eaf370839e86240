"""Calibrators against known curves and slow definitions; the reliability table; and what survives odd decisions."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidlm.moderation import calibration
from vidlm.moderation.calibration import Method
from vidlm.moderation.calibrators import Isotonic, Platt, fit_isotonic, fit_platt, from_document
from vidlm.moderation.estimates import Decisions

GRID = np.linspace(0, 1, 201)
odd = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([0.0, 1.0, 0.5, 1e-300]), st.floats(0, 1)),
        st.booleans(),
        st.sampled_from([1.0, 0.3, 1e-3, 1e-9]),
    ),
    min_size=1,
    max_size=30,
)


def decisions_of(items: list[tuple[float, bool, float]]) -> Decisions:
    scores, violations, inclusion = zip(*items, strict=True)
    return Decisions.of(scores, violations, inclusion)


def overconfident(rng: np.random.Generator, count: int) -> tuple[Decisions, Platt]:
    """Decisions whose scores are too sure by a known curve, rare ones sampled, and that curve."""
    curve = Platt(slope=0.5, intercept=-1.0)
    scores = rng.beta(0.5, 1.5, count)
    violations = rng.random(count) < curve.apply(scores)
    inclusion = np.where(scores >= 0.5, 1.0, 0.2)
    kept = rng.random(count) < inclusion
    return Decisions.of(scores[kept], violations[kept], inclusion[kept]), curve


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
def test_a_calibrator_finds_the_curve_that_made_the_decisions(fit) -> None:
    rng = np.random.default_rng(1)
    decisions, curve = overconfident(rng, 50_000)
    inside = (GRID > 0.02) & (GRID < 0.98)
    apart = np.abs(fit(decisions).apply(GRID) - curve.apply(GRID))[inside]
    assert apart.mean() < 0.02
    assert apart.max() < 0.1


@pytest.mark.parametrize("count", [500, 5000])
def test_calibrated_scores_are_nearer_to_the_truth_on_fresh_data(count: int) -> None:
    rng = np.random.default_rng(2)
    before, after = [], []
    for _ in range(20):
        decisions, curve = overconfident(rng, count)
        found = calibration.fit_calibrator(decisions)
        assert found is not None
        fresh = rng.beta(0.5, 1.5, 2000)
        before.append(np.abs(fresh - curve.apply(fresh)).mean())
        after.append(np.abs(found.apply(fresh) - curve.apply(fresh)).mean())
    assert np.mean(after) < np.mean(before) / 3


def test_scores_that_are_probabilities_stay_as_they_are() -> None:
    rng = np.random.default_rng(3)
    scores = rng.random(50_000)
    found = fit_platt(Decisions.of(scores, rng.random(50_000) < scores))
    assert (found.slope, found.intercept) == pytest.approx((1.0, 0.0), abs=0.05)


@settings(deadline=None)
@given(odd)
def test_platts_fit_is_the_least_loss_there_is(items: list[tuple[float, bool, float]]) -> None:
    decisions = decisions_of(items)
    found = fit_platt(decisions)
    assert loss(decisions, found) <= loss(decisions, Platt(0.0, found.intercept)) + 1e-9
    for slope, intercept in ((0.01, 0.0), (-0.01, 0.0), (0.0, 0.01), (0.0, -0.01), (0.01, 0.05), (0.01, -0.05)):
        if found.slope + slope >= 0:
            other = Platt(found.slope + slope, found.intercept + intercept)
            assert loss(decisions, found) <= loss(decisions, other) + 1e-9


def loss(decisions: Decisions, calibrator: Platt) -> float:
    """Cross-entropy against Platt's targets, by the definition; decisions of a class count as (sum w)^2 / sum w^2."""
    weights, yes = decisions.weights / decisions.weights.sum(), decisions.violations
    worth = [weights[part].sum() ** 2 / (weights[part] ** 2).sum() if part.any() else 0.0 for part in (yes, ~yes)]
    targets = np.where(yes, (worth[0] + 1) / (worth[0] + 2), 1 / (worth[1] + 2))
    clipped = np.clip(decisions.scores, 1e-6, 1 - 1e-6)
    logits = calibrator.slope * np.log(clipped / (1 - clipped)) + calibrator.intercept
    return float(weights @ (np.logaddexp(0, logits) - targets * logits))


@settings(deadline=None)
@given(odd, st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_calibrators_are_monotone_probabilities_and_survive_a_document(
    items: list[tuple[float, bool, float]], scores: list[float]
) -> None:
    decisions = decisions_of(items)
    asked = np.sort(np.asarray([*scores, *decisions.scores]))
    for found in (fit_platt(decisions), fit_isotonic(decisions)):
        probabilities = found.apply(asked)
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
        assert (np.diff(probabilities) >= 0).all()
        again = from_document(json.loads(json.dumps(found.to_document(), allow_nan=False)))
        assert again == found
        assert (again.apply(asked) == probabilities).all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(1, 5)), min_size=1, max_size=25))
def test_pooling_is_the_monotone_fit_of_least_squares(items: list[tuple[int, bool, int]]) -> None:
    decisions = decisions_of([(score / 8, yes, 1 / weight) for score, yes, weight in items])
    found = fit_isotonic(decisions).apply(np.unique(decisions.scores))
    where = np.unique(decisions.scores, return_inverse=True)[1]
    weights = np.bincount(where, weights=decisions.weights)
    shares = np.bincount(where, weights=decisions.weights * decisions.violations) / weights
    # the min-max formula: at each score the greatest over its left of the least over its right of the means between
    for at in range(len(shares)):
        means = [
            [
                np.average(shares[left : right + 1], weights=weights[left : right + 1])
                for right in range(at, len(shares))
            ]
            for left in range(at + 1)
        ]
        assert found[at] == pytest.approx(max(min(row) for row in means))


def test_one_class_or_one_score_gives_one_level() -> None:
    for violations, level in (([True] * 8, 9 / 10), ([False] * 8, 1 / 10)):
        found = fit_platt(Decisions.of(np.linspace(0, 1, 8), violations))
        assert found.apply([0.0, 1.0]) == pytest.approx([level, level])
    found = fit_platt(Decisions.of([0.3] * 8, [True, False] * 4))
    assert (found.slope, found.apply([0.9])[0]) == (0.0, pytest.approx(0.5))


def test_scores_that_say_the_opposite_change_no_order() -> None:
    found = fit_platt(Decisions.of([0.1] * 50 + [0.9] * 50, [True] * 50 + [False] * 50))
    assert found.slope == 0


@pytest.mark.parametrize(
    ("violations", "others", "allowed"),
    [
        (19, 5000, None),
        (5000, 19, None),
        (20, 20, Method.PLATT),
        (99, 5000, Method.PLATT),
        (100, 899, Method.PLATT),
        (100, 900, Method.ISOTONIC),
        (0, 0, None),
    ],
)
def test_how_many_decisions_of_each_class_a_method_takes(violations: int, others: int, allowed: Method | None) -> None:
    count = violations + others
    decisions = Decisions.of(np.linspace(0, 1, count), [True] * violations + [False] * others)
    assert calibration.allowed_method(decisions) is allowed
    kind = {None: type(None), Method.PLATT: Platt, Method.ISOTONIC: Isotonic}[allowed]
    assert isinstance(calibration.fit_calibrator(decisions), kind)


def test_many_light_decisions_beside_a_few_heavy_ones_are_worth_few() -> None:
    inclusion = [1.0] * 500 + [1e-4] * 3 + [1.0] * 500
    decisions = Decisions.of(np.linspace(0, 1, 1003), [False] * 503 + [True] * 500, inclusion)
    assert calibration.allowed_method(decisions) is None


def test_the_table_holds_every_decision_once_and_equal_scores_together() -> None:
    rng = np.random.default_rng(4)
    scores = np.round(rng.random(3000), 2)
    decisions = Decisions.of(scores, rng.random(3000) < scores, rng.choice([1.0, 0.1], 3000))
    table = calibration.reliability_table(decisions)
    assert len(table) == 10
    assert sum(part.count for part in table) == 3000
    assert max(part.count for part in table) - min(part.count for part in table) < 150
    assert sum(part.weight for part in table) == pytest.approx(1)
    assert all(one.high < other.low for one, other in itertools.pairwise(table))
    assert all(part.low <= part.mean_score <= part.high for part in table)
    share = sum(part.weight * part.violations.value for part in table)
    assert share == pytest.approx(np.average(decisions.violations, weights=decisions.weights))
    assert len(calibration.reliability_table(Decisions.of([0.4] * 50, [True] * 50))) == 1


def test_calibrated_scores_lie_in_their_intervals_and_others_do_not() -> None:
    rng = np.random.default_rng(5)
    held = total = 0
    for _ in range(50):
        scores = rng.beta(0.5, 2, 4000)
        inclusion = np.where(scores > 0.5, 1.0, 0.1)
        kept = rng.random(4000) < inclusion
        decisions = Decisions.of(scores[kept], (rng.random(4000) < scores)[kept], inclusion[kept])
        table = calibration.reliability_table(decisions)
        held += sum(part.violations.low <= part.mean_score <= part.violations.high for part in table)
        total += len(table)
    assert held >= 0.9 * total
    decisions, _ = overconfident(rng, 20_000)
    table = calibration.reliability_table(decisions)
    assert sum(part.violations.low <= part.mean_score <= part.violations.high for part in table) <= 2


def test_the_calibration_error_of_known_cases() -> None:
    def error(score: float) -> float | None:
        decisions = Decisions.of([score] * 100, [True, False] * 50)
        return calibration.calibration_error(calibration.reliability_table(decisions))

    assert error(0.5) == pytest.approx(0)
    assert error(1.0) == pytest.approx(0.5)
    assert calibration.calibration_error(calibration.reliability_table(Decisions.of([], []))) is None


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"method": "magic"},
        {"method": "platt", "slope": "1", "intercept": 0},
        {"method": "platt", "slope": -1.0, "intercept": 0.0},
        {"method": "platt", "slope": float("nan"), "intercept": 0.0},
        {"method": "isotonic", "scores": 1, "probabilities": [0.1]},
        {"method": "isotonic", "scores": [], "probabilities": []},
        {"method": "isotonic", "scores": [0.1, 0.1], "probabilities": [0.1, 0.2]},
        {"method": "isotonic", "scores": [0.1, 0.2], "probabilities": [0.2, 0.1]},
        {"method": "isotonic", "scores": [0.1, 0.2], "probabilities": [0.2]},
        {"method": "isotonic", "scores": [0.1], "probabilities": [True]},
    ],
)
def test_documents_that_hold_no_calibrator_are_refused(document: dict) -> None:
    with pytest.raises(ValueError):
        from_document(document)


def test_what_makes_no_sense_is_refused() -> None:
    nothing = Decisions.of([], [])
    for refused in (
        lambda: fit_platt(nothing),
        lambda: fit_isotonic(nothing),
        lambda: Platt(1.0, 0.0).apply([float("nan")]),
        lambda: Isotonic((0.5,), (0.5,)).apply([1.5]),
        lambda: calibration.reliability_table(nothing, bins=0),
    ):
        with pytest.raises(ValueError):
            refused()


def test_what_is_left_after_calibration_is_judged_on_other_decisions() -> None:
    decisions, _ = overconfident(np.random.default_rng(9), 5000)
    after = calibration.cross_fitted(decisions)
    assert after is not None
    before = calibration.calibration_error(calibration.reliability_table(decisions))
    left = calibration.calibration_error(calibration.reliability_table(after))
    assert before is not None
    assert left is not None
    assert left < before / 2
    assert (after.violations == decisions.violations).all()
    assert calibration.cross_fitted(Decisions.of([0.5] * 10, [True] * 10)) is None


def test_noise_does_not_look_calibrated_to_itself() -> None:
    rng = np.random.default_rng(10)
    noise = Decisions.of(rng.random(1000), rng.random(1000) < 0.5)
    after, own = calibration.cross_fitted(noise), fit_isotonic(noise)
    assert after is not None
    on_itself = Decisions.of(own.apply(noise.scores), noise.violations)
    errors = [calibration.calibration_error(calibration.reliability_table(part)) for part in (after, on_itself)]
    assert errors[0] is not None
    assert errors[1] is not None
    assert errors[0] > errors[1]
