"""What bench and command line tests share: a recipe file, a suite on digits, and a store with a fixed choice."""

from __future__ import annotations

from pathlib import Path

from expunge.data import load
from expunge.fleet import timing
from expunge.store import Store
from expunge.training.recipes import recipe
from tests.tiny import edit_facts

RECIPE_FILE = """
import expunge as ex

tiny = ex.Recipe(
    name="tiny", data="digits@120", model="linear", task=ex.Classification(10), epochs=2, batch_size=40, lr=0.1
)
"""
METHODS = """
[[methods]]
name = "finetune"
epochs = 1

[[methods]]
name = "gradient_ascent"
label = "ascent"
epochs = 1
lr = 0.01
"""
HOLDOUT_METHOD = """
[[methods]]
name = "reset_finetune"
preset = "kde"
"""


def recipe_file(folder: Path) -> str:
    """`path/file.py:name` of a recipe that trains in milliseconds."""
    (folder / "own.py").write_text(RECIPE_FILE)
    return f"{folder / 'own.py'}:tiny"


def suite_text(folder: Path, *, methods: str = METHODS, forget: str = '["class:3:10"]', gold: int = 6) -> str:
    """A suite of 4 originals."""
    return f'recipe = "{recipe_file(folder)}"\nforget = {forget}\noriginals = 4\ngold = {gold}\n{methods}'


def fixed_choice(root: Path, name: str, *, stacked: bool) -> Store:
    """A store whose measurement says which way to train, so that two stores agree whatever the machine does."""
    store, chosen = Store(root), recipe(name)
    timing(chosen, load(chosen.data).train, store)
    (place,) = (store.root / "timing").iterdir()
    edit_facts(place, stacked=stacked, single_visits_per_second=1000.0, stacked_visits_per_second=1000.0)
    return store


def without_times(result: object) -> object:
    """A result without what a clock decided."""
    if isinstance(result, dict):
        return {key: without_times(value) for key, value in result.items() if key != "seconds"}
    return [without_times(part) for part in result] if isinstance(result, list) else result
