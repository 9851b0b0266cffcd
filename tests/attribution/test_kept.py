"""Scores in the store: as they were made, read in parts, never half, never those of something else."""

import json
from dataclasses import replace

import numpy as np
import pytest

from expunge.attribution.estimator import CHUNK, Source
from expunge.attribution.kept import KIND, SIGNS, Scores, keep_scores, open_scores, request
from expunge.errors import StoreError
from expunge.store import Store, key_of
from expunge.training import fit
from tests.attribution.known import Known, KnownFit, expected_scores
from tests.tiny import edit_facts, tiny_recipe, tiny_rows

ROWS = tiny_rows(2 * CHUNK + 40, seed=1)
TARGETS = tiny_rows(5, seed=2)
RECIPE = tiny_recipe(epochs=1)
SOURCE = Source(recipe=RECIPE, rows=ROWS, model=RECIPE.fresh((6,), seed=0))
EVERY = np.arange(len(ROWS))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def kept(store, source=SOURCE):
    fitted = KnownFit(source)
    return keep_scores(fitted, request(source, Known(), TARGETS), TARGETS, store), fitted


def folder_of(store):
    (place,) = (store.root / KIND).iterdir()
    return place


def test_what_is_read_back_is_what_was_made(store):
    scores, _ = kept(store)
    np.testing.assert_array_equal(scores.at(EVERY), expected_scores(TARGETS, EVERY))
    some = np.array([CHUNK, 3, len(ROWS) - 1, 3])
    np.testing.assert_array_equal(scores.at(some), expected_scores(TARGETS, some))
    parts = list(scores.stream())
    np.testing.assert_array_equal(np.concatenate([at for at, _ in parts]), EVERY)
    assert [len(values) for _, values in parts] == [CHUNK, CHUNK, 40]


def test_only_what_is_asked_is_read(store):
    scores, _ = kept(store)
    for name in ("scores-00000.npy", "scores-00002.npy"):
        (folder_of(store) / name).unlink()
    at = np.arange(CHUNK, CHUNK + 4)
    np.testing.assert_array_equal(scores.at(at), expected_scores(TARGETS, at))
    with pytest.raises(StoreError, match="expected a file scores-00000"):
        scores.at(np.array([0]))


def test_scores_are_made_once(store):
    _, first = kept(store)
    _, second = kept(store)
    assert (first.asked, second.asked) == (len(ROWS), 0)


@pytest.mark.parametrize("part", ["cut", "edited", "gone", "manifest"])
def test_a_damaged_or_half_written_file_is_refused(store, part):
    kept(store)
    chunk = folder_of(store) / "scores-00001.npy"
    whole = chunk.read_bytes()
    if part == "cut":
        chunk.write_bytes(whole[: len(whole) // 2])
    elif part == "edited":
        chunk.write_bytes(whole[:-4] + b"\0\0\0\0")
    elif part == "gone":
        chunk.unlink()
    else:
        (folder_of(store) / "manifest.json").write_text("{")
    with pytest.raises(StoreError):
        list(kept(store)[0].stream())


def test_a_killed_writer_leaves_nothing_and_the_next_one_finishes(store):
    class Killed(KnownFit):
        def scores(self, rows, train):
            if train[0] > 0:
                raise KeyboardInterrupt
            return super().scores(rows, train)

    asked = request(SOURCE, Known(), TARGETS)
    with pytest.raises(KeyboardInterrupt):
        keep_scores(Killed(SOURCE), asked, TARGETS, store)
    assert list((store.root / KIND).iterdir()) == []
    assert not store.has(KIND, key_of(asked))
    np.testing.assert_array_equal(kept(store)[0].at(EVERY), expected_scores(TARGETS, EVERY))


def test_all_that_decides_scores_is_in_their_name(store):
    asked = request(SOURCE, Known(), TARGETS)
    other_model = replace(SOURCE, model=RECIPE.fresh((6,), seed=1))
    other_rows = replace(SOURCE, rows=tiny_rows(len(ROWS), seed=9))
    other_recipe = replace(SOURCE, recipe=tiny_recipe(epochs=2))
    others = [
        request(other_model, Known(), TARGETS),
        request(other_rows, Known(), TARGETS),
        request(other_recipe, Known(), TARGETS),
        request(SOURCE, Known(strength=2.0), TARGETS),
        request(SOURCE, Known(), tiny_rows(5, seed=3)),
        request(SOURCE, Known(), TARGETS, seed=1),
    ]
    keys = {key_of(one) for one in [asked, *others]}
    assert len(keys) == 7
    assert json.loads(json.dumps(asked)) == asked
    kept(store)
    with pytest.raises(StoreError, match="expected a folder"):
        open_scores(others[0], store)


def test_scores_of_another_model_under_this_name_are_refused(store):
    kept(store)
    asked = request(SOURCE, Known(), TARGETS)
    edit_facts(folder_of(store), request={**asked, "weights": "0" * 64})
    with pytest.raises(StoreError, match="holds scores of another model than its name says") as found:
        kept(store)
    assert "delete it" in found.value.hint
    edit_facts(folder_of(store), request={**asked, "rows": "0" * 64})
    with pytest.raises(StoreError, match="another training rows"):
        kept(store)


def test_another_number_of_targets_is_refused(store):
    scores, _ = kept(store)
    with pytest.raises(StoreError, match=r"expected scores \[256, 6\], got \[256, 5\]"):
        Scores(scores.folder, scores.rows, 6).at(np.array([0]))


@pytest.mark.parametrize("count", [1, 7, 10_000])
def test_both_ends_against_a_plain_sort(store, count):
    scores, _ = kept(store)
    found, every = scores.extremes(count), expected_scores(TARGETS, EVERY)
    for way, sign in SIGNS.items():
        for ranked, values in ((found.each[way], every), (found.together[way], every.mean(axis=1, keepdims=True))):
            order = np.argsort(-sign * values, axis=0, kind="stable")[:count]
            np.testing.assert_array_equal(ranked.scores, np.take_along_axis(values, order, axis=0))
            np.testing.assert_array_equal(ranked.at, order)


def test_of_equal_scores_the_first_row_leads(store):
    class Level(KnownFit):
        def scores(self, rows, train):
            return np.zeros((len(train), len(rows)), dtype=np.float32)

    scores = keep_scores(Level(SOURCE), request(SOURCE, Known(), TARGETS), TARGETS, store)
    assert scores.extremes(4).each["raises"].at[:, 0].tolist() == [0, 1, 2, 3]


def test_progress_counts_training_rows(store):
    seen = []
    asked = request(SOURCE, Known(), TARGETS)
    keep_scores(KnownFit(SOURCE), asked, TARGETS, store, progress=lambda *one: seen.append(one))
    assert [done for _, done, _ in seen] == [CHUNK, 2 * CHUNK, len(ROWS)]
    assert {(what, total) for what, _, total in seen} == {("score training rows", len(ROWS))}


def test_a_real_fit_of_another_model_is_another_request():
    trained = fit(RECIPE, ROWS, EVERY, seed=1).model
    ours, theirs = (request(replace(SOURCE, model=one), Known(), TARGETS) for one in (SOURCE.model, trained))
    assert ours["weights"] != theirs["weights"]
    assert {name for name in ours if ours[name] != theirs[name]} == {"weights"}
