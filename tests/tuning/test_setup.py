"""What is decided before anything is trained, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from expunge.errors import ConfigError, NeedsError, ProblemError
from expunge.methods import METHODS, Twin
from expunge.methods.twin_problem import auxiliary_counts
from expunge.tuning import setup
from expunge.tuning.setup import candidates, set_up, short_of_rows
from expunge.tuning.twins import Parts, divide
from tests.tuning import rewindable, tunable


def of(method="ssd", problem=None, *, twins=2, objective="twin", kind="finetune", seed=0):
    return set_up(method, problem or tunable(), twins=twins, objective=objective, kind=kind, seed=seed)


def with_guide(problem, parts, count):
    """The division with `count` rows of class 0 among the guide rows."""
    labels = problem.holdout.labels.numpy()[parts.guide]
    kept = np.concatenate([parts.guide[labels == 0][:count], parts.guide[labels != 0]])
    return Parts(parts.auxiliary, kept, parts.check, parts.audit)


def test_twins_are_as_many_as_there_are_draws_and_none_for_a_rival():
    assert (of().twins, of().warnings) == (2, ())
    assert of(objective="close").twins == 0
    assert len(of(objective="close", twins=3).parts.auxiliary) == 1
    np.testing.assert_array_equal(of(objective="close").unseen, of().parts.auxiliary[0])


def test_fewer_twins_than_asked_for_are_said():
    few = of(problem=tunable(forget=20), twins=5)  # 40 auxiliary rows each, of 110
    assert few.twins == 2
    assert few.warnings[0].startswith("2 of 5 twins: ")


def test_the_twin_of_the_twin_needs_half_of_its_rows_among_the_guide_rows():
    problem = tunable()
    parts, counts = divide(problem, 1, seed=0)
    needed = round((40 + 17) * 17 / 40)
    assert auxiliary_counts(problem, scope="class") == counts == {0: 17}
    for count, lacking in ((12, False), (11, True), (0, True)):
        words = short_of_rows(problem, with_guide(problem, parts, count), counts, seed=0, twin=True)
        assert bool(words) == lacking
        if lacking:
            assert words == (
                "expected at least 12 rows of class 0 among those that methods look at, "
                f"for {needed} auxiliary rows of its own, got {count}"
            )
    for count, lacking in ((9, False), (8, True)):  # on the true problem it needs 17 rows, not 24
        assert bool(short_of_rows(problem, with_guide(problem, parts, count), counts, seed=0, twin=False)) == lacking


def test_too_few_of_them_are_refused_by_name_and_passed_over_among_others(monkeypatch):
    rows = tunable().holdout.labels.numpy()
    at = np.concatenate([np.flatnonzero(rows == 0)[:30], np.flatnonzero(rows != 0)])
    problem = replace(tunable(), holdout=tunable().holdout.take(at))
    with pytest.raises(NeedsError, match=r"tuning twin: expected at least 12 rows of class 0 .* got \d+") as caught:
        of("twin", problem, twins=1)
    assert "more holdout rows of that class" in caught.value.hint
    monkeypatch.setattr(setup, "METHODS", {name: METHODS[name] for name in ("ssd", "twin")})
    found = of("auto", problem, twins=1)
    assert [one.name() for one in found.methods] == ["ssd"]
    assert found.warnings[0].startswith("twin was passed over: expected at least 12 rows")


def test_where_there_are_enough_twin_unlearning_is_tuned_too():
    assert of("twin", twins=1).methods == (Twin,)
    assert Twin in of("auto", twins=1).methods


def test_a_rewound_twin_needs_where_to_start_unless_no_twin_is_made():
    with pytest.raises(NeedsError, match="kind rewind: expected the original as it was after 4 of its 8 epochs"):
        of(kind="rewind")
    assert of(problem=rewindable(), kind="rewind").way.kind == "rewind"
    assert of(kind="rewind", objective="close").twins == 0


def test_gold_models_are_refused():
    with pytest.raises(ProblemError, match="without gold models, got 2") as caught:
        of(problem=replace(tunable(), gold=(tunable().original,) * 2))
    assert "leave gold=... out" in caught.value.hint


def test_what_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="twins: expected >= 1, got 0"):
        of(twins=0)
    with pytest.raises(ConfigError, match="kind: expected auto, finetune, rewind, fresh"):
        of(kind="old")
    with pytest.raises(NeedsError, match="retrain declares no search space"):
        candidates("retrain", tunable())
