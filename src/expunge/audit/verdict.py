"""From distances, exact tests and controls to pass, fail or inconclusive, with the sentences that say why.

Verdict:    fail          a distance lies above its margin with its whole interval, or the exact test rejects
                          and a forget distance is above its margin or a forget row is flagged;
            pass          every forget distance has its upper bound under its margin, every other judged distance
                          lies under its own, and nothing fails; where gold itself gives the margins, the exact test
                          must not reject either: what can be told from gold never passes;
            inconclusive  anything else, and always when gold is too small, a margin is finer than gold
                          resolves, held-out gold does not pass, or the original does not fail.
Source:     equivalence testing: an interval under its margin, never "no difference found".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.distance_to_gold import Distance, Masks
from expunge.audit.jackknife import FloatArray

FLOOR_GOLD = 19  # below, a rank p cannot reach 0.05
ADVISED_TEST = 400  # test rows behind the centring
SINGLE_ROW_GOLD = 40  # below, no single row can be flagged by signed tails


def judge(
    far: dict[str, Distance], p: FloatArray, flags: npt.NDArray[np.intp], alpha: float, *, derived: bool = False
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Whether each model fails, and whether it passes.

    Args:
        far: distances of unlearned, original, then each gold.
        p: [2 + golds] exact omnibus p on forget rows.
        flags: [2 + golds] number of flagged forget rows.
        alpha: level of the exact test.
        derived: whether gold's own spread gave a margin on forget rows; a rejection then bars a pass.

    Returns:
        failed and passed, [2 + golds] bool each; neither means inconclusive.
    """
    failed = np.zeros(len(p), dtype=bool)
    passed = np.ones(len(p), dtype=bool)
    for name, distance in far.items():
        if distance.resolved:
            failed |= distance.sizes - distance.halves > distance.margin
        if name.startswith("forget."):
            failed |= (p <= alpha) & (distance.sizes > distance.margin)
            passed &= distance.sizes + distance.halves < distance.margin
        elif distance.resolved:
            passed &= distance.sizes <= distance.margin
    if derived:
        passed &= p > alpha
    failed |= (p <= alpha) & (flags > 0)
    return failed, passed & ~failed


def word(failed: bool, passed: bool) -> str:
    """The verdict of one model as a word."""
    return "fail" if failed else "pass" if passed else "inconclusive"


def run_controls(
    failed: npt.NDArray[np.bool_],
    passed: npt.NDArray[np.bool_],
    original_p: float,
    alpha: float,
    *,
    derived: bool = False,
) -> dict[str, object]:
    """Share of held-out golds that pass, the share needed, and what the original gets.

    A gold model exceeds its margins with probability alpha and, where they are derived, is rejected by the exact test
    with probability alpha too; two standard errors are allowed beyond that.
    """
    golds = len(failed) - 2
    return {
        "gold_passed": float(passed[2:].mean()),
        "gold_accepted": float(1 - failed[2:].mean()),
        "gold_needed": needed_share(alpha * (1 + derived), golds),
        "original_verdict": word(bool(failed[1]), bool(passed[1])),
        "original_p": original_p,
    }


def needed_share(chance: float, choices: int) -> float:
    """Share of gold that has to pass where each fails to with that chance: two standard errors are allowed.

    Example:
        >>> round(needed_share(0.05, 100), 3)
        0.906
    """
    return 1 - chance - 2 * math.sqrt(chance * (1 - chance) / choices)


def obstacles(
    golds: int, far: dict[str, Distance], controls: dict[str, Any], alpha: float, least_gold: int
) -> list[str]:
    """Sentences that rule out any verdict but inconclusive; none looks at the unlearned model."""
    least = max(FLOOR_GOLD, math.ceil(1 / alpha - 1 - 1e-9))
    if golds < least:
        return [f"{golds} gold models cannot reach level {alpha:g}: at least {least} are needed."]
    if golds < least_gold:
        return [f"{golds} gold models; the policy asks for at least {least_gold}."]
    found = [
        f"Gold resolves {name} to {far[name].resolution:.3g}, coarser than its margin {far[name].margin:.3g}."
        for name in ("forget.shift", "forget.excess")
        if not far[name].resolved
    ]
    if not found and controls["gold_passed"] < controls["gold_needed"]:
        share, needed = controls["gold_passed"], controls["gold_needed"]
        found.append(f"Only {share:.0%} of held-out gold models pass, {needed:.0%} are needed: miscalibrated.")
    if not found and controls["original_verdict"] != "fail":
        found.append(
            f"The original does not fail (exact p {controls['original_p']:.3g}): no power or nothing to forget."
        )
    return found


def explain(far: dict[str, Distance], p: float, flags: int, alpha: float) -> list[str]:
    """Sentences about the unlearned model, which is model 0 of every distance."""
    found = []
    for name, distance in far.items():
        size, half = float(distance.sizes[0]), float(distance.halves[0])
        bounds = f"{size:.3g} ± {half:.2g} against margin {distance.margin:.3g}"
        if distance.resolved and size - half > distance.margin:
            found.append(f"{name} lies above its margin: {bounds}.")
        elif distance.resolved and not name.startswith("forget.") and size > distance.margin:
            found.append(f"{name} is above its margin, though not with its whole interval: {bounds}.")
        elif name.startswith("forget."):
            place = "under" if size + half < distance.margin else "not clearly under"
            found.append(f"{name} is {place} its margin: {bounds}.")
    outcome = "rejects" if p <= alpha else "does not reject"
    found.append(f"The exact omnibus test on forget rows {outcome} at level {alpha:g}: p = {p:.3g}.")
    if flags:
        found.append(f"{flags} forget rows differ from gold at false discovery rate {alpha:g}.")
    return found


def blind_spots(golds: int, masks: Masks, far: dict[str, Distance]) -> list[str]:
    """What this audit could not see, as sentences."""
    found = ["One model: how outputs vary over runs of the method is not seen."]
    if masks["test"].sum() < ADVISED_TEST:
        found.append(f"Centring rests on {masks['test'].sum()} test rows; {ADVISED_TEST} are advised.")
    if golds < SINGLE_ROW_GOLD:
        found.append(
            f"{golds} gold models cannot flag a single row, {SINGLE_ROW_GOLD} can: one remembered row may pass."
        )
    for name, distance in far.items():
        if not distance.resolved and not name.startswith("forget."):
            found.append(f"{name} was not judged: gold resolves it only to {distance.resolution:.3g}.")
    return found
