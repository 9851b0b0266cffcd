"""A suite: methods x forget sets x originals on one recipe, read from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from expunge.audit.policy import Policy, first_lines
from expunge.audit.policy import policy as find_policy
from expunge.data import ForgetSet
from expunge.errors import ConfigError, check, unknown
from expunge.methods import Method, method
from expunge.training import Recipe

RESERVED = ("original", "gold", "retrain (timed)")
"""Labels of the controls, and of the retrainings whose time is taken."""
TABLES = ("aligned", "matching")
LEAST_GOLD = 4
"""Fewer gold models give no interval for any measure."""
Types = tuple[type, type | None]
Made = TypeVar("Made")
KEYS: dict[str, Types] = {
    "recipe": (str, None),
    "data": (str, None),
    "forget": (list, str),
    "forget_seed": (int, None),
    "draws": (int, None),
    "originals": (int, None),
    "gold": (int, None),
    "shadows": (int, None),
    "subsets": (int, None),
    "subset_share": (float, None),
    "table": (str, None),
    "policy": (str, None),
    "seed": (int, None),
    "methods": (list, dict),
    "methods_of": (str, None),
}
"""What a suite's file may say: key -> its type, and the type of what a list holds."""
EXAMPLES = {
    "recipe": 'recipe = "digits-mlp"',
    "data": 'data = "digits@500"',
    "forget": 'forget = ["class:8:80"]',
    "forget_seed": "forget_seed = 0",
    "draws": "draws = 3",
    "originals": "originals = 64",
    "gold": "gold = 64",
    "shadows": "shadows = 32",
    "subsets": "subsets = 300",
    "subset_share": "subset_share = 0.5",
    "table": 'table = "matching"',
    "policy": 'policy = "standard"',
    "seed": "seed = 0",
    "methods": '[[methods]] and below it name = "finetune"',
    "methods_of": 'methods_of = "matching"',
}


STANDARD = find_policy("standard")


def enough_shadows(models: int) -> bool:
    """Whether every row can have two shadow models on either side."""
    return models >= 4 and models % 2 == 0


@dataclass(frozen=True)
class Entry:
    """One line of the leaderboard: a method with its settings, under a label of its own."""

    label: str
    method: Method


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What a bench runs."""

    name: str
    recipe: str
    """A named recipe, or `path/file.py:name`."""
    forget: tuple[ForgetSet, ...]
    originals: int
    """Independently trained models, each unlearned once by every method."""
    gold: int
    """Gold models to compare with; as many held-out gold models as originals are trained beside them."""
    seed: int = 0
    shadows: int = 0
    """Models on random halves of training and holdout rows, for LiRA, RMIA and difficulty; even, 0 for none."""
    policy: Policy = STANDARD
    """What the verdict on every method demands."""
    entries: tuple[Entry, ...]
    subsets: int = 0
    """Models on random subsets of the training rows, for attribution that needs them; 0 for none."""
    subset_share: float = 0.5
    """Share of the training rows that each of them sees, in (0, 1)."""
    table: str = "aligned"
    """Which table is made of all forget sets: "aligned" (accuracies) or "matching" (distances over their nulls)."""
    data: str = ""
    """A data set in place of the recipe's own, in the form of `expunge data`; empty for the recipe's."""

    def __post_init__(self) -> None:
        check("originals", self.originals, ">= 2", self.originals >= 2)
        check("gold", self.gold, f">= {LEAST_GOLD}", self.gold >= LEAST_GOLD)
        check("shadows", self.shadows, "0, or an even number >= 4", self.shadows == 0 or enough_shadows(self.shadows))
        check("subsets", self.subsets, ">= 0", self.subsets >= 0)
        check("subset_share", self.subset_share, "in (0, 1)", 0 < self.subset_share < 1)
        check("table", self.table, f"one of {', '.join(TABLES)}", self.table in TABLES)
        check("forget", len(self.forget), "at least one forget set", len(self.forget) > 0)
        check("methods", len(self.entries), "at least one method", len(self.entries) > 0)
        labels = [entry.label for entry in self.entries]
        for label in labels:
            check("label", label, f"another one than {', '.join(RESERVED)}", label not in RESERVED)
        check("methods", labels, "a different label for each", len(set(labels)) == len(labels))

    @property
    def oracles(self) -> int:
        """Gold models that upper bounds are given, one for each original; 0 where no method needs one."""
        return self.originals if any("gold" in entry.method.needs for entry in self.entries) else 0

    def on_data(self, recipe: Recipe) -> Recipe:
        """The suite's recipe, trained on what the suite says."""
        return replace(recipe, data=self.data) if self.data else recipe


def suites() -> dict[str, str]:
    """The suites that come with expunge: name -> first line of the file."""
    return first_lines(resources.files("expunge.bench") / "suites")


def load_suite(name: str) -> Suite:
    """A suite by name, or from a TOML file.

    Raises:
        ConfigError: no such suite or file, broken TOML, an unknown key, method or setting.
    """
    return parse_suite(*suite_text(name))


def suite_text(name: str) -> tuple[str, str]:
    """The name of a suite and the text of its file.

    Raises:
        ConfigError: no such suite or file.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"suite: no file {path}", hint="`expunge bench --list` names those that ship")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"suite {path}: cannot be read ({error})") from None
        return path.stem, text
    if name not in suites():
        raise unknown("suite", name, suites(), "expunge bench --list")
    return name, (resources.files("expunge.bench") / "suites" / f"{name}.toml").read_text()


def parse_suite(name: str, text: str) -> Suite:
    """A suite from the text of its TOML file; see `bench/suites/` for examples."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"suite {name}: not TOML ({error})") from None
    needed = ("recipe", "forget", "originals", "gold", *(() if "methods_of" in data else ("methods",)))
    check_keys(name, data, KEYS, needed)
    return Suite(
        name=name,
        recipe=data["recipe"],
        data=data.get("data", ""),
        forget=_drawn(data["forget"], data.get("forget_seed", 0), data.get("draws", 1)),
        originals=data["originals"],
        gold=data["gold"],
        seed=data.get("seed", 0),
        shadows=data.get("shadows", 0),
        subsets=data.get("subsets", 0),
        subset_share=data.get("subset_share", 0.5),
        table=data.get("table", TABLES[0]),
        policy=find_policy(data.get("policy", STANDARD.name)),
        entries=(*_entries_of(data.get("methods_of", "")), *(_entry(name, line) for line in data.get("methods", []))),
    )


def _drawn(texts: list[str], seed: int, draws: int) -> tuple[ForgetSet, ...]:
    """Every forget set as often as it is drawn, by one seed after another."""
    check("draws", draws, ">= 1", draws >= 1)
    sets = tuple(ForgetSet(text, seed + at) for text in texts for at in range(draws))
    for one in sets:
        if draws > 1 and not one.random:
            raise ConfigError(
                f"draws: expected 1 for {one.text}, which is no random draw, got {draws}",
                hint="random:N and class:C:N are drawn",
            )
    return sets


def _entries_of(name: str) -> tuple[Entry, ...]:
    """The methods of a suite that ships, under their labels and with their settings; none of no suite."""
    if name and name not in suites():
        raise unknown("suite", name, suites(), "expunge bench --list")
    return load_suite(name).entries if name else ()


def check_keys(name: str, data: dict[str, Any], known: Mapping[str, Types], needed: Iterable[str]) -> None:
    """A suite's file says what it must, and nothing that it cannot.

    Args:
        name: Of the suite.
        data: What its file says.
        known: Key -> its type, and the type of what a list holds.
        needed: Keys that have to be there.

    Raises:
        ConfigError: an unknown key, one that is missing, or a value of another type.
    """
    extra = sorted(set(data) - set(known))
    if extra:
        raise ConfigError(f"suite {name}: unknown key {extra[0]!r}", hint=f"known are {', '.join(sorted(known))}")
    for key in needed:
        if key not in data:
            raise ConfigError(f"suite {name}: the key {key!r} is missing", hint=_example(key))
    for key, value in data.items():
        if not _fits(value, *known[key]):
            raise ConfigError(f"suite {name}: {key} cannot be {value!r}", hint=_example(key))


def _example(key: str) -> str:
    return f"for example: {EXAMPLES[key]}" if key in EXAMPLES else ""


def _fits(value: object, kind: type, inner: type | None) -> bool:
    """Whether a value is of that type, and what is in it of the other; True is no number here."""
    return type(value) is kind and (not isinstance(value, list) or all(type(part) is inner for part in value))


def _entry(suite: str, line: dict[str, Any]) -> Entry:
    return Entry(*configured_line(suite, line, method))


def configured_line(suite: str, line: dict[str, Any], find: Callable[[str], type[Made]]) -> tuple[str, Made]:
    """The label and the method that a line of a suite asks for.

    Args:
        suite: Its name, for the errors.
        line: `name`, perhaps `label`, and settings.
        find: The method class of a name.

    Raises:
        ConfigError: no name, an unknown method or setting, or a setting of the wrong type.
    """
    if "name" not in line:
        raise ConfigError(f"suite {suite}: a method without a name: {line}")
    kind = find(line["name"])
    settings = {key: value for key, value in line.items() if key not in ("name", "label")}
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    for key in settings:
        if key not in known:
            raise ConfigError(
                f"suite {suite}: {line['name']} has no setting {key!r}",
                hint=f"it has {', '.join(sorted(known))}",
            )
    try:
        return line.get("label", line["name"]), kind(**settings)
    except TypeError as error:  # text where a number belongs: the range checks cannot compare them
        raise ConfigError(
            f"suite {suite}: {line['name']}: a setting of the wrong type ({error})",
            hint=f"`expunge methods {line['name']}` shows each setting",
        ) from None
