"""The list of measures: complete, documented, and nothing beyond numpy and scipy behind it."""

import ast
import inspect
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from expunge.audit import MEASURES, half_masks, memorisation
from expunge.audit.floors import METHOD_FLOORS
from expunge.audit.gaussian_kl import gaussian_kl_rows
from expunge.audit.jackknife import FEWEST
from expunge.audit.klom import klom_rows
from expunge.audit.pairs import PARTNERS
from expunge.audit.per_model import rank_p
from expunge.audit.registry import MODES

LAZY = {"efficacy": {"sklearn.svm"}}
"""The SVC attack is kept for parity with published numbers; scikit-learn loads when it is asked for, never before."""


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_has_a_page(name):
    measure = MEASURES[name]
    assert measure.function.__name__ == name
    assert measure.least.get("gold", 2) >= 2  # planted-data tests need no gold
    assert measure.summary.endswith(".")
    for heading in ("Source:", "Args:", "Returns:", "Raises:", "Example:"):
        assert heading in measure.page


@pytest.mark.parametrize("name", MEASURES)
def test_advised_models_are_legal_and_complete(name):
    measure = MEASURES[name]
    assert measure.mode in MODES
    assert measure.advised.keys() <= measure.least.keys()
    assert all(measure.least[role] <= count for role, count in measure.advised.items())
    needed = {
        role
        for role, argument in inspect.signature(measure.function).parameters.items()
        if role in measure.least and argument.default is argument.empty and "None" not in argument.annotation
    }
    assert needed <= measure.advised.keys()
    if measure.mode == "method":
        assert measure.advised["unlearned"] == measure.advised["gold"] > 1
    else:
        assert measure.advised.get("unlearned", 1) == 1


@pytest.mark.parametrize("name", MEASURES)
def test_advised_models_have_power(name):
    powered = vars(sys.modules[MEASURES[name].function.__module__]).get("POWERED", 1)
    assert min(MEASURES[name].advised.values()) >= powered
    assert METHOD_FLOORS.get(name, powered) == powered


def test_advised_models_are_those_that_the_pages_name():
    said = {}
    for name, measure in MEASURES.items():
        for role, text in re.findall(r"^ {4}(\w+): (.*?)(?=^ {4}\w|^$)", measure.page, re.M | re.S):
            if role in measure.advised and (number := re.search(r"(\d+) (?:models )?advised", text)):
                said[name, role] = int(number.group(1))
    assert {"klom", "gaussian_kl", "epsilon", "rank_tests", "model_audit"} <= {name for name, _ in said}
    assert said == {(name, role): MEASURES[name].advised[role] for name, role in said}


@pytest.mark.parametrize("name", MEASURES)
def test_the_cost_is_that_of_the_advised_models(name):
    measure = MEASURES[name]
    planted = measure.mode == "planted"
    trained = sum(measure.advised.get(role, 0) for role in ("gold", "shadows", "references", "fleet")) + planted
    runs = measure.advised["unlearned"] if measure.mode in {"method", "planted"} else 0
    assert measure.cost.partition(",")[0] == f"{trained} c" + (f" + {runs} u" if runs else "")


def test_advised_gold_is_where_the_reasons_put_it():
    for name, fewest in (("accuracy_gap", FEWEST), ("efficacy", FEWEST), ("jensen_shannon", PARTNERS)):
        assert MEASURES[name].advised["gold"] == fewest
    for name in ("population_attack", "rmia"):
        gold = np.zeros(MEASURES[name].advised["gold"])
        assert rank_p(1.0, gold) <= 0.05 < rank_p(1.0, gold[1:])
    bands = [t.ppf(0.95, gold - 1) * math.sqrt(1 + 1 / gold) for gold in (MEASURES["utility"].advised["gold"], 10**6)]
    assert bands[0] / bands[1] == pytest.approx(1.1, abs=0.04)


@pytest.mark.parametrize(("name", "rows"), [("klom", klom_rows), ("gaussian_kl", gaussian_kl_rows)])
def test_nulls_of_the_list_are_those_of_normal_margins(name, rows):
    """P95 over 40,000 rows: its standard error is about 1%."""
    listed = re.findall(r"([\d.]+) at (\d+) \+ (\d+)", MEASURES[name].null)
    assert len(listed) == 2
    for value, ours, golds in listed:
        random = np.random.default_rng(int(ours))
        sides = (random.normal(size=(int(models), 40_000)).astype(np.float32) for models in (ours, golds))
        assert np.percentile(rows(*sides), 95) == pytest.approx(float(value), rel=0.04)


def test_the_null_of_memorisation_is_that_of_a_half_sampled_fleet():
    models = MEASURES["memorisation"].advised["fleet"]
    correct = np.random.default_rng(0).random((models, 5000)) < 0.5
    found = memorisation(correct, half_masks(models, 5000, seed=0))
    assert MEASURES["memorisation"].null == f"0, s.e. {found.errors.max():.2f} at {models}"
    assert found.scores.mean() == pytest.approx(0, abs=0.01)
    assert found.scores.std() == pytest.approx(0.12, abs=0.01)


@pytest.mark.parametrize("file", sorted(Path("src/expunge/audit").glob("*.py")), ids=lambda file: file.stem)
def test_measures_see_arrays_only(file):
    tree = ast.walk(ast.parse(file.read_text()))
    origins = {node.module for node in tree if isinstance(node, ast.ImportFrom)}
    ours = {origin for origin in origins if origin.startswith("expunge")}
    assert all(origin.startswith(("expunge.audit", "expunge.errors")) for origin in ours)
    allowed = LAZY.get(file.stem, set())
    assert not any(origin.startswith(("torch", "sklearn")) for origin in origins - allowed)
    top = {node.module for node in ast.parse(file.read_text()).body if isinstance(node, ast.ImportFrom)}
    assert not top & allowed  # inside a function only


def test_float32_inputs_stay_unchanged():
    random = np.random.default_rng(0)
    unlearned, gold = (random.normal(size=(6, 10)).astype(np.float32) for _ in range(2))
    copies = unlearned.copy(), gold.copy()
    for name in ("klom", "gaussian_kl"):
        assert MEASURES[name].function(unlearned, gold, gold, seed=0).start is not None
    assert np.array_equal(unlearned, copies[0])
    assert np.array_equal(gold, copies[1])
