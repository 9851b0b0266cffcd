"""Stripped results: nothing about a single row is left, the rest is as it was, and the page still renders."""

import copy
import hashlib
import json

import numpy as np
import pytest

from expunge.bench.audit import Result
from expunge.bench.stored import audit_stored
from expunge.bench.strip import stripped
from expunge.report import render
from tests.bench.test_stored import ROWS, SPLIT, models, shadows, stored

IDS = np.array([f"person-{hashlib.sha256(bytes([at])).hexdigest()[:8]}" for at in range(ROWS)])
ANY = "person-"
UNEVEN = np.where(np.isin(np.arange(ROWS), [84, 85]), "retain", SPLIT)
PER_ROW = {"per_row", "epsilon"}


@pytest.fixture(scope="module")
def of_model():
    """24 forget, 62 retain, 58 test rows, 22 gold models: no list of another kind is as long as a split's rows."""
    return audit_stored(stored(gold=models(22, 0), ids=IDS, split=UNEVEN, **shadows())).data


@pytest.fixture(scope="module")
def of_method():
    more = {"gold": models(22, 0), "heldout": models(17, 7), "ids": IDS, "split": UNEVEN}
    return audit_stored(stored(17, **more, **shadows())).data


def with_forget(count):
    """A model audit with that many forget rows; those left over stay in retain."""
    split = np.where((SPLIT == "forget") & (np.arange(ROWS) >= count), "retain", SPLIT)
    return audit_stored(stored(ids=IDS, split=split, **shadows())).data


def lists(tree, path=""):
    """Every list in a result with its place."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from lists(value, f"{path}/{key}")
    elif isinstance(tree, list):
        yield path, tree
        for value in tree:
            yield from lists(value, path)


def numbers(tree):
    """Every number with a fractional part in a result."""
    if isinstance(tree, dict):
        return set().union(*(numbers(value) for value in tree.values())) if tree else set()
    if isinstance(tree, list):
        return set().union(*(numbers(value) for value in tree)) if tree else set()
    return {tree} if isinstance(tree, float) and tree % 0.25 else set()


@pytest.mark.parametrize("kind", ["of_model", "of_method"])
def test_no_id_no_label_and_no_number_of_a_single_row_is_left(kind, request):
    result = request.getfixturevalue(kind)
    counts = {result["problem"]["rows"][split] for split in ("forget", "retain", "test")}
    assert len([row_id for row_id in IDS if row_id in json.dumps(result)]) == 144, "all but holdout rows were there"
    assert len([path for path, values in lists(result) if len(values) in counts]) >= 12
    found = stripped(result)
    text = json.dumps(found)
    assert ANY not in text
    assert '"ids"' not in text
    assert '"labels"' not in text
    assert not [path for path, values in lists(found) if len(values) in counts]
    single = [result["per_row"][split]["values"] for split in ("forget", "retain", "test")]
    single += [(result["epsilon"] or {}).get("values", {})]
    alone = numbers(single) - {(result["epsilon"] or {}).get("ceiling")}
    assert len(alone) > 200
    assert not alone & numbers(found)


@pytest.mark.parametrize("kind", ["of_model", "of_method"])
def test_everything_else_stays(kind, request):
    result = request.getfixturevalue(kind)
    before = copy.deepcopy(result)
    found = stripped(result)
    assert json.dumps(result) == json.dumps(before), "what was given stays as it is"
    assert found.pop("stripped") is True
    assert "stripped" not in result
    gone = PER_ROW | ({"densities"} if kind == "of_model" else set())  # a bin of one model may hold a single row
    lead = found.pop("per_row")
    assert lead == {key: result["per_row"][key] for key in ("measure", "unit")}
    kept = {key: value for key, value in result.items() if key not in gone}
    kept["strata"] = {**kept["strata"], "scores": None}
    kept["ease"] = kept["ease"] if min(kept["ease"]["rows"].values()) >= 5 else None
    assert found == json.loads(json.dumps(kept))
    assert found["verdict"] == result["verdict"]
    assert found["strata"] is not None


@pytest.mark.parametrize(("hard", "kept"), [(0, False), (4, False), (5, True), (19, True), (20, False)])
def test_easy_and_hard_rows_stand_apart_from_five_on(of_model, hard, kept):
    rows = {"easy": 24 - hard, "hard": hard}
    told = of_model | {"ease": of_model["ease"] | {"rows": rows}}
    assert stripped(told)["ease"] == (told["ease"] if kept else None)


@pytest.mark.parametrize("kind", ["of_model", "of_method"])
def test_the_page_renders_without_a_row(kind, request):
    result = request.getfixturevalue(kind)
    page = render(stripped(result))
    assert "audit of stored outputs" in page
    assert ANY not in page
    assert ANY in render(result)


def test_a_result_strips_itself(of_model):
    result = Result(of_model)
    assert result.strip_rows().data == stripped(of_model)
    assert result.strip_rows().verdict == result.verdict
    assert "per_row" in result.data


def test_twice_is_once(of_model):
    named = of_model | {"problem": of_model["problem"] | {"forget": "subject:anna"}}
    assert stripped(stripped(named)) == stripped(named)


@pytest.mark.parametrize("text", ["ids:people/of-may.txt", "indices:rows.npy", "subject:anna@example.org"])
def test_a_forget_set_that_says_who_is_not_shown(of_model, text):
    named = of_model | {"problem": of_model["problem"] | {"forget": text}}
    found = stripped(named)
    kind, _, who = text.partition(":")
    assert found["problem"]["forget"] == f"{kind}, not shown"  # an id can be found by hashing all there are
    assert who not in json.dumps(found)
    assert who not in render(found)
    assert {**found["problem"], "forget": text} == named["problem"], "the rest of the problem stays"
    assert named["problem"]["forget"] == text


@pytest.mark.parametrize("text", ["random:50", "class:8:80", "class:3", "24 given rows"])
def test_a_forget_set_that_names_nobody_stays(of_model, text):
    named = of_model | {"problem": of_model["problem"] | {"forget": text}}
    assert stripped(named)["problem"]["forget"] == text


@pytest.mark.parametrize(("text", "kept"), [("random:50", None), ("class:8:80", None), ("24 given rows", 7)])
def test_a_seed_that_would_draw_the_same_rows_again_is_not_shown(of_model, text, kept):
    named = of_model | {"problem": of_model["problem"] | {"forget": text, "forget_seed": 7}}
    assert stripped(named)["problem"]["forget_seed"] == kept
    assert named["problem"]["forget_seed"] == 7


@pytest.mark.parametrize(
    ("forget", "figures", "strata"),
    [(1, False, False), (4, False, False), (5, True, False), (14, True, False), (15, True, True)],
)
def test_few_rows_lose_what_would_show_single_ones(forget, figures, strata):
    """Densities and ROC take 5 forget rows, strata 5 in each of the three."""
    result = with_forget(forget)
    assert result["problem"]["rows"]["forget"] == forget
    found = stripped(result)
    assert ("roc" in found) == figures
    assert "densities" not in found  # of one model: a bin may hold a single row
    assert (found["strata"] is not None) == strata
    assert (result["strata"] is not None) == (forget >= 3)
    assert {"densities", "roc"} <= result.keys()
    assert "audit of stored outputs" in render(found)


@pytest.mark.parametrize(("forget", "told"), [(4, False), (5, True)])
def test_few_forget_rows_have_no_numbers_of_their_own(forget, told):
    result = with_forget(forget)
    found = stripped(result)
    assert [entry["name"] for entry in found["entries"]] == ["original", "unlearned", "gold"]
    for entry, before in zip(found["entries"], result["entries"], strict=True):
        assert ("forget" in entry["accuracy"]) == told
        assert entry["accuracy"].keys() >= {"retain", "test"}
        for name, splits in before["measures"].items():
            kept = {split: one for split, one in splits.items() if told or split != "forget"}
            assert entry["measures"][name] == kept
        assert "forget" in before["accuracy"], "what was given stays as it is"
    assert found["verdict"] == result["verdict"]


def test_a_result_without_these_parts_is_stripped_too():
    assert stripped({"schema": 1}) == {"schema": 1, "stripped": True}
    assert stripped({"problem": None, "strata": None}) == {"problem": None, "strata": None, "stripped": True}
