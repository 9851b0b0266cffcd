"""Row z: how many gold standard deviations each row's margin lies from gold, for one unlearned model.

Source:     leave-one-out prediction, see `loo`; own construction.
Objective:  |z_x - mean of z over test rows|: the confidence drift that every seed has is taken out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from expunge.audit.estimate import Estimate, check_margins, summary
from expunge.audit.jackknife import FloatArray
from expunge.audit.loo import centred, loo_z

LEAST = {"unlearned": 1, "gold": 4}


def row_z(
    unlearned: FloatArray, gold: FloatArray, original: FloatArray | None, *, test: npt.NDArray[np.bool_]
) -> dict[str, FloatArray | None]:
    """Centred |z| of one model, of the original and of each gold model against the other gold models.

    Args:
        unlearned: [1, rows] margins, nats.
        gold: [models_g, rows] margins, nats.
        original: [1, rows] margins, nats, or None.
        test: [rows] true on test rows.

    Returns:
        "unlearned" [rows], "original" [rows] or None, "gold" [models_g, rows], in gold standard deviations.

    Raises:
        ShapeError, NeedsError: see `check_margins`.

    Example:
        >>> gold = np.array([[0.0, 0.0], [2.0, 2.0], [4.0, 4.0], [6.0, 6.0]])
        >>> row_z(gold[:1], gold, None, test=np.array([True, False]))["unlearned"].tolist()
        [0.0, 0.0]
    """
    check_margins(unlearned, gold, original, None, least=LEAST)

    def alone(candidate: FloatArray) -> FloatArray:
        z, _ = centred(loo_z(np.concatenate([candidate[:1], gold])), test)
        return np.asarray(np.abs(z[0]))

    return {
        "unlearned": alone(unlearned),
        "original": None if original is None else alone(original),
        "gold": np.abs(centred(loo_z(gold), test)[0]),
    }


def row_z_estimate(found: dict[str, FloatArray | None], at: npt.NDArray[np.int64]) -> Estimate:
    """The P95 over the rows `at` [split rows] of what `row_z` found, beside gold's own.

    Returns:
        Estimate in gold standard deviations; the null is the mean over gold models of their own P95, and
        `extra` holds the largest of them as `null_high`. No interval: the claim is about this one model.
    """
    rows, gold, start = found["unlearned"], found["gold"], found["original"]
    assert rows is not None
    assert gold is not None
    golds = np.percentile(gold[:, at], 95, axis=1)
    stats = summary(rows[at])
    return Estimate(
        "row_z",
        stats["p95"],
        None,
        float(golds.mean()),
        None if start is None else float(np.percentile(start[at], 95)),
        rows[at],
        stats,
        {"null_high": float(golds.max())},
    )
