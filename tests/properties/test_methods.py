"""What holds for every unlearning method, whichever it is: nothing here names what a method does.

Each method runs a few times on a small convolutional net with normalisation and dropout; the tests look at the
outcomes. A new method is picked up by itself; if its defaults are slow or stand still on so small a problem, it
gets a line in QUICK.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import math
import random
import re
from copy import deepcopy
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from expunge import methods
from expunge.data import MemoryRows, Rows
from expunge.errors import ConfigError, NeedsError
from expunge.methods import FORGET_KINDS, METHODS, NEEDS, Method, method
from expunge.methods.search import Choice, Log, NearOne, Whole
from expunge.problem import Problem
from expunge.training import fit, predict
from tests.tiny import same_weights, tiny_problem, tiny_recipe

QUICK = {
    "gradient_ascent": {"stop": "cap"},  # the holdout rule may be met before the first step
    "retrain": {"share": 0.25},
    "datamodel_matching": {"estimator": "last_layer", "batch_size": 16},
    "oracle_matching": {"batch_size": 16},
}
GIVEN = frozenset({"retain", "forget_labels", "holdout", "gold"})
"""What the problems here supply."""
ROOMS_ABOVE = ("audit", "bench", "cli", "fleet", "report", "gan", "store")
SAYS_RANGE_OR_ORIGIN = re.compile(r"[<>]|\bin [\[(]|one of|whether|true or false|\((code|paper|ours)\b|\"\w+\"", re.I)

FOLDER = Path(methods.__file__).parent
SOURCES = {path.stem: ast.parse(path.read_text()) for path in sorted(FOLDER.glob("*.py"))}
HOME = [name for name, kind in METHODS.items() if kind.__module__ == f"expunge.methods.{name}"]
ABLE = [name for name, kind in METHODS.items() if kind.needs <= GIVEN]
MAKERS = [name for name in ABLE if METHODS[name].makes_model]
"""The others predict: what they return has the original's outputs, not its parameters."""


class SpyRows(Rows):
    """Rows that remember which of them were read. They offer what `Rows` promises and nothing else."""

    def __init__(self, rows: MemoryRows) -> None:
        self.inner, self.ids, self.subjects = rows, rows.ids, rows.subjects
        self.read: set[int] = set()
        self.asked_for_labels = False

    @property
    def labels(self):
        self.asked_for_labels = True
        return self.inner.labels

    def batch(self, indices, device="cpu"):
        self.read |= {int(i) for i in indices}
        return self.inner.batch(indices, device)

    def take(self, indices):
        self.read |= {int(i) for i in indices}
        return self.inner.take(indices)

    def forget_what_was_read(self) -> None:
        self.read, self.asked_for_labels = set(), False


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run, and the world around it before and after."""

    problem: Problem
    unlearned: methods.Unlearned
    before: torch.nn.Module
    modes: list[bool]
    """Of the original's modules, before."""
    randomness_kept: bool
    read: dict[str, set[int]]
    """Positions whose inputs were read, by "rows", "holdout" and "test"."""
    labels_read: set[str]
    """Which of these were asked for their labels."""


@cache
def base(kind: str) -> Problem:
    """All rows of class 0 for a class; else a third of them, without row 0, which is read for its shape."""
    recipe = tiny_recipe(model="allcnn", channels=2, dropout=0.1, epochs=4, batch_size=16)
    problem = tiny_problem(seed=0, rows=60, forget=20, kind=kind, recipe=recipe, shape=(1, 8, 8))
    problem = problem if kind == "class" else dataclasses.replace(problem, forget=np.arange(3, 24, 3))
    gold = fit(recipe, problem.rows, problem.retain, seed=1).model
    return dataclasses.replace(problem, gold=(gold,))


def problem_for(name: str, *, training: bool = False, mislabelled: bool = False, forget=None) -> Problem:
    """A problem of a kind that the method treats, with its own copy of the original and with spies for rows."""
    problem = base("random" if "random" in METHODS[name].forget_kinds else "class")
    rows, at = problem.rows, torch.as_tensor(problem.forget)
    if mislabelled:
        labels = rows.labels.clone()
        labels[at] = (labels[at] + 1) % 3
        rows = MemoryRows(rows.x, labels, ids=rows.ids)
    spies = {"rows": SpyRows(rows), "holdout": SpyRows(problem.holdout), "test": SpyRows(problem.test)}
    original = deepcopy(problem.original).train(training)
    changes = {"forget": forget} if forget is not None else {}
    ours = dataclasses.replace(problem, original=original, **spies, **changes)
    for spy in spies.values():
        spy.forget_what_was_read()
    return ours


def global_randomness() -> tuple:
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


@cache
def outcome(name: str, *, seed: int = 0, repeat: int = 0, training: bool = False, mislabelled: bool = False):
    """One run of a method. Every run begins with other global randomness, so that its use would show."""
    problem = problem_for(name, training=training, mislabelled=mislabelled)
    before, modes = deepcopy(problem.original), [m.training for m in problem.original.modules()]
    torch.manual_seed(100 + repeat + 10 * seed)
    start = global_randomness()
    unlearned = quick(name).run(problem, seed=seed)
    spies = {part: getattr(problem, part) for part in ("rows", "holdout", "test")}
    return Outcome(
        problem,
        unlearned,
        before,
        modes,
        randomness_kept=global_randomness() == start,
        read={part: set(spy.read) for part, spy in spies.items()},
        labels_read={part for part, spy in spies.items() if spy.asked_for_labels},
    )


def quick(name: str) -> Method:
    return METHODS[name](**QUICK.get(name, {}))


def storages(model: torch.nn.Module) -> set[int]:
    tensors = [*model.parameters(), *model.buffers()]
    return {t.untyped_storage().data_ptr() for t in tensors if t.numel()}


# ------------------------------------------------------------------------------------------ what a run does


@pytest.mark.parametrize("name", ABLE)
@pytest.mark.parametrize("training", [False, True])
def test_the_original_stays_as_it_was(name, training):
    done = outcome(name, training=training)
    assert same_weights(done.problem.original, done.before)
    assert [m.training for m in done.problem.original.modules()] == done.modes
    assert all(p.requires_grad and p.grad is None for p in done.problem.original.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in done.problem.original.modules())


@pytest.mark.parametrize("name", ABLE)
def test_the_result_shares_no_storage_with_the_original(name):
    done = outcome(name)
    assert not storages(done.unlearned.model) & storages(done.problem.original)


@pytest.mark.parametrize("name", MAKERS)
def test_the_result_is_a_model_of_the_same_shape(name):
    done = outcome(name)
    model = done.unlearned.model
    assert [p.shape for p in model.parameters()] == [p.shape for p in done.before.parameters()]
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", ABLE)
def test_the_result_puts_out_finite_numbers_in_evaluation_mode(name):
    done = outcome(name)
    assert not any(module.training for module in done.unlearned.model.modules())
    outputs = predict(done.unlearned.model, done.problem.test)
    assert outputs.shape == (len(done.problem.test), 3)
    assert bool(outputs.isfinite().all())


@pytest.mark.parametrize("name", ABLE)
def test_the_same_seed_gives_the_same_weights(name):
    assert same_weights(outcome(name).unlearned.model, outcome(name, repeat=1).unlearned.model)


@pytest.mark.parametrize("name", ABLE)
def test_the_originals_mode_does_not_matter(name):
    assert same_weights(outcome(name).unlearned.model, outcome(name, training=True).unlearned.model)


@pytest.mark.parametrize("name", ABLE)
def test_seeds_differ_where_the_method_is_stochastic_and_nowhere_else(name):
    same = same_weights(outcome(name, seed=0).unlearned.model, outcome(name, seed=1).unlearned.model)
    assert same is not METHODS[name].stochastic


@pytest.mark.parametrize("name", ABLE)
def test_global_randomness_is_left_alone(name):
    assert outcome(name).randomness_kept


@pytest.mark.parametrize("name", ABLE)
def test_cost_is_counted(name):
    cost = outcome(name).unlearned.cost
    assert 0 < cost.visits < math.inf
    assert all(rows > 0 for rows in [*cost.forward.values(), *cost.backward.values()])
    assert cost.seconds > 0


@pytest.mark.parametrize("name", ABLE)
def test_only_declared_rows_are_read(name):
    done, needs = outcome(name), METHODS[name].needs
    assert done.read["rows"], "the spies must see what is read"
    assert not done.read["test"], "test rows are for the audit alone"
    assert "test" not in done.labels_read
    if "holdout" not in needs:
        assert not done.read["holdout"]
        assert "holdout" not in done.labels_read
    if "retain" not in needs:
        assert done.read["rows"] <= set(done.problem.forget.tolist())


@pytest.mark.parametrize("name", [name for name in ABLE if "forget_labels" not in METHODS[name].needs])
def test_labels_of_forget_rows_do_not_matter_unless_declared(name):
    ours, theirs = outcome(name), outcome(name, mislabelled=True)
    assert same_weights(ours.unlearned.model, theirs.unlearned.model)


@pytest.mark.parametrize("name", [name for name in ABLE if "random" in METHODS[name].forget_kinds])
def test_a_single_forget_row_is_enough(name):
    unlearned = quick(name).run(problem_for(name, forget=np.array([3])), seed=0)
    assert all(bool(p.isfinite().all()) for p in unlearned.model.parameters())


@pytest.mark.parametrize("name", ABLE)
def test_half_precision_runs(name):
    problem = problem_for(name)
    recipe = dataclasses.replace(problem.recipe, precision="bf16")
    unlearned = quick(name).run(dataclasses.replace(problem, recipe=recipe), seed=0)
    assert not METHODS[name].makes_model or {p.dtype for p in unlearned.model.parameters()} == {torch.float32}
    assert bool(predict(unlearned.model, problem.test).isfinite().all())


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in METHODS for kind in sorted(FORGET_KINDS - METHODS[name].forget_kinds)],
)
def test_other_forget_sets_are_refused(name, kind):
    problem = dataclasses.replace(base("random"), kind=kind)
    with pytest.raises(NeedsError, match=f"{name} forgets .* sets, got a {kind} set"):
        quick(name).run(problem, seed=0)


def test_a_method_for_classes_refuses_random_rows():
    class ForClasses(type(quick("finetune"))):
        forget_kinds = frozenset({"class"})

    with pytest.raises(NeedsError, match="forgets class sets, got a random set\nhint: `expunge methods` lists"):
        ForClasses().run(base("random"), seed=0)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ABLE])
def test_a_need_that_the_problem_cannot_supply_is_refused(name):
    kind = "random" if "random" in METHODS[name].forget_kinds else "class"
    with pytest.raises(NeedsError):
        quick(name).run(base(kind), seed=0)


# ------------------------------------------------------------------------------------- what a class declares


@pytest.mark.parametrize("name", METHODS)
def test_metadata_is_declared(name):
    kind = METHODS[name]
    assert re.fullmatch(r"arXiv:\d{4}\.\d{4,5}|folklore|by definition|doi:\S+", kind.paper)
    assert isinstance(kind.needs, frozenset)
    assert kind.needs <= NEEDS
    assert kind.forget_kinds
    assert kind.forget_kinds <= FORGET_KINDS
    assert isinstance(kind.stochastic, bool)


@pytest.mark.parametrize("name", METHODS)
def test_settings_are_a_frozen_value_of_keywords_that_survives_a_manifest(name):
    ours = METHODS[name]()
    assert METHODS[name](**json.loads(json.dumps(ours.settings()))) == ours
    for field in dataclasses.fields(ours):
        assert field.kw_only
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(ours, field.name, getattr(ours, field.name))


@pytest.mark.parametrize("name", HOME)
def test_the_class_is_named_after_its_file(name):
    assert METHODS[name].__name__.lower() == name.replace("_", "")
    assert method(name) is METHODS[name] is getattr(methods, METHODS[name].__name__)


@pytest.mark.parametrize("name", HOME)
def test_the_header_says_what_a_reader_needs(name):
    header = inspect.getdoc(inspect.getmodule(METHODS[name]))
    for part in ("Source:", "Objective:", "Deviations:", "Cost:"):
        assert part in header
    assert METHODS[name].__doc__


@pytest.mark.parametrize("name", HOME)
def test_every_setting_says_its_range_or_its_origin(name):
    body = next(n for n in SOURCES[name].body if isinstance(n, ast.ClassDef) and n.name == METHODS[name].__name__).body
    texts = {
        node.target.id: after.value.value
        for node, after in pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }
    for field in dataclasses.fields(METHODS[name]):
        assert field.name in texts, f"{field.name} has no text below it"
        assert SAYS_RANGE_OR_ORIGIN.search(texts[field.name]), f"{field.name}: neither range nor origin"


@pytest.mark.parametrize("stem", [stem for stem in SOURCES if stem != "__init__"])
def test_a_method_imports_no_other_method_and_no_room_above(stem):
    imported = set()
    for node in ast.walk(SOURCES[stem]):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    others = {f"expunge.methods.{name}" for name in HOME if name != stem} | {
        f"expunge.methods.{METHODS[name].__name__}" for name in HOME if name != stem
    }
    assert not imported & others
    assert not {name for name in imported if name.startswith(tuple(f"expunge.{room}" for room in ROOMS_ABOVE))}


def test_an_unknown_method_is_answered_with_close_matches():
    with pytest.raises(ConfigError, match=r"unknown method 'finetun'\nhint: did you mean finetune"):
        method("finetun")


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if kind.search])
def test_the_search_space_holds_legal_settings_alone(name):
    """All lower ends together, all upper ends together, and each end beside the defaults."""
    kind = METHODS[name]
    assert kind.search.keys() <= {field.name for field in dataclasses.fields(kind)}
    ends = {setting: ends_of(space) for setting, space in kind.search.items()}
    for which in (0, -1):
        kind(**{setting: values[which] for setting, values in ends.items()})
    fixed = {setting: space.values[0] for setting, space in kind.search.items() if isinstance(space, Choice)}
    for setting, values in ends.items():
        for value in values:
            kind(**{**fixed, setting: value})
    for space in kind.search.values():
        assert not isinstance(space, Log | NearOne) or 0 < space.low < space.high
        assert not isinstance(space, Whole) or space.low < space.high


def ends_of(space):
    """What a search may come to, at its ends."""
    if isinstance(space, Choice):
        return space.values
    return (1 - space.high, 1 - space.low) if isinstance(space, NearOne) else (space.low, space.high)
