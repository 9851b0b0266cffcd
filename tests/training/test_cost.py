"""Cost: visits by role and kind."""

import json
import time

import pytest

from expunge.training import Cost, Meter


def test_visits_add_up_by_role_and_kind():
    meter = Meter()
    meter.backward("retain", 32)
    meter.backward("retain", 8)
    meter.backward("forget", 5)
    meter.forward("retain", 30)
    cost = meter.cost()
    assert (cost.backward, cost.forward) == ({"retain": 40, "forget": 5}, {"retain": 30})


def test_a_forward_visit_is_a_third_of_a_full_one():
    assert Cost({"retain": 30}, {"retain": 40, "forget": 5}, 1.0).visits == pytest.approx(45 + 10)


def test_nothing_done_costs_nothing():
    assert Meter().cost().visits == 0


def test_a_cost_is_a_snapshot():
    meter = Meter()
    meter.backward("retain", 1)
    early = meter.cost()
    meter.backward("retain", 1)
    assert (early.backward, meter.cost().backward) == ({"retain": 1}, {"retain": 2})


def test_seconds_pass():
    meter = Meter()
    time.sleep(0.01)
    first = meter.cost().seconds
    assert 0.01 <= first <= meter.cost().seconds < 5


def test_a_cost_survives_json():
    cost = Cost({"forget": 3}, {"retain": 4}, 0.25)
    assert Cost.from_dict(json.loads(json.dumps(cost.to_dict()))) == cost
