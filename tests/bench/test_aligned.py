"""The suites of twin unlearning: they plan, and the code path of the large ones runs at a reduced size."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expunge.bench.bench import run_suite
from expunge.bench.suite import load_suite, suites
from expunge.data import ForgetSet
from expunge.methods import Twin
from expunge.store import Store
from expunge.training.recipes import recipe

ALIGNED = sorted(name for name in suites() if name.startswith("aligned"))
CONTROLS = {"all_easy", "quota", "quota_random"}
SMALL = {"resnet18": {"channels": 4}, "allcnn": {"channels": 4}, "vit": {"size": 16, "depth": 1, "heads": 2}}


def reduced(name):
    """The suite on ten rows of a class of few rows, with few models."""
    suite = load_suite(name)
    few = {"originals": 2, "gold": 4, "forget": (ForgetSet("class:3:10"),)}
    return replace(suite, data=suite.on_data(recipe(suite.recipe)).data.partition("@")[0] + "@500", **few)


def run(name, store, kept=()):
    """The one result of the reduced suite, or of the entries kept; its network is narrow and trained for one epoch."""
    suite = reduced(name)
    suite = replace(suite, entries=tuple(one for one in suite.entries if one.label in kept or not kept))
    full = recipe(suite.recipe)
    small = replace(full, epochs=1, arguments=SMALL.get(full.model, full.arguments))
    (result,) = run_suite(suite, small, store=Store(store), command=f"expunge bench {name}")
    return result


@pytest.mark.parametrize("name", [name for name in ALIGNED if "choice" not in name and "ablation" not in name])
def test_the_controls_stand_beside_the_method_at_the_same_rate(name):
    """A control differs from the method in who is called hard alone."""
    twins = [entry.method for entry in load_suite(name).entries if isinstance(entry.method, Twin)]
    methods = [twin for twin in twins if twin.predictor == "mlp" and twin.loss == "random_label"]
    controls = {twin.predictor: twin for twin in twins if twin.predictor != "mlp"}
    assert controls.keys() - {"gold", "quota_margin"} == CONTROLS  # the bound of the idea, and a variant of ours
    assert {twin.calibrate for twin in methods} == {"none", "match_rate"}
    for step in ("epochs", "lr", "optimizer", "momentum", "weight_decay", "batch_size", "loss"):
        assert len({getattr(twin, step) for twin in (*methods, *controls.values())}) == 1, step


def test_rates_are_chosen_on_other_draws_seeds_and_classes_than_they_are_judged_on():
    chosen, judged = load_suite("aligned-choice"), load_suite("aligned")
    assert chosen.seed != judged.seed
    assert not {one.seed for one in chosen.forget} & {one.seed for one in judged.forget}
    candidates = {(entry.method.name(), entry.method.settings()["lr"]) for entry in chosen.entries}
    settings = [(entry.method.name(), entry.method.settings().get("lr")) for entry in judged.entries]
    assert {one for one in settings if one[0] != "retrain"} <= candidates


def test_every_feature_stands_alone_in_pairs_and_with_all():
    uses = [set(entry.method.use) for entry in load_suite("aligned-ablation").entries]
    assert {len([one for one in uses if len(one) == size]) for size in (1, 2)} == {3}
    assert {"nearest", "attack", "curriculum"} in uses


def test_the_digits_suite_says_what_was_foretold(tmp_path):
    kept = ("finetune", "twin", "control: all easy")
    result = run("aligned-digits", tmp_path, kept)
    found = {entry["name"]: entry["measures"].get("foretold") for entry in result["entries"]}
    assert {name for name, one in found.items() if one} == {"original", "gold", "twin", "control: all easy"}
    easy = found["control: all easy"]["forget"]
    assert easy["value"] == easy["start"]
    assert easy["extra"]["gain"] == 0
    assert sum(result["ease"]["rows"].values()) == 10
    assert {"method_distance", "disagreement"} <= result["ease"]["values"].keys()
    assert np.isfinite(found["twin"]["forget"]["value"])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALIGNED if "cifar10" in name])
def test_the_cifar_suites_run_at_a_reduced_size(name, tmp_path):
    if not Path(os.environ.get("EXPUNGE_DATA", "/nowhere"), "cifar10-jpeg").is_dir():
        pytest.skip("EXPUNGE_DATA has no cifar10-jpeg")
    result = run(name, tmp_path)
    assert result["problem"]["data"] == "cifar10-jpeg@500"
    assert [entry["name"] for entry in result["entries"]][1:-1] == [entry.label for entry in load_suite(name).entries]
    assert all(np.isfinite(entry["accuracy"]["forget"]["mean"]) for entry in result["entries"])
