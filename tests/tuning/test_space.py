"""Search spaces beside what Optuna makes of them."""

import itertools
import math
import sys

import numpy as np
import pytest

from expunge.errors import NeedsError
from expunge.methods import METHODS
from expunge.methods.search import Choice, Log, NearOne, Whole
from expunge.tuning.space import distributions, optuna, settings

SEARCH = {"rate": Log(1e-4, 1e-1), "weight": NearOne(1e-4, 0.1), "epochs": Whole(2, 5), "cut": Choice(((), (3,), 0.5))}
TUNABLE = [name for name, method in METHODS.items() if method.search]


def drawn(search, count):
    study = optuna().create_study(sampler=optuna().samplers.RandomSampler(seed=0))
    space = distributions(search)
    return [settings(search, study.ask(space).params) for _ in range(count)]


def test_what_is_drawn_becomes_settings_by_hand():
    found = settings(SEARCH, {"rate": 0.02, "weight": 0.05, "epochs": 3, "cut": 1})
    assert found == {"rate": 0.02, "weight": 0.95, "epochs": 3, "cut": (3,)}
    assert settings({"cut": SEARCH["cut"]}, {"cut": 0}) == {"cut": ()}


def test_distributions_have_the_bounds_and_the_scale():
    found = distributions(SEARCH)
    assert list(found) == list(SEARCH)
    assert (found["rate"].low, found["rate"].high, found["rate"].log) == (1e-4, 1e-1, True)
    assert (found["weight"].low, found["weight"].high, found["weight"].log) == (1e-4, 0.1, True)
    assert (found["epochs"].low, found["epochs"].high, found["epochs"].log) == (2, 5, False)
    assert found["cut"].choices == (0, 1, 2)


def test_draws_reach_the_whole_space_and_nothing_beyond():
    found = drawn(SEARCH, 400)  # n = 400: a value of four or of three is missed with probability below 1e-49
    assert {one["epochs"] for one in found} == {2, 3, 4, 5}
    assert {one["cut"] for one in found} == {(), (3,), 0.5}
    assert all(1e-4 <= one["rate"] <= 1e-1 for one in found)
    assert all(0.9 <= one["weight"] <= 1 - 1e-4 + 1e-15 for one in found)
    # half of them below the geometric middle: n = 400, off by 0.1 with probability 6e-5
    assert np.mean([one["rate"] < 10**-2.5 for one in found]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([1 - one["weight"] < 10**-2.5 for one in found]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", TUNABLE)
def test_every_corner_of_every_declared_space_is_a_setting_of_its_method(name):
    method = METHODS[name]
    ends = []
    for space in method.search.values():
        match space:
            case Choice(values):
                ends.append(range(len(values)))
            case _:
                ends.append((space.low, space.high))
    corners = list(itertools.product(*ends))
    for corner in corners:
        chosen = settings(method.search, dict(zip(method.search, corner, strict=True)))
        made = method(**chosen)
        assert {key: getattr(made, key) for key in chosen} == chosen
    assert len(corners) >= 4


def test_every_number_of_a_space_is_sound():
    spaces = [space for name in TUNABLE for space in METHODS[name].search.values()]
    for space in spaces:
        match space:
            case Choice(values):
                assert values
            case Whole(low, high):
                assert type(low) is type(high) is int
                assert low < high
            case _:
                assert 0 < space.low < space.high < math.inf
    assert any(isinstance(space, NearOne) and space.high < 1 for space in spaces)


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(NeedsError, match="needs the library Optuna, which is not installed") as caught:
        optuna()
    assert caught.value.hint == 'pip install "expunge[tune]"'
    with pytest.raises(NeedsError):
        distributions(SEARCH)


def test_the_library_is_quiet(capsys):
    drawn(SEARCH, 2)
    words = capsys.readouterr()
    assert (words.out, words.err) == ("", "")
