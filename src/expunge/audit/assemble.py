"""Every measure that fits, from outputs alone: `audit_method` for many models, `audit_one` for one.

A measure that cannot be computed (too few models, no shadow models, no class left to compare with) is left out and
said so in a sentence: nothing is silently absent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.accuracy import accuracy, accuracy_gap, average_gap
from expunge.audit.activation_distance import activation_distance
from expunge.audit.aus import aus
from expunge.audit.challenge import POWERED as CHALLENGE
from expunge.audit.challenge import challenge
from expunge.audit.disagreement import disagreement
from expunge.audit.efficacy import efficacy
from expunge.audit.epsilon import epsilon
from expunge.audit.estimate import Estimate
from expunge.audit.gaussian_kl import gaussian_kl
from expunge.audit.jackknife import FloatArray
from expunge.audit.jensen_shannon import jensen_shannon
from expunge.audit.klom import klom
from expunge.audit.lira import lira
from expunge.audit.margins import margins, probabilities
from expunge.audit.population_attack import population_attack
from expunge.audit.rank_tests import TESTS, rank_tests
from expunge.audit.rmia import rmia
from expunge.audit.row_z import row_z, row_z_estimate
from expunge.audit.tug_of_war import tug_of_war
from expunge.audit.u_lira import u_lira
from expunge.audit.zrf import zrf
from expunge.errors import NeedsError

SPLITS = ("forget", "retain", "test")
"""The splits that every audit reports."""
ALL = "all"
"""Where a measure stands that looks at forget, retain and test rows together."""
HOLDOUT_ATTACKS = ("population_attack", "population_entropy", "population_modified_entropy", "lira", "rmia")
"""Measures that take holdout rows for rows that nobody trained on."""

Positions = npt.NDArray[np.int64]
Splits = dict[str, Estimate]
Table = dict[str, Splits]
"""Measure -> split -> estimate."""


@dataclass(frozen=True, eq=False)
class Shadows:
    """Models trained on random halves of training and holdout rows; see `lira.half_masks`."""

    logits: FloatArray
    """`[shadows, rows, classes]` on the pool's rows."""
    membership: npt.NDArray[np.bool_]
    """`[shadows, rows]` true where the shadow was trained on the row; never on test rows."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Outputs that one audit compares; rows in the same order everywhere."""

    gold: FloatArray
    """`[gold models, rows, classes]` logits."""
    heldout: FloatArray | None
    """`[held-out gold models, rows, classes]`: they play "unlearned" in the null."""
    original: FloatArray
    """`[originals, rows, classes]`."""
    labels: npt.NDArray[np.int64]
    """`[rows]`."""
    splits: Mapping[str, Positions]
    """Positions of forget, retain, holdout and test among the rows."""
    shadows: Shadows | None = None
    untrained: FloatArray | None = None
    """`[models, rows, classes]` of freshly initialised models, for ZRF."""
    whole: bool = True
    """Whether the logits are those of all classes; false where they only carry margins (see `bench/stored.py`)."""

    def __post_init__(self) -> None:
        absent = [name for name in (*SPLITS, "holdout") if name not in self.splits]
        if absent:
            raise NeedsError(f"audit: expected the splits forget, retain, holdout and test, {absent} are absent")

    @cached_property
    def names(self) -> npt.NDArray[np.str_]:
        """`[rows]` the split of every row."""
        names = np.full(len(self.labels), "", dtype="<U7")
        for name, at in self.splits.items():
            names[at] = name
        return names

    @cached_property
    def margins(self) -> dict[str, FloatArray]:
        """Role -> `[models, rows]` margins, nats: gold, original and, where there are any, heldout and shadows."""
        sides = {"gold": self.gold, "original": self.original, "heldout": self.heldout}
        sides["shadows"] = None if self.shadows is None else self.shadows.logits
        return {role: margins(side, self.labels) for role, side in sides.items() if side is not None}

    @cached_property
    def accuracies(self) -> dict[str, FloatArray]:
        """Role -> `[models, 3]` accuracies on forget, retain and test rows."""
        return {role: accuracies(self, side) for role, side in (("gold", self.gold), ("original", self.original))}

    @cached_property
    def class_removed(self) -> bool:
        """Whether no retain row is of a class that is forgotten."""
        forget, retain = (self.labels[self.splits[name]] for name in ("forget", "retain"))
        return not np.isin(forget, retain).any()


@dataclass(frozen=True, eq=False)
class Candidate:
    """The unlearned models that are compared with a pool."""

    pool: Pool
    logits: FloatArray
    """`[models, rows, classes]` on the pool's rows."""
    seed: int
    groups: npt.NDArray[Any] | None = None
    """`[models]` id of the original behind each model."""
    holdout_is_unseen: bool = True
    """False where the method trained on holdout rows: no attack may use them then."""

    @cached_property
    def margins(self) -> FloatArray:
        """`[models, rows]` nats."""
        return margins(self.logits, self.pool.labels)

    @cached_property
    def accuracy_gaps(self) -> Splits:
        """Gap in accuracy on every split; of itself, and a term of the average gap."""
        return _on_logits(self, lambda sides, labels: accuracy_gap(*sides, labels=labels, groups=self.groups))

    @cached_property
    def loss_attack(self) -> Estimate:
        """The population attack by loss; of itself, and a term of the average gap."""
        return _attack(self, "loss")


@dataclass(frozen=True, eq=False)
class Audited:
    """What was measured, and what could not be."""

    table: Table
    skipped: dict[str, str] = field(default_factory=dict)
    """Measure -> why it is not in the table."""


def positions(train: int, holdout: int, test: int, forget: Positions) -> dict[str, Positions]:
    """Where each split stands among training, holdout and test rows laid end to end.

    Args:
        train: Number of training rows.
        holdout: Of holdout rows.
        test: Of test rows.
        forget: `[forget]` positions among the training rows.
    """
    return {
        "forget": forget,
        "retain": np.setdiff1d(np.arange(train), forget),
        "holdout": train + np.arange(holdout),
        "test": train + holdout + np.arange(test),
    }


def audit_method(candidate: Candidate) -> Audited:
    """Distances to gold of a method's unlearned models, by every measure that their number allows."""
    return _audited(candidate, METHOD_PARTS)


def audit_one(candidate: Candidate) -> Audited:
    """Distances to gold of one model, by those measures that do not need several; `row_z` first."""
    return _audited(candidate, ONE_PARTS)


Part = Callable[[Candidate], Table]


def _audited(candidate: Candidate, parts: Mapping[str, Part]) -> Audited:
    found = Audited({})
    for name, part in parts.items():
        if name in LOGIT_PARTS and not candidate.pool.whole:
            found.skipped[name] = "only margins are there, not the outputs of all classes"
            continue
        if name in HOLDOUT_ATTACKS and not candidate.holdout_is_unseen:
            found.skipped[name] = "the method trained on holdout rows, so that there are no unseen ones"
            continue
        try:
            found.table.update(part(candidate))
        except NeedsError as error:
            found.skipped[name] = error.message
    return found


def accuracies(pool: Pool, logits: FloatArray) -> FloatArray:
    """`[models, 3]` accuracies on forget, retain and test rows."""
    columns = [accuracy(logits[:, pool.splits[name]], pool.labels[pool.splits[name]]) for name in SPLITS]
    return np.stack(columns, axis=1)


def _row_z(ours: Candidate) -> Table:
    pool = ours.pool
    original = pool.margins["original"][:1]
    found = row_z(ours.margins, pool.margins["gold"], original, test=pool.names == "test")
    return {"row_z": {split: row_z_estimate(found, pool.splits[split]) for split in SPLITS}}


def _on_margins(measure: Callable[..., Estimate], ours: Candidate, *, splits: tuple[str, ...] = SPLITS) -> Table:
    least = _least(measure)
    found = {split: measure(*_sides(ours, split, least), **_null(ours, split, least)) for split in splits}
    return {measure.__name__: found}


def _least(measure: Callable[..., Any]) -> Mapping[str, int]:
    """Fewest models of each role that the measure takes, from its file."""
    least: Mapping[str, int] = vars(sys.modules[measure.__module__])["LEAST"]
    return least


def _sides(ours: Candidate, split: str, least: Mapping[str, int]) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Margins of the unlearned, gold and original models on one split; too few originals give no start."""
    pool, at = ours.pool, ours.pool.splits[split]
    return ours.margins[:, at], pool.margins["gold"][:, at], _enough(pool.margins["original"], "original", least, at)


def _null(ours: Candidate, split: str, least: Mapping[str, int]) -> dict[str, Any]:
    heldout = _enough(ours.pool.margins.get("heldout"), "heldout", least, ours.pool.splits[split])
    return {"heldout": heldout, "seed": ours.seed, "groups": ours.groups}


def _enough(side: FloatArray | None, role: str, least: Mapping[str, int], at: Positions) -> FloatArray | None:
    return None if side is None or len(side) < least.get(role, 1) else side[:, at]


def _rank_tests(ours: Candidate) -> Table:
    table: Table = {f"rank_{test}": {} for test in TESTS}
    least = _least(rank_tests)
    for split in SPLITS:
        found = rank_tests(*_sides(ours, split, least), **_null(ours, split, least))
        for test in TESTS:
            one: Estimate = getattr(found, test)
            tested = not np.isnan(found.p[test]).any()  # with fewer than 3 originals nothing was
            one.extra["flagged"] = float(len(found.flagged[test])) if tested else np.nan
            table[f"rank_{test}"][split] = one
    return table


def _challenge(ours: Candidate) -> Table:
    fewest = min(len(ours.logits), len(ours.pool.gold))
    if fewest < CHALLENGE:
        raise NeedsError(f"its published score takes {CHALLENGE} models a side, there are {fewest}")
    sides = _sides(ours, "forget", _least(challenge))
    parity = len(sides[0]) == len(sides[1])
    null = _null(ours, "forget", _least(challenge))
    return {"challenge": {"forget": challenge(*sides, **null, parity=parity)}}


def _u_lira(ours: Candidate) -> Table:
    groups = {} if ours.groups is None else {"unlearned": ours.groups}
    sides = {split: _sides(ours, split, _least(u_lira)) for split in SPLITS[:2]}
    return {"u_lira": {split: u_lira(*one, groups=groups, seed=ours.seed) for split, one in sides.items()}}


def _accuracy(ours: Candidate) -> Table:
    return {"accuracy_gap": ours.accuracy_gaps}


def _likeness(measure: Callable[..., Estimate], ours: Candidate) -> Table:
    return {
        measure.__name__: {
            split: measure(
                *_logits(ours, ours.pool.splits[split]),
                heldout=_enough(ours.pool.heldout, "heldout", _least(measure), ours.pool.splits[split]),
                seed=ours.seed,
                groups=ours.groups,
            )
            for split in SPLITS
        }
    }


def _disagreement(ours: Candidate) -> Table:
    pool, found = ours.pool, {}
    for split in SPLITS:
        at = pool.splits[split]
        heldout = _enough(pool.heldout, "heldout", _least(disagreement), at)
        found[split] = disagreement(
            *_logits(ours, at), labels=pool.labels[at], heldout=heldout, seed=ours.seed, groups=ours.groups
        )
    return {"disagreement": found}


def _on_logits(ours: Candidate, measure: Callable[[Any, npt.NDArray[np.int64]], Estimate]) -> Splits:
    pool = ours.pool
    return {split: measure(_logits(ours, pool.splits[split]), pool.labels[pool.splits[split]]) for split in SPLITS}


def _logits(ours: Candidate, at: Positions) -> tuple[FloatArray, FloatArray, FloatArray]:
    pool = ours.pool
    return ours.logits[:, at], pool.gold[:, at], pool.original[:, at]


def _who(ours: Candidate) -> dict[str, Any]:
    return {"groups": ours.groups}


def _zrf(ours: Candidate) -> Table:
    if ours.pool.untrained is None:
        raise NeedsError("no untrained models to compare with")
    at = ours.pool.splits["forget"]
    return {"zrf": {"forget": zrf(*_logits(ours, at), random=ours.pool.untrained[:, at], **_who(ours))}}


def _together(ours: Candidate) -> Table:
    """The measures that look at forget, retain and test accuracy together."""
    pool, own = ours.pool, accuracies(ours.pool, ours.logits)
    gold, original = pool.accuracies["gold"], pool.accuracies["original"]
    terms = {f"{split}_accuracy": one for split, one in ours.accuracy_gaps.items()}
    if ours.holdout_is_unseen and _matched(pool):
        terms["mia_auc"] = ours.loss_attack
    kind = "class" if pool.class_removed else "random"
    pairs = (side[:, [0, 2]] for side in (own, gold, original))
    return {
        "average_gap": {ALL: average_gap(terms)},
        "tug_of_war": {ALL: tug_of_war(own, gold, original, **_who(ours))},
        "aus": {ALL: aus(*pairs, kind=kind, **_who(ours))},
    }


def _population(name: str, score: str, ours: Candidate) -> Table:
    if not _matched(ours.pool):
        raise NeedsError("a class of forget has no holdout row to compare with")
    return {name: {"forget": ours.loss_attack if score == "loss" else _attack(ours, score)}}


def _matched(pool: Pool) -> bool:
    """Whether every class of forget has a holdout row."""
    forget, holdout = (pool.labels[pool.splits[name]] for name in ("forget", "holdout"))
    return bool(np.isin(forget, holdout).all())


def _attack(ours: Candidate, score: str) -> Estimate:
    at, attacked = _attacked(ours.pool)
    labels = ours.pool.labels[at]
    return population_attack(
        *_logits(ours, at), labels=labels, forget=attacked, score=score, match="class", **_who(ours)
    )


def _attacked(pool: Pool) -> tuple[Positions, npt.NDArray[np.bool_]]:
    """Positions of forget and holdout rows, and which of them are forget rows."""
    at = np.concatenate([pool.splits["forget"], pool.splits["holdout"]])
    return at, np.arange(len(at)) < len(pool.splits["forget"])


def _efficacy(attack: str, ours: Candidate) -> Table:
    pool = ours.pool
    at = np.concatenate([pool.splits[name] for name in SPLITS])
    found = efficacy(
        *_logits(ours, at),
        labels=pool.labels[at],
        split=pool.names[at],
        attack=attack,
        seed=ours.seed,
        groups=ours.groups,
    )
    return {f"efficacy_{attack}": {"forget": found}}


def _lira(ours: Candidate) -> Table:
    shadows = _shadows(ours.pool)
    at, attacked = _attacked(ours.pool)
    found = lira(
        ours.margins[:, at],
        ours.pool.margins["gold"][:, at],
        ours.pool.margins["original"][:, at],
        shadows=ours.pool.margins["shadows"][:, at],
        membership=shadows.membership[:, at],
        forget=attacked,
        **_who(ours),
    )
    return {"lira": {"forget": found}}


def _rmia(ours: Candidate) -> Table:
    """RMIA; every other holdout row serves as the population, the others as non-members."""
    pool, shadows = ours.pool, _shadows(ours.pool)
    at, _ = _attacked(pool)
    split = pool.names[at].astype("<U10")
    split[np.flatnonzero(split == "holdout")[1::2]] = "population"

    def sure(logits: FloatArray) -> FloatArray:
        return np.take_along_axis(probabilities(logits[:, at]), pool.labels[at][None, :, None], axis=2)[..., 0]

    found = rmia(
        *(sure(side) for side in (ours.logits, pool.gold, pool.original)),
        references=sure(shadows.logits),
        membership=shadows.membership[:, at],
        split=split,
        **_who(ours),
    )
    return {"rmia": {"forget": found}}


def _shadows(pool: Pool) -> Shadows:
    if pool.shadows is None:
        raise NeedsError("no shadow models")
    return pool.shadows


ATTACKS: dict[str, Part] = {
    "population_attack": partial(_population, "population_attack", "loss"),
    "population_entropy": partial(_population, "population_entropy", "entropy"),
    "population_modified_entropy": partial(_population, "population_modified_entropy", "modified_entropy"),
    "efficacy_starting_kit": partial(_efficacy, "starting_kit"),
    "efficacy_svc": partial(_efficacy, "svc"),
    "lira": _lira,
    "rmia": _rmia,
}
EITHER: dict[str, Part] = {
    "accuracy_gap": _accuracy,
    "activation_distance": partial(_likeness, activation_distance),
    "jensen_shannon": partial(_likeness, jensen_shannon),
    "disagreement": _disagreement,
    "zrf": _zrf,
    "together": _together,
    **ATTACKS,
}
ONE_PARTS: dict[str, Part] = {"row_z": _row_z, **EITHER}
METHOD_PARTS: dict[str, Part] = {
    "klom": partial(_on_margins, klom),
    "gaussian_kl": partial(_on_margins, gaussian_kl),
    "rank_tests": _rank_tests,
    "u_lira": _u_lira,
    "epsilon": partial(_on_margins, epsilon, splits=("forget",)),
    "challenge": _challenge,
    **EITHER,
}
LOGIT_PARTS = frozenset(
    (
        "accuracy_gap",
        "activation_distance",
        "jensen_shannon",
        "disagreement",
        "zrf",
        "together",
        "population_entropy",
        "population_modified_entropy",
    )
)
"""Parts that look at the outputs of all classes; the others see margins or the label's probability alone."""
