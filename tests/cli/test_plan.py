"""Plans: several fleets add up, each keeps its own line, and what the audit will see stands below."""

import json

import pytest

from expunge.audit.foresight import foresee_method, foresee_model
from expunge.audit.policy import policy
from expunge.cli.plan import describe_fleet, describe_plan
from expunge.fleet import role_seeds, same_rows, train_fleet
from expunge.store import Store
from tests.tiny import tiny_problem

KEYS = ("models", "in_store", "to_train", "visits", "disk_megabytes", "minutes_on_one_process")


@pytest.fixture(scope="module")
def fleets(tmp_path_factory):
    """Plans of 6 gold models, of which 2 are in the store, and of 4 models on all rows."""
    problem, store = tiny_problem(seed=0), Store(tmp_path_factory.mktemp("store"))
    watch = (problem.rows, problem.holdout, problem.test)
    seeds = role_seeds(0, "gold", 6)
    retain = same_rows(problem.rows, problem.retain, 6)
    train_fleet(problem.recipe, problem.rows, retain[:2], seeds[:2], watch=watch, store=store)
    everything = same_rows(problem.rows, range(len(problem.rows)), 4)
    return {
        "gold": describe_fleet(problem.recipe, problem.rows, retain, seeds, watch, store),
        "shadows": describe_fleet(
            problem.recipe, problem.rows, everything, role_seeds(0, "shadow", 4), watch, store, weights=True
        ),
    }


def test_a_fleet_counts_what_is_missing(fleets):
    found = fleets["gold"]
    assert [found[key] for key in KEYS[:4]] == [6, 2, 4, 4 * 8 * 108]  # 8 epochs of 120 rows without 12
    assert found["disk_megabytes"] == pytest.approx(4 * 240 * 3 * 4 / 1e6)
    assert found["minutes_on_one_process"] > 0
    assert found["sentence"].startswith("6 models: 2 in the store, 4 to train, 3,456 row visits, about 0.0 minutes on")
    assert found["sentence"].endswith("one process, at least 0 MB of outputs")


def test_parts_add_up_and_keep_their_lines(fleets):
    found = describe_plan(fleets, None)
    for key in KEYS:
        assert found[key] == pytest.approx(fleets["gold"][key] + fleets["shadows"][key])
    assert found["parts"] == fleets
    assert found["foresight"] is None
    assert found["sentence"].splitlines() == [
        f"gold: {fleets['gold']['sentence']}",
        f"shadows: {fleets['shadows']['sentence']}",
        "total: 10 models: 2 in the store, 8 to train, 7,296 row visits, about "
        f"{found['minutes_on_one_process']:.1f} minutes on one process, at least 0 MB of outputs",
    ]


def test_one_part_needs_no_total(fleets):
    found = describe_plan({"gold": fleets["gold"]}, None)
    assert found["sentence"] == f"gold: {fleets['gold']['sentence']}"
    assert {key: found[key] for key in KEYS} == {key: fleets["gold"][key] for key in KEYS}


def test_an_unknown_speed_leaves_the_total_without_minutes(fleets):
    slow = fleets["shadows"] | {"minutes_on_one_process": None}
    found = describe_plan({"gold": fleets["gold"], "shadows": slow}, None)
    assert found["minutes_on_one_process"] is None
    assert "to train, 7,296 row visits, at least 0 MB" in found["sentence"].splitlines()[-1]


@pytest.mark.parametrize(
    "foresight",
    [
        foresee_model(policy("strict"), gold=6, forget=12, test=60),
        foresee_method(policy("standard"), unlearned=4, gold=6, forget=12),
    ],
    ids=["model", "method"],
)
def test_what_will_be_seen_stands_below(fleets, foresight):
    found = describe_plan(fleets, foresight)
    lines = found["sentence"].splitlines()
    assert tuple(lines[3:]) == foresight.text
    assert "inconclusive" in lines[3]
    assert json.loads(json.dumps(found, allow_nan=False))["foresight"] == foresight.to_json()
