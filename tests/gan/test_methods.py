"""What holds for every GAN method, whichever it is."""

import dataclasses
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest

from expunge.cli.flags import described
from expunge.data import MemoryRows, Rows
from expunge.errors import ConfigError
from expunge.gan import methods
from expunge.gan.methods import FORGET_KINDS, GAN_METHODS, NEEDS, gan_method
from tests.gan.tiny import CONDITIONAL, digits, original, problem, same_pair

QUICK = {
    "cascade": {"steps": 4, "search_steps": 10, "latents": 20},
    "retrain": {"share": 0.05},
    "finetune": {"steps": 4},
    "redaction": {"steps": 4},
    "gradient_ascent": {"steps": 4},
    "adapt_then_unlearn": {"steps": 4, "adapt_steps": 2, "fisher_rows": 4},
    "selective_amnesia": {"steps": 4, "fisher_rows": 4},
}
CASES = [(name, kind) for name in GAN_METHODS for kind in sorted(GAN_METHODS[name].forget_kinds)]


class SpyRows(Rows):
    """Rows that remember which of them were read."""

    def __init__(self, rows: MemoryRows) -> None:
        self.inner, self.ids, self.subjects, self.classes = rows, rows.ids, rows.subjects, rows.classes
        self.labels, self.read = rows.labels, set()

    def batch(self, indices, device="cpu"):
        self.read |= set(np.asarray(indices).tolist())
        return self.inner.batch(indices, device)

    def take(self, indices):
        return self.inner.take(indices)


def asked(kind, **parts):
    return problem("class:3" if kind == "class" else "random:9", of=CONDITIONAL, **parts)


def made(name, kind, *, seed=0, **parts):
    return gan_method(name)(**QUICK.get(name, {})).run(asked(kind, **parts), seed=seed)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_same_seed_same_pair_other_seed_other_pair_and_the_original_stays(name, kind):
    before = original(CONDITIONAL).hash()
    once, again, other = (made(name, kind, seed=seed) for seed in (1, 1, 2))
    assert same_pair(once.pair, again.pair)
    assert same_pair(once.pair, other.pair) != GAN_METHODS[name].stochastic
    assert original(CONDITIONAL).hash() == before
    assert once.pair.hash() != before
    ours = {p.data_ptr() for p in once.pair.generator.parameters()}
    assert not ours & {p.data_ptr() for p in original(CONDITIONAL).generator.parameters()}
    assert not once.pair.generator.training
    assert once.cost.visits > 0


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_it_reads_only_the_rows_that_it_says_it_needs(name, kind):
    one = asked(kind)  # what construction reads does not count
    spied = SpyRows(digits().train)
    object.__setattr__(one, "rows", spied)
    method = gan_method(name)(**QUICK.get(name, {}))
    _ = one.retain, one.forgotten
    method.run(one, seed=0)
    if name != "retrain":  # the span of the rows and their fingerprint are taken over all of them
        needs = GAN_METHODS[name].needs
        assert "forget" in needs or not spied.read & set(one.forget.tolist())
        assert "retain" in needs or not spied.read & set(one.retain.tolist())


@pytest.mark.parametrize("name", GAN_METHODS)
def test_learning_steps_hold_no_forget_row(name):
    one = asked(sorted(GAN_METHODS[name].forget_kinds)[0])
    gone, seen = set(one.forget.tolist()), []
    from expunge.gan import duel

    whole = duel.Duel.learn

    def learn(self, batch, **more):
        seen.append((batch.role, set(np.asarray(batch.indices).tolist())))
        return whole(self, batch, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duel.Duel, "learn", learn)
        gan_method(name)(**QUICK.get(name, {})).run(one, seed=0)
    for role, rows in seen:
        assert role in ("retain", "forget")
        assert (rows <= gone) if role == "forget" else not rows & gone


@pytest.mark.parametrize("name", GAN_METHODS)
def test_its_page_is_whole(name):
    kind = GAN_METHODS[name]
    page = inspect.getdoc(sys.modules[kind.__module__])
    for heading in ("Source:", "Objective:", "Deviations:", "Cost:"):
        assert heading in page, heading
    assert kind.needs <= NEEDS
    assert kind.forget_kinds <= FORGET_KINDS
    assert kind.status in ("exact", "reconstruction", "experimental")
    if kind.status == "reconstruction":
        assert "Reconstruction" in page
    for flag, _, text in described(kind):
        assert text, flag
    assert all(
        dataclasses.fields(kind)[i].default is not dataclasses.MISSING for i in range(len(dataclasses.fields(kind)))
    )


def test_each_file_is_one_method_and_each_method_has_its_tests():
    files = {path.stem for path in Path(methods.__file__).parent.glob("*.py")} - {"__init__", "method"}
    assert files == set(GAN_METHODS)
    tests = {path.stem.removeprefix("test_") for path in (Path(__file__).parent / "methods").glob("test_*.py")}
    assert tests == set(GAN_METHODS)


def test_an_unknown_name_gets_close_matches():
    with pytest.raises(ConfigError, match="unknown GAN method 'cascad'") as caught:
        gan_method("cascad")
    assert "cascade" in caught.value.hint
