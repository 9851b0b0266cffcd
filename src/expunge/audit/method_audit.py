"""Method audit: do the models of a method follow the law of gold models, row by row, in place and in spread?

Source:     own construction: equivalence by `method_distance`, its null from gold at equal numbers, and an exact
            permutation test; no published origin. Statistical evidence under the thresholds given.
Verdict:    fail          the whole interval of a distance lies above its margin on forget, retain or test rows, or
                          the permutation test rejects on forget rows and the distance there is above its margin;
            pass          on forget rows the interval's upper end lies under the margin, on other rows the distance
                          lies under its own, and nothing fails; where gold itself gives the margin, the permutation
                          test must not reject either: what can be told from gold never passes;
            inconclusive  anything else, and always with fewer models or originals than asked for, where gold cannot
                          resolve the margin, where held-out gold does not pass, or where the original does not fail.
Cannot see: the shape of a row's margins beyond place and spread (reported by `rank_tests`), dependence between rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import check_margins, plain_number
from expunge.audit.jackknife import FloatArray, IntArray
from expunge.audit.method_distance import method_distances, row_distances
from expunge.audit.method_null import DRAWS, Null, Rows, chosen, few, half, method_null
from expunge.audit.verdict import needed_share, word
from expunge.errors import NeedsError, ShapeError, check

LEAST = {"unlearned": 2, "gold": 4}
SPLITS = ("forget", "retain", "test")
PERMUTATIONS = 999  # behind the exact test: p is a multiple of 1 / 1000
Many = float | FloatArray
Sides = Mapping[str, float] | Mapping[str, FloatArray]
"""Split -> a number of one candidate, or one of each candidate."""


@dataclass(frozen=True, eq=False)
class MethodAudit:
    """Result of `method_audit`.

    Args:
        verdict: pass, fail or inconclusive.
        judged: false where numbers, resolution or a control ruled out any verdict beforehand.
        reasons: sentences that led to the verdict.
        limits: what this audit could not see.
        distances: split -> value, interval, null, null_low, null_high, start, beyond (value - null), margin (of
            `beyond`), resolution; nats.
        p: permutation p on forget rows: one model of each original against gold; of several draws twice the median;
            NaN where all models come from one original.
        controls: `gold_passed`, `gold_accepted` (shares of choices of gold), `gold_needed`, `heldout_verdict` (None
            without as many held-out gold models), `original_verdict`,
            `original_p` (None with fewer than 2 originals).
        models: unlearned, originals, gold, and the numbers compared: `ours`, `golds`.
        components: mean variance over forget rows, nats^2: `gold`, `originals` (between them), `runs` (within one;
            NaN with one run each).
        rows: split -> [rows] distance of every row, nats.
    """

    verdict: str
    judged: bool
    reasons: tuple[str, ...]
    limits: tuple[str, ...]
    distances: dict[str, dict[str, Any]]
    p: float
    controls: dict[str, Any]
    models: dict[str, int]
    components: dict[str, float]
    rows: dict[str, FloatArray]
    mode: str = "method"

    def to_json(self) -> dict[str, Any]:
        """Plain dict for `json.dumps`, without the rows' distances."""
        plain = {name: value for name, value in vars(self).items() if name != "rows"}
        known = {name: plain_number(value) for name, value in self.components.items()}
        far = {split: {key: plain_number(value) for key, value in one.items()} for split, one in self.distances.items()}
        lists = {"reasons": list(self.reasons), "limits": list(self.limits)}
        return plain | lists | {"p": plain_number(self.p), "components": known, "distances": far}


@dataclass(frozen=True, eq=False)
class _Seen:
    """One candidate beside gold: distances, their intervals, and the exact test."""

    values: dict[str, float]
    halves: dict[str, float]
    p: float


@dataclass(frozen=True, eq=False)
class Reference:
    """Gold and the originals, ready to judge methods: nulls and controls are computed once and serve all of them.

    Args:
        gold: [models_g >= 4, rows] margins, nats.
        original: [models_o, rows] margins, nats: the control that must fail; it takes 2.
        heldout: [models_h, rows] margins of gold models kept for the null, or None.
        split: [rows] "forget", "retain" or "test"; other rows are not looked at.
        alpha: level of the exact test and of the intervals, in (0, 0.5).
        margin: largest distance beyond the null on forget rows, nats, > 0; None derives it from gold's own spread, as
            is always done for the other rows.
        seed: of choices and permutations.
    """

    gold: FloatArray
    original: FloatArray
    heldout: FloatArray | None
    split: npt.NDArray[np.str_]
    alpha: float = 0.05
    margin: float | None = None
    seed: int = 0
    _nulls: dict[int, dict[str, Null]] = field(default_factory=dict, init=False, repr=False)
    _controls: dict[int, dict[str, Any]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        check("alpha", self.alpha, "in (0, 0.5)", 0 < self.alpha < 0.5)
        check("margin", self.margin, "> 0 or None", self.margin is None or self.margin > 0)
        check_margins(self.gold, self.gold, self.original, self.heldout, least=LEAST | {"unlearned": LEAST["gold"]})
        if self.split.shape != self.gold.shape[1:]:
            raise ShapeError(f"split: expected one name per row ({self.gold.shape[1]}), got {self.split.shape}")
        if "forget" not in self.rows:
            raise NeedsError("method audit needs forget rows, got none")

    @cached_property
    def rows(self) -> Rows:
        """Split -> positions of the rows that are compared."""
        return {name: few(np.flatnonzero(self.split == name)) for name in SPLITS if (self.split == name).any()}

    def sizes(self, models: int) -> tuple[int, int]:
        """How many unlearned and gold models are compared: all, or as many as gold can play both sides of."""
        if self.heldout is not None and len(self.heldout) >= models:
            return models, len(self.gold)
        ours = max(2, min(models, len(self.gold) // 2))
        return ours, len(self.gold) - ours

    def nulls(self, models: int) -> dict[str, Null]:
        """Split -> null for that many unlearned models."""
        if models not in self._nulls:
            ours, golds = self.sizes(models)
            whole = golds == len(self.gold)
            pool = np.concatenate([self.gold, self.heldout[:ours]]) if whole and self.heldout is not None else self.gold
            beside = len(self.rows) - 1  # splits that can only fail a method share one alpha
            self._nulls[models] = {
                name: method_null(
                    pool[:, at],
                    ours,
                    golds,
                    alpha=self.alpha if name == "forget" else self.alpha / beside,
                    level=1 - self.alpha,
                    seed=self.seed,
                )
                for name, at in self.rows.items()
            }
        return self._nulls[models]

    def margins(self, models: int) -> dict[str, float]:
        """Split -> largest distance beyond the null's mean that counts as equal to gold, nats."""
        nulls = self.nulls(models)
        derived = {name: null.derived_margin for name, null in nulls.items()}
        return derived if self.margin is None else derived | {"forget": self.margin}

    def see(self, models: FloatArray) -> _Seen:
        """Compare models `[models, rows]`, each from an original of its own, with gold."""
        count, golds = self.sizes(len(models))
        random = np.random.default_rng([abs(self.seed), 4])
        draws = 1 if (count, golds) == (len(models), len(self.gold)) else DRAWS
        total = len(models) + len(self.gold)
        ours = np.stack([random.permutation(len(models))[:count] for _ in range(draws)])
        theirs = np.stack([len(models) + random.permutation(len(self.gold))[:golds] for _ in range(draws)])
        everyone = np.arange(total) < len(models)
        sides = chosen(ours, total), chosen(theirs, total)
        stacks = {name: np.concatenate([models[:, at], self.gold[:, at]]) for name, at in self.rows.items()}
        values = {name: float(method_distances(stack, *sides).mean()) for name, stack in stacks.items()}
        halves = {name: half(stack, everyone, ~everyone, level=1 - self.alpha) for name, stack in stacks.items()}
        return _Seen(values, halves, permutation_p(stacks["forget"], len(models), seed=self.seed))

    def judge(self, seen: _Seen, models: int) -> tuple[bool, bool]:
        """Whether a candidate fails, and whether it passes."""
        failed, passed = self._decide(seen.values, seen.halves, seen.p, models)
        return bool(failed), bool(passed)

    def _decide(self, values: Sides, halves: Sides, p: Many, models: int) -> tuple[Any, Any]:
        """The rule itself, for one candidate or an array of them: failed, passed."""
        nulls, margins = self.nulls(models), self.margins(models)
        beyond = {name: values[name] - nulls[name].mean for name in self.rows}
        above = np.array([beyond[name] - halves[name] > margins[name] for name in self.rows])
        within = np.array([beyond[name] <= margins[name] for name in self.rows])
        rejected = np.less_equal(p, self.alpha)
        failed = above.any(axis=0) | (rejected & (beyond["forget"] > margins["forget"]))
        passed = ~failed & (beyond["forget"] + halves["forget"] < margins["forget"])
        passed &= within.all(axis=0)
        return failed, passed if self.margin is not None else passed & ~rejected

    def controls(self, models: int) -> dict[str, Any]:
        """Held-out gold in place of that many unlearned models, and the original; looked at once."""
        if models not in self._controls:
            self._controls[models] = self._look(models)
        return dict(self._controls[models])

    def _look(self, models: int) -> dict[str, Any]:
        nulls = self.nulls(models)
        judged = {name: null.values[: len(null.halves)] for name, null in nulls.items()}
        p = (judged["forget"][:, None] <= nulls["forget"].values[None]).mean(axis=1)
        failed, passed = self._decide(judged, {name: null.halves for name, null in nulls.items()}, p, models)
        count = min(len(self.original), models)
        original = self.see(self.original[:count]) if count >= LEAST["unlearned"] else None
        needed = needed_share(self.alpha * (1 + (self.margin is None)), len(p))
        beside = self.heldout is not None and len(self.heldout) >= models
        ours = self.see(self.heldout[:models]) if beside and self.heldout is not None else None
        return {
            "heldout_verdict": None if ours is None else word(*self.judge(ours, models)),
            "gold_passed": float(passed.mean()),
            "gold_accepted": float(1 - failed.mean()),
            "gold_needed": needed,
            "original_verdict": "inconclusive" if original is None else word(*self.judge(original, count)),
            "original_p": None if original is None else original.p,
            "original_values": {} if original is None else original.values,
        }


def method_audit(
    unlearned: FloatArray,
    reference: Reference,
    *,
    groups: npt.NDArray[Any] | None = None,
    least_gold: int = 20,
    least_unlearned: int = 20,
) -> MethodAudit:
    """Verdict on a method from several of its models, with both controls.

    Args:
        unlearned: [models_u >= 2, rows] margins, nats, on the rows of the reference.
        reference: gold, originals, thresholds.
        groups: [models_u] id of the original behind each unlearned model; None: each has its own. Only one model of
            each original is compared at a time, so that models of one original do not count as independent ones.
        least_gold: fewest gold models for a verdict.
        least_unlearned: fewest originals behind the unlearned models for a verdict.

    Returns:
        MethodAudit.

    Raises:
        ShapeError: arrays that do not fit or are not finite. NeedsError: fewer than 2 unlearned models.

    Source: see the head of the file.

    Example:
        >>> random = np.random.default_rng(0)
        >>> gold, split = random.normal(size=(40, 60)), np.repeat(["forget", "test"], 30)
        >>> seen = Reference(gold[:20], gold[:20] + 3, gold[20:], split)
        >>> method_audit(gold[:20] + 3, seen).verdict, method_audit(random.normal(size=(20, 60)), seen).verdict
        ('fail', 'pass')
    """
    check_margins(unlearned, reference.gold, None, None, least=LEAST)
    origin = np.arange(len(unlearned)) if groups is None else groups
    if origin.shape != (len(unlearned),):
        raise ShapeError(f"groups: expected one id per unlearned model ({len(unlearned)}), got {origin.shape}")
    draws = one_each(origin)
    originals = len(draws[0])
    alone = originals < LEAST["unlearned"]  # all models from one original: they stand for themselves, unjudged
    if alone:
        draws, count = [np.arange(len(unlearned))], len(unlearned)
    else:
        count = originals
    seen = _together([reference.see(unlearned[draw]) for draw in draws])
    controls = reference.controls(count)
    blocked = _obstacles(reference, count, controls, originals, least_gold, least_unlearned)
    failed, passed = reference.judge(seen, count)
    before = controls.pop("original_values")
    ours, golds = reference.sizes(count)
    numbers = {"unlearned": len(unlearned), "originals": originals, "gold": len(reference.gold)}
    return MethodAudit(
        verdict="inconclusive" if blocked else word(failed, passed),
        judged=not blocked,
        reasons=tuple(blocked or _explain(reference, seen, count)),
        limits=tuple(_limits(reference, alone, count)),
        distances={name: _distance(reference, name, seen, count, before.get(name), alone) for name in reference.rows},
        p=math.nan if alone else seen.p,
        controls=controls,
        models={**numbers, "ours": ours, "golds": golds},
        components=_components(unlearned, reference, origin),
        rows={name: _rows(reference, unlearned, np.flatnonzero(reference.split == name)) for name in reference.rows},
    )


def permutation_p(stack: FloatArray, ours: int, *, seed: int) -> float:
    """Exact p of the distance of the first `ours` models from the rest, by exchanging which models those are.

    Args:
        stack: [models, rows] margins of independent models, nats.
        ours: how many of them are under test.
        seed: of the permutations.

    Returns:
        p in [1 / 1000, 1].

    Example:
        >>> models = np.random.default_rng(0).normal(size=(20, 30))
        >>> models[:8] += 2
        >>> permutation_p(models, 8, seed=0)
        0.001
    """
    random = np.random.default_rng([abs(seed), 5])
    order = np.stack([np.arange(len(stack)), *(random.permutation(len(stack)) for _ in range(PERMUTATIONS))])
    left = chosen(order[:, :ours], len(stack))
    values = method_distances(stack, left, ~left)
    return float((values >= values[0]).mean())


def one_each(origin: npt.NDArray[Any]) -> list[IntArray]:
    """Choices of one model of every original: as many as the original with the most models has.

    Args:
        origin: [models] id of the original behind each model.

    Returns:
        Index arrays [originals]; an original with fewer models serves several times with the same ones.

    Example:
        >>> [draw.tolist() for draw in one_each(np.array([5, 5, 9]))]
        [[0, 2], [1, 2]]
    """
    runs = [np.flatnonzero(origin == one) for one in np.unique(origin)]
    return [np.array([run[turn % len(run)] for run in runs]) for turn in range(max(len(run) for run in runs))]


def _together(seen: list[_Seen]) -> _Seen:
    """Several draws as one: mean distances and half widths, twice the median p."""

    def mean(part: Callable[[_Seen], dict[str, float]]) -> dict[str, float]:
        return {name: float(np.mean([part(one)[name] for one in seen])) for name in part(seen[0])}

    p = seen[0].p if len(seen) == 1 else min(1.0, 2 * float(np.median([one.p for one in seen])))
    return _Seen(mean(lambda one: one.values), mean(lambda one: one.halves), p)


def _obstacles(
    reference: Reference, count: int, controls: dict[str, Any], originals: int, least_gold: int, least_unlearned: int
) -> list[str]:
    """Sentences that rule out any verdict but inconclusive; none looks at what the unlearned models put out."""
    found = []
    if len(reference.gold) < least_gold:
        found.append(f"{len(reference.gold)} gold models; the policy asks for at least {least_gold}.")
    if originals < least_unlearned:
        behind = "one original" if originals == 1 else f"{originals} originals"
        found.append(f"The unlearned models come from {behind}; the policy asks for at least {least_unlearned}.")
    if found:
        return found
    if originals < LEAST["unlearned"]:
        return ["All unlearned models come from one original: the spread over trainings is not covered."]
    null, margin = reference.nulls(count)["forget"], reference.margins(count)["forget"]
    if math.isnan(margin) or np.isnan(null.halves).any():
        ours, golds = reference.sizes(count)
        return [f"{ours} against {golds} models are too few for an interval."]
    if null.resolution > margin:
        return [f"Gold resolves the distance to {null.resolution:.3g} nats, coarser than its margin {margin:.3g}."]
    if controls["original_p"] is None:
        return ["No power: the control that must fail takes at least 2 originals."]
    if controls["original_p"] > reference.alpha:
        return [f"Nothing to forget: the original cannot be told from gold, exact p {controls['original_p']:.3g}."]
    if controls["gold_passed"] < controls["gold_needed"]:
        share, needed = controls["gold_passed"], controls["gold_needed"]
        return [f"Only {share:.0%} of the choices of held-out gold pass, {needed:.0%} are needed: miscalibrated."]
    if controls["heldout_verdict"] == "fail":
        return ["Held-out gold fails against gold: they do not come from one law, or by chance do not look so."]
    if controls["original_verdict"] != "fail":
        return [f"No power: the verdict on the original is {controls['original_verdict']}."]
    return []


def _explain(reference: Reference, seen: _Seen, count: int) -> list[str]:
    nulls, margins = reference.nulls(count), reference.margins(count)
    found = []
    for name in reference.rows:
        beyond, wide, margin = seen.values[name] - nulls[name].mean, seen.halves[name], margins[name]
        bounds = f"{beyond:.3g} ± {wide:.2g} nats beyond gold's own {nulls[name].mean:.3g}, margin {margin:.3g}"
        if beyond - wide > margin:
            found.append(f"The distance on {name} rows lies above its margin: {bounds}.")
        elif name != "forget" and beyond > margin:
            found.append(f"The distance on {name} rows is above its margin, though not wholly: {bounds}.")
        elif name == "forget":
            place = "under" if beyond + wide < margin else "not clearly under"
            found.append(f"The distance on {name} rows is {place} its margin: {bounds}.")
    outcome = "rejects" if seen.p <= reference.alpha else "does not reject"
    return [*found, f"The exact permutation test {outcome} at level {reference.alpha:g}: p = {seen.p:.3g}."]


def _limits(reference: Reference, alone: bool, count: int) -> list[str]:
    found = ["Place and spread of every row's margin are judged; its shape and dependence between rows are not."]
    if alone:
        found.append("All unlearned models come from one original: the spread over trainings is not covered.")
    if reference.sizes(count)[1] < len(reference.gold):
        ours, golds = reference.sizes(count)
        text = f"Fewer than {count} held-out gold models: the null is {ours} gold models against {golds} others"
        found.append(f"{text}, and the method is compared at those numbers.")
    return found


def _distance(
    reference: Reference, name: str, seen: _Seen, count: int, start: float | None, alone: bool
) -> dict[str, Any]:
    null, margin = reference.nulls(count)[name], reference.margins(count)[name]
    value, wide = seen.values[name], seen.halves[name]
    return {
        "value": value,
        "interval": None if alone or math.isnan(wide) else [value - wide, value + wide],
        "null": null.mean,
        "null_low": null.band[0],
        "null_high": null.band[1],
        "start": start,
        "beyond": value - null.mean,
        "margin": margin,
        "resolution": null.resolution,
    }


def _rows(reference: Reference, unlearned: FloatArray, at: IntArray) -> FloatArray:
    everyone = np.arange(len(unlearned) + len(reference.gold)) < len(unlearned)
    return row_distances(np.concatenate([unlearned[:, at], reference.gold[:, at]]), everyone, ~everyone)


def _components(unlearned: FloatArray, reference: Reference, origin: npt.NDArray[Any]) -> dict[str, float]:
    """Mean variances over forget rows, by one-way analysis of variance over originals."""
    at = reference.rows["forget"]
    ours = unlearned[:, at].astype(np.float64)
    found = {"gold": float(reference.gold[:, at].var(axis=0, ddof=1, dtype=np.float64).mean())}
    ids = np.unique(origin)
    means = np.stack([ours[origin == one].mean(axis=0) for one in ids])
    spare = len(ours) - len(ids)
    within = math.nan
    if spare:
        within = float(sum(((ours[origin == one] - ours[origin == one].mean(0)) ** 2).sum(0) for one in ids).mean())
        within /= spare
    between = float(means.var(axis=0, ddof=1).mean()) if len(ids) > 1 else math.nan
    share = float(np.mean([1 / (origin == one).sum() for one in ids]))  # of the variance within, left in a mean
    between -= within * share if spare else 0.0
    return found | {"originals": between if math.isnan(between) else max(0.0, between), "runs": within}
