"""Seeds: one stream per purpose, and nobody's global generator is disturbed."""

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.seeds import derive, generator, lent, numpy_generator

ROLES = (
    "init",
    "order/train",
    "order/retain",
    "order/forget",
    "beside/forget",
    "dropout",
    "augment",
    "forget",
    "split",
)


def test_no_two_purposes_share_a_seed():
    purposes = list(itertools.product(range(-3, 40), ROLES, range(60)))
    assert len({derive(*purpose) for purpose in purposes}) == len(purposes)


@given(st.tuples(st.integers(), st.text(), st.integers()), st.tuples(st.integers(), st.text(), st.integers()))
def test_seeds_are_equal_exactly_where_purposes_are(one, other):
    assert (derive(*one) == derive(*other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"), [((1, "a", 11), (1, "a1", 1)), ((1, "1/a", 0), (1, "a", 0)), ((0, "a/1", 0), (0, "a", 1))]
)
def test_parts_do_not_run_into_each_other(one, other):
    assert derive(*one) != derive(*other)


@given(st.integers(), st.text(), st.integers())
def test_a_seed_fits_into_63_bits(seed, role, index):
    assert 0 <= derive(seed, role, index) < 2**63


def test_seeds_stay_what_they_were_in_earlier_versions():
    assert derive(0, "init") == 7615695542073086227


def test_numpy_integers_count_as_integers():
    assert derive(np.int64(7), "init", np.int32(2)) == derive(7, "init", 2)


def test_a_generator_starts_anew_at_each_call():
    assert torch.equal(torch.rand(5, generator=generator(3, "a")), torch.rand(5, generator=generator(3, "a")))
    assert numpy_generator(3, "a").random() == numpy_generator(3, "a").random()


def test_drawing_in_one_role_leaves_another_as_it_was():
    undisturbed = torch.rand(4, generator=generator(0, "order"))
    torch.rand(100, generator=generator(0, "init"))
    assert torch.equal(torch.rand(4, generator=generator(0, "order")), undisturbed)


def test_roles_are_uncorrelated():
    one, other = (torch.randn(20_000, generator=generator(0, role)) for role in ("init", "order"))
    assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 4 / 20_000**0.5


def test_lent_is_what_global_draws_see():
    with lent(generator(5, "init")):
        seen = torch.rand(3)
    assert torch.equal(seen, torch.rand(3, generator=generator(5, "init")))


def test_lent_leaves_the_global_generators_as_they_were():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    with lent(generator(5, "init")):
        torch.nn.Linear(4, 4)
        torch.nn.functional.dropout(torch.ones(10), 0.5)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]


def test_lent_advances_the_source():
    source = generator(5, "init")
    with lent(source):
        first = torch.rand(3)
    with lent(source):
        second = torch.rand(3)
    assert torch.equal(torch.cat([first, second]), torch.rand(6, generator=generator(5, "init")))


def test_lent_restores_after_an_error():
    def fail():
        torch.rand(3)
        raise ZeroDivisionError

    before, source = torch.get_rng_state(), generator(5, "init")
    with pytest.raises(ZeroDivisionError), lent(source):
        fail()
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(source.get_state(), generator(5, "init").get_state())


def test_loans_nest():
    with lent(generator(1, "outer")):
        first = torch.rand(2)
        with lent(generator(2, "inner")):
            torch.rand(50)
        second = torch.rand(2)
    assert torch.equal(torch.cat([first, second]), torch.rand(4, generator=generator(1, "outer")))
