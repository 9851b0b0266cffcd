"""A suite for pairs of generator and discriminator, read from a TOML file whose recipe is one of theirs."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from expunge.bench.suite import Types, check_keys, configured_line, suite_text
from expunge.data import ForgetSet
from expunge.errors import ConfigError, check
from expunge.gan.candidate import BASELINES
from expunge.gan.measures import Settings
from expunge.gan.methods import GanMethod, gan_method
from expunge.gan.recipe import GanRecipe
from expunge.gan.recipes import any_recipe

KEYS: dict[str, Types] = {
    "recipe": (str, None),
    "data": (str, None),
    "epochs": (int, None),
    "forget": (list, str),
    "forget_seed": (int, None),
    "originals": (int, None),
    "gold": (int, None),
    "seed": (int, None),
    "pictures": (int, None),
    "searched": (int, None),
    "search_steps": (int, None),
    "downstream": (int, None),
    "methods": (list, dict),
}
"""What a suite's file may say: key -> its type, and the type of what a list holds."""


@dataclass(frozen=True)
class GanEntry:
    """One method with its settings, under a label of its own."""

    label: str
    method: GanMethod


@dataclass(frozen=True, kw_only=True)
class GanSuite:
    """What a bench of pairs runs."""

    name: str
    recipe: str
    forget: tuple[ForgetSet, ...]
    gold: int
    """Gold pairs of each forget set, >= 2."""
    entries: tuple[GanEntry, ...]
    """The first is what verdicts are about."""
    originals: int = 1
    """Independently trained pairs, each unlearned by every method."""
    seed: int = 0
    data: str = ""
    """A data set in place of the recipe's own."""
    epochs: int = 0
    """Passes in place of the recipe's own; 0 for the recipe's."""
    settings: Settings = field(default_factory=Settings)
    """How pairs are looked at."""

    def __post_init__(self) -> None:
        check("originals", self.originals, ">= 1", self.originals >= 1)
        check("gold", self.gold, ">= 2", self.gold >= 2)
        check("epochs", self.epochs, ">= 0", self.epochs >= 0)
        check("forget", len(self.forget), "at least one forget set", len(self.forget) > 0)
        check("methods", len(self.entries), "at least one method", len(self.entries) > 0)
        labels = [entry.label for entry in self.entries]
        check("methods", labels, "a different label for each", len(set(labels)) == len(labels))
        taken = ("original", "gold", *BASELINES)
        for label in labels:
            check("label", label, f"another one than {', '.join(taken)}", label not in taken)

    def trained(self) -> GanRecipe:
        """The recipe, with what the suite says in place of its own."""
        recipe = any_recipe(self.recipe)
        if not isinstance(recipe, GanRecipe):
            raise ConfigError(f"suite {self.name}: {self.recipe} is the recipe of a classifier, not of a pair")
        for entry in self.entries:
            if "labels" in entry.method.needs and not recipe.classes:
                raise ConfigError(
                    f"suite {self.name}: {entry.label} needs a conditional pair, {recipe.name} is told no labels",
                    hint="`expunge recipes` lists the conditional ones",
                )
        return replace(recipe, data=self.data or recipe.data, epochs=self.epochs or recipe.epochs)

    def to_dict(self) -> dict[str, Any]:
        """What decides its results, as plain data: a worker process makes the suite from it again."""
        return {
            **{f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("forget", "entries", "settings")},
            "forget": [asdict(one) for one in self.forget],
            "entries": [
                {"label": one.label, "name": one.method.name(), "settings": one.method.settings()}
                for one in self.entries
            ],
            "settings": asdict(self.settings),
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> GanSuite:
        """The suite that `to_dict` wrote down."""
        entries = tuple(GanEntry(one["label"], gan_method(one["name"])(**one["settings"])) for one in data["entries"])
        forget = tuple(ForgetSet(**one) for one in data["forget"])
        return GanSuite(**{**data, "forget": forget, "entries": entries, "settings": Settings(**data["settings"])})


def gan_suite(name: str) -> GanSuite | None:
    """A suite for pairs by name or from a TOML file; None where it is one for classifiers, or no TOML at all.

    Raises:
        ConfigError: no such suite or file, an unknown key, method or setting.
    """
    title, text = suite_text(name)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None  # who reads it next says what is wrong
    recipe = data.get("recipe")
    if not isinstance(recipe, str) or not isinstance(any_recipe(recipe), GanRecipe):
        return None
    check_keys(title, data, KEYS, ("forget", "gold", "methods"))
    looked = {f.name: data[f.name] for f in fields(Settings) if f.name in data}
    given = {key: data[key] for key in ("recipe", "data", "epochs", "originals", "gold", "seed") if key in data}
    return GanSuite(
        name=title,
        forget=tuple(ForgetSet(text, data.get("forget_seed", 0)) for text in data["forget"]),
        entries=tuple(GanEntry(*configured_line(title, line, gan_method)) for line in data["methods"]),
        settings=Settings(**looked),
        **given,
    )
