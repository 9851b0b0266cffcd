"""Training a pair: the same weights whether or not it was stopped, and what it may look at."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.data import MemoryRows
from expunge.errors import ConfigError, DivergedError, ProblemError, StoreError
from expunge.gan.duel import Duel
from expunge.gan.fit import KIND, UNFINISHED, fit_pair, training_key
from expunge.gan.pair import drawn, latents
from expunge.gan.recipe import GanRecipe, span_of
from expunge.store import Store
from tests.gan.tiny import CONDITIONAL, RECIPE, digits, rows, same_pair

SHORT = replace(RECIPE, epochs=3)
DCGAN = GanRecipe(name="tiny-dcgan", model="dcgan", arguments={"widths": [4, 8]}, latent=4, epochs=2, batch_size=8)


class Stopped(Exception):
    pass


def stopped_after(steps):
    def progress(what, done, total):
        if done == steps:
            raise Stopped

    return progress


@pytest.mark.parametrize("recipe", [SHORT, replace(CONDITIONAL, epochs=3), replace(SHORT, average=0.0)])
@pytest.mark.parametrize("steps", [1, 13])
def test_a_stopped_training_ends_with_the_very_same_weights(recipe, steps, tmp_path):
    train, store = digits().train, Store(tmp_path)
    whole = fit_pair(recipe, train, seed=3)
    with pytest.raises(Stopped):
        fit_pair(recipe, train, seed=3, store=store, every=0, progress=stopped_after(steps))
    key = training_key(recipe, train, np.arange(len(train)), 3)
    assert store.has(UNFINISHED, key) == (steps > 1)  # the step that was under way is lost, those before are not
    resumed = fit_pair(recipe, train, seed=3, store=store)
    assert same_pair(whole.pair, resumed.pair)
    assert resumed.cost.backward == whole.cost.backward
    assert not store.has(UNFINISHED, key)
    assert len(resumed.history) == len(whole.history) - max(0, steps - 1)


def test_a_stopped_training_with_batch_statistics_too(tmp_path):
    train, store = rows(24, (1, 16, 16)), Store(tmp_path)
    recipe = replace(DCGAN, average=0.5)
    whole = fit_pair(recipe, train, seed=1)
    with pytest.raises(Stopped):
        fit_pair(recipe, train, seed=1, store=store, every=0, progress=stopped_after(4))
    assert same_pair(whole.pair, fit_pair(recipe, train, seed=1, store=store).pair)


def test_finished_work_is_taken_from_the_store(tmp_path):
    store = Store(tmp_path)
    first = fit_pair(SHORT, digits().train, seed=3, store=store)
    second = fit_pair(SHORT, digits().train, seed=3, store=store, progress=stopped_after(1))
    assert same_pair(first.pair, second.pair)
    assert second.cost == first.cost
    assert not second.history


def test_a_damaged_pair_is_refused(tmp_path):
    store = Store(tmp_path)
    fit_pair(SHORT, digits().train, seed=3, store=store)
    (folder,) = (tmp_path / KIND).iterdir()
    file = folder / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(StoreError, match="damaged or edited"):
        fit_pair(SHORT, digits().train, seed=3, store=store)


def test_same_seed_same_pair_and_other_seed_other_pair():
    once, again, other = (fit_pair(SHORT, digits().train, seed=seed).pair for seed in (1, 1, 2))
    assert same_pair(once, again)
    assert not same_pair(once, other)


def test_rows_outside_the_indices_decide_nothing_but_the_span():
    train = digits().train
    at = np.arange(0, 200)
    changed = train.x.clone()
    changed[200:] = changed[200:].flip(0)  # other rows there, the same least and greatest values
    other = MemoryRows(changed, train.labels, ids=train.ids)
    one = fit_pair(SHORT, train, at, seed=0)
    assert same_pair(one.pair, fit_pair(SHORT, other, at, seed=0).pair)
    assert one.cost.backward["discriminator/real"] == 3 * 200


def test_span_is_the_least_and_greatest_value_of_each_channel():
    x = torch.randn(9, 2, 3, 3)
    low, high = span_of(MemoryRows(x, torch.zeros(9)))
    assert low == pytest.approx(x.transpose(0, 1).flatten(1).min(1).values.tolist())
    assert high == pytest.approx(x.transpose(0, 1).flatten(1).max(1).values.tolist())


def test_visits_of_a_training_by_hand():
    cost = fit_pair(SHORT, digits().train, seed=0).cost
    n = 3 * 300
    assert cost.backward == dict.fromkeys(
        ("discriminator/real", "discriminator/fake", "generator/fake", "discriminator/through"), n
    )
    assert cost.forward == {"generator/fake": n}
    assert cost.visits == pytest.approx(n * 13 / 3)


def test_training_brings_pictures_nearer_to_the_rows():
    train = digits().train
    pair = fit_pair(RECIPE, train, seed=0).pair
    z, _ = latents(pair.generator, 300, seed=1, role="test")
    fresh = RECIPE.fresh((1, 8, 8), seed=0, span=span_of(train))
    gaps = [(drawn(net, z).mean(0) - train.x.mean(0)).norm() for net in (pair.generator, fresh.generator)]
    assert gaps[0] < 0.5 * gaps[1]


def test_one_row_and_an_odd_batch_are_enough():
    for count in (1, 9):
        assert len(fit_pair(DCGAN, rows(count, (1, 16, 16)), seed=0).history) == 2 * -(-count // 9)


def test_labels_beyond_the_pair_are_refused():
    with pytest.raises(ConfigError, match=r"tiny-cgan: expected labels 0..4, got up to 9"):
        fit_pair(replace(CONDITIONAL, classes=5), digits().train, seed=0)


def test_no_rows_or_repeated_rows_are_refused():
    for at in (np.array([], dtype=np.int64), np.array([1, 1])):
        with pytest.raises(ProblemError, match="expected"):
            fit_pair(SHORT, digits().train, at, seed=0)


def test_a_step_too_large_is_told_apart(monkeypatch):
    monkeypatch.setattr(Duel, "latents", lambda self, count: torch.full((count, 8), float("nan")))
    with pytest.raises(DivergedError, match="loss became nan at step 0"):
        fit_pair(SHORT, digits().train, seed=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("lr", 0), ("beta", 1), ("average", 1), ("latent", 0), ("classes", -1), ("epochs", 0), ("batch_size", 1)],
)
def test_recipes_refuse_values_out_of_range(field, value):
    with pytest.raises(ConfigError, match=f"{field}: expected"):
        replace(RECIPE, **{field: value})


def test_recipe_survives_a_manifest_and_an_unknown_field_does_not():
    assert GanRecipe.from_dict(RECIPE.to_dict()) == RECIPE
    with pytest.raises(StoreError, match="not one of this version"):
        GanRecipe.from_dict({**RECIPE.to_dict(), "colour": 3})


def test_fingerprint_knows_what_changes_weights():
    assert replace(RECIPE, name="x", data="y", classifier="z").fingerprint() == RECIPE.fingerprint()
    assert replace(RECIPE, lr=1.0).fingerprint() != RECIPE.fingerprint()
