"""What the benchmarks compare with, at sizes where nothing is timed; and the one slow test that is."""

import json
import math
import os
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import attacks, challenge, datamodels, klom, lds, one_run, plain, precision, processes, recipes, stacked
from benchmarks import gradients as row_gradients
from benchmarks import group as groups
from benchmarks import in_run as in_run_benchmark
from benchmarks import projection as projecting
from benchmarks import rows as in_memory
from benchmarks.clock import paired, threads
from benchmarks.figure import HEADINGS, Figure, Options, number, table
from benchmarks.memory import AVAILABLE, family, parents, resident
from expunge.attribution.datamodel import Dual
from expunge.attribution.ridge import Ridge
from expunge.audit.challenge import challenge_rows
from expunge.audit.klom import klom_rows
from expunge.audit.lira import lira_scores
from expunge.audit.rmia_scores import beaten, rmia_scores
from expunge.data import load
from expunge.fleet import Here
from expunge.fleet.task import KIND
from expunge.store import Store
from expunge.tasks import Classification
from expunge.training import fit, predict
from expunge.training.recipes import MEASURED, RECIPES
from expunge.training.stream import epochs
from tests.tiny import same_weights, tiny_recipe, tiny_rows

TINY = tiny_recipe(epochs=2, batch_size=16)
SIZES = {
    challenge: {"ROWS": 4, "MODELS": 16, "CHECKED": len(challenge.KINDS), "FEW": 8},
    attacks: {"SHADOWS": 15, "ROWS": 60, "REFERENCES": 4, "ATTACKED": 200, "POPULATION": 40, "CHECKED": 20},
    klom: {"ROWS": 40, "MODELS": 10, "LARGE": 50, "CHECKED": 20},
    one_run: {},
    datamodels: {"MODELS": 60, "ROWS": 90, "TARGETS": 40, "FORGET": np.arange(5)},
}


def test_a_goal_holds_from_its_bound_on():
    assert Figure(what="a", measured=5.0, least=5).holds
    assert not Figure(what="a", measured=4.99, least=5).holds
    assert Figure(what="a", measured=1.0, most=1).holds
    assert not Figure(what="a", measured=1.01, most=1).holds


def test_without_goal_or_number_nothing_holds_or_fails():
    assert Figure(what="a", measured=5.0).holds is None
    assert Figure(what="a", measured=None, least=5).holds is None


def test_table_says_goal_measurement_and_outcome():
    figures = [
        Figure(what="speed", measured=4.0, unit="times", least=5),
        Figure(what="a long name", measured=0.5, unit="s", most=1),
        Figure(what="other", measured=None, text="skipped: no data"),
    ]
    lines = [re.split(r" {2,}", line) for line in table(figures).splitlines()]
    assert lines == [
        list(HEADINGS),
        ["speed", ">= 5 times", "4 times", "NO"],
        ["a long name", "<= 1 s", "0.5 s", "yes"],
        ["other", "-", "skipped: no data", "-"],
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(1e-4, "0.0001"), (3.14159, "3.14"), (99.96, "100"), (180063.2, "180,063")]
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_ratio_is_the_median_of_the_pairs():
    pair = paired([(1.0, 3.0), (2.0, 4.0), (10.0, 100.0)])
    assert (pair.ours, pair.theirs, pair.ratio) == (2.0, 4.0, 3.0)


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_family_is_the_process_and_all_below_it():
    assert family(2, {1: 0, 2: 1, 3: 2, 4: 3, 5: 1, 6: 5}) == {2, 3, 4}


@pytest.mark.skipif(not AVAILABLE, reason="reads /proc: Linux only")
def test_memory_of_this_process_is_found():
    assert parents()[os.getpid()] == os.getppid()
    assert resident(os.getpid()) > 10 * 2**20
    assert resident(2**22 + 1) == 0, "no such process"


def test_plain_loop_trains_the_same_model_as_fit():
    rows = tiny_rows(40, seed=0)
    planned = epochs("train", rows, np.arange(40), seed=5, count=2, batch_size=16)
    batches = [(step[0].x, step[0].y) for step in planned.load("cpu")]
    model = plain.train(TINY, (6,), [batches[:3], batches[3:]], steps=6, seed=5)
    ours = fit(TINY, rows, np.arange(40), seed=5).model
    assert same_weights(model, ours)
    assert not same_weights(model, TINY.fresh((6,), 5)), "it was trained"


def test_loader_gives_every_row_once():
    rows = tiny_rows(40, seed=0)
    seen = [row.tolist() for x, _ in plain.loader(rows, 16, workers=0) for row in x]
    assert sorted(seen) == sorted(rows.x.tolist())
    assert seen != rows.x.tolist(), "shuffled"


def test_loader_training_does_as_many_visits(monkeypatch):
    seen = []

    def counted(recipe, shape, epochs, *, steps, seed):
        seen.append((steps, sum(len(y) for batches in epochs for _, y in batches)))

    monkeypatch.setattr(in_memory, "train", counted)
    in_memory.with_loader(TINY, tiny_rows(40, seed=0), workers=0)
    assert seen == [(6, fit(TINY, tiny_rows(40, seed=0), np.arange(40), seed=0).cost.backward["train"])]


def test_slow_klom_equals_the_fast_one():
    unlearned, gold = klom.margins(30, 20, seed=0), klom.margins(30, 20, seed=1)
    unlearned[:, 3] = gold[:, 3] = 2.0  # no model differs on this row
    unlearned[:, 4] += 500  # clipped
    slow = klom.loop(unlearned, gold)
    assert slow == pytest.approx(klom_rows(unlearned, gold), abs=1e-9)
    assert slow[3] == 0
    assert slow[4] > 5


@pytest.mark.parametrize(
    ("unlearned", "gold", "epsilon"),
    [
        ([0, 1], [5, 6], 50),  # one threshold tells them apart
        ([0, 1e-3], [0, 1], 50),  # peaky
        ([2, 2, 2], [2, 2], 0),  # every threshold has one kind of mistake alone
        ([0, 10, 10, 10], [-1, -1, -1, 1], math.log((0.75 - 1e-5) / 0.25)),  # single family: margin >= 1
        ([0, 0, 0, 4], [-10, -10, 10, 2], math.log((0.75 - 1e-5) / 0.25)),  # double family alone: -3 <= margin <= 3
    ],
)
def test_every_threshold_by_hand(unlearned, gold, epsilon):
    assert challenge.one_row(np.array(unlearned, float), np.array(gold, float)) == pytest.approx(epsilon, abs=1e-12)


def test_every_threshold_equals_the_measure_on_every_kind_of_row():
    unlearned, gold = challenge.cases(3 * len(challenge.KINDS), 12, seed=1)
    found = challenge.every_threshold(unlearned[:10], gold)
    assert found == pytest.approx(challenge_rows(unlearned[:10], gold), abs=1e-9)
    slow = dict(zip(challenge.KINDS, found, strict=False))
    assert slow["peaky"] == slow["disjoint"] == slow["constant"] == 50
    assert slow["constant and equal"] == 0
    assert all(0 < slow[kind] < 50 for kind in ("shifted", "unequal spread", "tied", "equal ranges"))


def test_kinds_of_rows_are_what_they_say():
    sides = dict(zip(challenge.KINDS, np.stack(challenge.cases(len(challenge.KINDS), 40, seed=0)).T, strict=True))
    spans = {kind: np.ptp(both, axis=0) for kind, both in sides.items()}
    assert spans["peaky"].min() < 0.01 * spans["peaky"].max()
    assert spans["equal ranges"].tolist() == [4, 4]
    assert len(np.unique(sides["tied"])) < 10
    assert spans["constant"].tolist() == [0, 0]


@pytest.mark.skipif(not AVAILABLE, reason="reads /proc: Linux only")
def test_a_process_alone_is_smaller_than_this_one():
    few = challenge.cases(3, 16, seed=0)
    assert 10 < challenge.memory(*few).measured < resident(os.getpid()) / 1e6, "torch is not loaded"
    with pytest.raises(RuntimeError, match="zero-size array"):
        challenge.memory(np.zeros((2, 1)), np.zeros(0))


def test_slow_lira_by_hand():
    shadows = np.array([[1.0, 0], [3, 4], [-1, -2], [1, 2]])
    told = {"membership": np.array([[True] * 2] * 2 + [[False] * 2] * 2), "at": np.arange(2)}
    target = np.array([2.0, 2.0])  # IN: medians 2, 2, sd 1, 2; OUT: medians 0, 0, sd 1, 2
    assert attacks.with_scipy(target, shadows, variance="per_row", **told) == pytest.approx([2, 0.5])
    assert attacks.with_scipy(target, shadows, variance="pooled_centered", **told) == pytest.approx([0.8, 0.8])


def test_slow_rmia_by_hand():
    references = np.array([[0.2, 0.5], [0.4, 0.7], [0.9, 0.9]])
    saw = np.array([[False, True], [False, False], [True, True]])
    assert attacks.mean_out(references, saw) == pytest.approx([0.3, 0.7])
    ratio, population = np.array([2.0, 0, 5, 2, 1, 0, 2]), np.arange(7) >= 3
    scores, ties = attacks.all_pairs(ratio, population, np.array([0, 1]))
    assert scores.tolist() == [0.5, 0], "beats 1 and 0; 0 against 0 is no victory"
    assert ties == 2
    assert beaten(ratio[:2], ratio[3:]).tolist() == scores.tolist()


def test_memory_that_is_given_back_counts():
    assert 8e6 <= attacks.allocated(lambda: np.zeros(10**6).sum()) < 9e6


@pytest.fixture
def small(monkeypatch):
    for file, sizes in SIZES.items():
        for name, value in sizes.items():
            monkeypatch.setattr(file, name, value)


@pytest.mark.parametrize(
    ("file", "goals"),
    [
        (challenge, ["<= 0.05 s", "<= 300 MB", "<= 1e-06", ">= 0.17, <= 0.21", "-"]),
        (attacks, ["<= 0.5 s", "<= 1e-10", "<= 0.5 s", "<= 1e-10", "<= 2 s", "<= 200 MB", "<= 0"]),
        (klom, ["<= 1 s", "-", "<= 1e-09", "<= 2 s"]),
        (one_run, ["-", "<= 0.0001", "<= 0.0001"]),
        (datamodels, ["<= 10 s", "<= 1e-08", "-", ">= 0.9, <= 1.1"]),
    ],
)
def test_measures_have_goals_that_small_sizes_reach(file, goals, small):
    figures = list(file.measure(Options(times=1)))
    assert [figure.goal for figure in figures] == goals
    reached = [figure for figure in figures if not figure.what.startswith("  F of gold")]  # takes many models
    assert [figure.what for figure in reached if figure.holds is False] == []
    assert file.measure in command.BENCHMARKS.values()


@pytest.mark.parametrize(
    ("file", "name", "wrong", "missed"),
    [
        (challenge, "challenge_rows", lambda unlearned, gold: challenge_rows(unlearned, gold) + 1e-5, 1),
        (attacks, "lira_scores", partial(lira_scores, center="mean"), 2),
        (attacks, "rmia_scores", partial(rmia_scores, gamma=1 - 1e-9), 1),  # ties count
        (one_run, "CHECKS", (((1000, 1000, 621), 0.3803),), 1),
        (datamodels, "Dual", partial(Dual, common=False), 1),
    ],
)
def test_a_wrong_measure_misses_its_goal(file, name, wrong, missed, small, monkeypatch):
    monkeypatch.setattr(file, name, wrong)
    figures = [figure for figure in file.measure(Options(times=1)) if "difference" in figure.what]
    assert sum(figure.holds is False for figure in figures) == missed


def test_ledgers_are_compared_with_gradients_of_single_rows(monkeypatch):
    recipe, rows, probes = replace(TINY, momentum=0.0), tiny_rows(40, seed=0), tiny_rows(4, seed=1)
    assert [figure.holds for figure in in_run_benchmark.checked(recipe, rows, probes)] == [True, True]
    wrong = in_run_benchmark.in_run(recipe, rows, probes, seed=1)
    monkeypatch.setattr(in_run_benchmark, "in_run", lambda *given, **settings: wrong)
    assert [figure.holds for figure in in_run_benchmark.checked(recipe, rows, probes)] == [False, False]


def test_overhead_is_what_the_ledger_adds(monkeypatch):
    seconds = iter([4.0, 5.0, 2.0, 2.2])
    monkeypatch.setattr(in_run_benchmark, "spent", lambda work: next(seconds))
    figure = in_run_benchmark.overhead(TINY, tiny_rows(40, seed=0), tiny_rows(4, seed=1), 1, 15.0, 2)
    assert figure.measured == pytest.approx(17.5)
    assert figure.goal == "<= 15 %"
    assert "4 probes" in figure.what


def test_lds_stands_beside_its_ceiling_and_cost(monkeypatch, tmp_path):
    small = {"SUBSETS": 10, "SEEDS": 2, "CHECKPOINTS": 3, "load": lambda spec: load("digits@60")}
    for name, value in small.items():
        monkeypatch.setattr(lds, name, value)
    recipe = replace(TINY, model="linear", arguments={}, task=Classification(10))
    case = lds.Case(recipe, rows=60, targets=12, estimators={"trak:form=margin,dimension=16,checkpoints=3": -1.0})
    figures = list(lds.one_case(case, Store(tmp_path), Here()))
    assert [figure.goal for figure in figures] == ["-", "-", ">= -1"]
    assert 0 <= figures[0].measured <= 1
    form = r"-?0\.\d{3} \(.* to .*; null .*\), .* s, visits of .* trainings, beside 2 models of halves"
    assert re.fullmatch(form, figures[2].text)


def test_stacks_are_compared_with_the_same_models():
    rows = tiny_rows(40, seed=0)
    stacks = stacked.in_stacks(TINY, rows, range(5), 3)
    alone = stacked.one_by_one(TINY, rows, range(5))
    assert stacked.largest_difference(stacks[0], alone[:3], rows) < 1e-4
    assert stacked.largest_difference(stacks[1], alone[3:], rows) < 1e-4
    assert stacked.largest_difference(stacks[0], alone[1:4], rows) > 0.01, "other models differ"


def test_fleet_keeps_the_models_of_the_loop(tmp_path):
    rows, watch, store = tiny_rows(40, seed=0), tiny_rows(9, seed=1), Store(tmp_path)
    keys = processes.as_fleet(TINY, rows, np.arange(30), watch, [7, 8], store, Here())
    kept = [torch.from_numpy(store.get(KIND, key).array("logits")) for key in keys]
    alone = [predict(fit(TINY, rows, np.arange(30), seed=seed).model, watch) for seed in (7, 8)]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(kept, alone, strict=True))
    assert not torch.equal(*alone)


def test_words_of_a_recipe():
    assert recipes.words([0.97, 0.98, 0.99], [0.31, 0.29, 9.0]) == "98.0 % test (sd 1.0, 3 seeds), 0.3 s on one thread"
    assert recipes.words([0.9], [12.3]) == "90.0 % test (1 seed), 12 s on one thread"


def test_verdict_names_the_fastest_way():
    assert precision.verdict({"a": 100.0, "b": 250.0, "c": 125.0}) == "b is fastest here: 2.5 x a, 2.0 x c"


def test_recorded_recipes_are_named_ones_in_those_words():
    form = re.compile(r"\d+\.\d % test \(sd \d\.\d, \d+ seeds\), \d+(\.\d)? s on one thread")
    assert set(MEASURED) <= set(RECIPES)
    assert all(form.fullmatch(text) for text in MEASURED.values())


def test_command_prints_hardware_then_figures(monkeypatch, capsys):
    monkeypatch.setitem(command.BENCHMARKS, "klom", lambda options: iter([Figure(what="one", measured=2, most=1)]))
    assert command.main(["klom"]) == 1, "a goal is missed"
    out = capsys.readouterr().out
    assert re.match(r"\d+ cores, .*torch \d", out)
    assert "<= 1" in out
    assert "NO" in out


def test_json_is_plain_data(monkeypatch, capsys):
    monkeypatch.setitem(command.BENCHMARKS, "klom", lambda options: iter([Figure(what="one", measured=2)]))
    assert command.main(["klom", "--json", "--times", "1"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["times"] == 1
    assert data["figures"]["klom"][0]["measured"] == 2
    assert "torch" in data["hardware"]


@pytest.mark.parametrize("arguments", [["nonsense"], ["klom", "--times", "0"]])
def test_bad_arguments_end_with_usage(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        command.main(arguments)
    assert error.value.code == 2
    assert "expected" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["processes", "rows", "recipes", "lds"])
def test_without_data_a_figure_says_why_it_is_skipped(name, monkeypatch):
    monkeypatch.delenv("EXPUNGE_DATA", raising=False)
    monkeypatch.setattr(in_memory, "CASES", in_memory.CASES[1:])
    figures = command.figures(name, Options(times=1, recipes=("mnist-cnn",)))
    assert len(figures) == 1
    assert figures[0].measured is None
    assert "EXPUNGE_DATA" in figures[0].text or "no data folder" in figures[0].text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stacked", "klom", "challenge", "attacks", "one_run", "datamodels"])
def test_goals_hold_here(name):
    figures = command.figures(name, Options(times=3))
    assert [figure.what for figure in figures if figure.holds is False] == []


def test_projections_are_timed_and_compared_at_small_sizes(monkeypatch):
    sizes = {"WEIGHTS": 4096, "DIMENSION": 64, "ROWS": 60, "TARGETS": 8, "SUBSETS": 10, "SEEDS": 2}
    for name, value in {**sizes, "PAIRS": 2, "FEATURES": 16}.items():
        monkeypatch.setattr(projecting, name, value)
    figures = list(projecting.measure(Options(times=1)))
    assert [figure.goal for figure in figures] == ["<= 25 ms", *["<= 1.21"] * 3, "-", "-", "<= 0.01"]
    assert all(figure.holds for figure in figures[:4])  # LDS of so few models says nothing
    assert projecting.measure is command.BENCHMARKS["projection"]
    monkeypatch.setattr(projecting, "projection", lambda *a, **k: Doubled())
    assert projecting.over_rate(0.5) > 1.21


class Doubled:
    """A projection that keeps all weights, twice as large: inner products are four times what they were."""

    def down(self, vectors):
        return 2 * vectors


def test_gradients_together_are_compared_with_a_loop_that_does_the_same(monkeypatch):
    monkeypatch.setattr(row_gradients, "ROWS", 40)
    monkeypatch.setattr(row_gradients, "ALONE", 5)
    monkeypatch.setattr(row_gradients, "CASES", row_gradients.CASES[:1])
    figures = list(row_gradients.measure(Options(times=1)))
    assert [figure.goal for figure in figures] == ["-", "-", ">= 10 times", "<= 0.0001", "<= 50 MB"]
    assert figures[3].holds
    assert row_gradients.measure is command.BENCHMARKS["gradients"]
    case = row_gradients.made("digits-mlp", (1, 8, 8), 40)
    assert len(row_gradients.alone(case, 5)) == 5
    assert not torch.equal(*row_gradients.alone(case, 2))
    theirs = row_gradients.alone(case, 20)
    case.model[1].weight.requires_grad_(False).mul_(2)  # ours are now of another model
    monkeypatch.setattr(row_gradients, "alone", lambda case, rows: theirs)
    assert row_gradients.difference(case) > 1e-4


def test_every_estimator_is_held_against_the_closed_form(monkeypatch):
    small = {"SIZES": ((40, 60),), "FORGET": (4,), "LISTED": (40, 60, 4), "SEEN": 20}
    for name, value in small.items():
        monkeypatch.setattr(groups, name, value)
    monkeypatch.setattr(groups, "KNOWN", {"group": (None, 1e-8), "single": (0.01, 0.5), "none": (0.5, 1.0)})
    figures = {figure.what.strip(): figure for figure in groups.measure(Options(times=1))}
    assert [figure.what for figure in figures.values() if figure.holds is False] == []
    assert figures["influence:solver=explicit,correction=group"].measured < 1e-5
    assert "subsets" in figures["datamodel"].text
    assert {name.partition(":")[0] for name in figures} >= set(groups.ESTIMATORS)
    assert groups.measure is command.BENCHMARKS["group"]
    monkeypatch.setattr(groups, "Ridge", lambda correction="group": Ridge(correction="single"))
    held = [figure.holds for figure in groups.closed(40, 60, 4)]
    assert held == [False, True, False, True]
