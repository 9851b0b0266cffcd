"""Easy and hard rows by hand: who foretold them, and how far from gold they are."""

import json

import numpy as np
import pytest

from expunge.audit.assemble import Audited, Pool
from expunge.audit.estimate import Estimate, summary
from expunge.audit.foretold import foretold
from expunge.bench.ease import ease, foretellings, predictions

FORGET = np.array([1, 3, 4, 6])


def logits(right):
    """Logits `[models, rows, 2]` of class 0, whose margin is 1 where a model is right `[models, rows]`, else -1."""
    margin = 2.0 * np.asarray(right, dtype=float) - 1
    return np.stack([margin, np.zeros_like(margin)], axis=-1)


def pool_of(gold, **sides):
    """Nine rows, of which rows 1, 3, 4 and 6 are forgotten; models `[models, 4]` are right elsewhere."""

    def whole(right):
        every = np.ones((len(right), 9))
        every[:, FORGET] = right
        return logits(every)

    roles = {"heldout": None, "original": [[1, 1, 1, 1]]} | sides
    return Pool(
        gold=whole(gold),
        labels=np.zeros(9, dtype=np.int64),
        splits={"forget": FORGET, "retain": np.array([0, 2, 5]), "holdout": np.array([7]), "test": np.array([8])},
        **{role: None if side is None else whole(side) for role, side in roles.items()},
    )


GOLD = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0]])
"""Rows 0 and 1 of the forget rows are easy."""


def audited(rows, measure="method_distance"):
    rows = np.asarray(rows, dtype=float)
    return Audited({measure: {"forget": Estimate(measure, 0.0, None, 0.0, None, rows, summary(rows))}})


def test_predictions_are_read_from_every_model_s_notes():
    notes = [{"easy_scores": [0.9, 0.1, 0.8], "hard_rows": [1]}, {"easy_scores": [0.2, 0.3, 0.7], "hard_rows": [0, 1]}]
    scores, called = predictions(notes)
    assert scores.tolist() == [[0.9, 0.1, 0.8], [0.2, 0.3, 0.7]]
    assert called.tolist() == [[True, False, True], [False, False, True]]
    assert predictions([]) is predictions([*notes, {"hard_rows": []}]) is None


def test_methods_stand_beside_the_original_and_held_out_gold():
    pool = pool_of(GOLD, heldout=[[1, 1, 0, 1]])
    notes = {"twin": [{"easy_scores": [4.0, 1.0, 2.0, 1.0], "hard_rows": [1, 3]}], "finetune": [{}]}
    found = foretellings(pool, notes, {"twin": None})
    assert found.keys() == {"twin", "original", "gold"}
    assert found["twin"].value == 0.5
    assert found["twin"].extra["auroc"] == pytest.approx(2.5 / 4)
    assert (found["original"].value, found["original"].start) == (0.5, 0.5), "it gets every row right"
    assert found["gold"].value == 0.25
    assert found["gold"].extra["auroc"] == pytest.approx((1 + 1 + 0.5 + 0.5) / 4), "two of the pairs are level"
    assert foretellings(pool, {"finetune": [{}]}, {}) == {}


def test_the_originals_behind_the_models_reach_the_interval():
    gold = np.random.default_rng(0).random((5, 4)) < 0.5
    notes = [{"easy_scores": [m, 1.0, 2.0, 1.0], "hard_rows": [m % 4]} for m in range(4)]
    groups = np.array([0, 0, 1, 2])
    found = foretellings(pool_of(gold), {"twin": notes}, {"twin": groups})["twin"]
    assert found.interval == foretold(*predictions(notes), gold, groups=groups).interval
    assert found.interval != foretold(*predictions(notes), gold).interval


def test_means_over_easy_and_hard_rows_by_hand():
    told = ease(pool_of(GOLD), {"ours": audited([1, 2, 3, 5]), "gold": audited([0, 0, 1, 0])})
    assert (told["golds"], told["rows"]) == (3, {"easy": 2, "hard": 2})
    assert told["values"] == {
        "method_distance": {"ours": {"easy": 1.5, "hard": 4.0}, "gold": {"easy": 0.0, "hard": 0.5}}
    }


def test_rows_without_a_value_do_not_count_and_kinds_without_rows_have_none():
    told = ease(pool_of(GOLD), {"ours": audited([np.nan, 2, np.nan, np.nan], "u_lira")})
    assert told["values"]["u_lira"]["ours"] == {"easy": 2.0, "hard": None}
    told = ease(pool_of(np.ones((3, 4))), {"ours": audited([1, 2, 3, 6])})
    assert told["rows"] == {"easy": 4, "hard": 0}
    assert told["values"]["method_distance"]["ours"] == {"easy": 3.0, "hard": None}
    json.dumps(told, allow_nan=False)


def test_one_gold_model_or_margins_alone_say_nothing():
    assert ease(pool_of(GOLD[:1]), {"ours": audited([1, 2, 3, 5])}) is None
    pool = pool_of(GOLD)
    sides = {"gold": pool.gold, "heldout": None, "original": pool.original}
    thin = Pool(**sides, labels=pool.labels, splits=pool.splits, whole=False)
    assert ease(thin, {"ours": audited([1, 2, 3, 5])}) is None
