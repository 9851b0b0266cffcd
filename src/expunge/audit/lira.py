"""LiRA: is a row's margin more likely under models trained with the row, or under models trained without it?

Source:     Carlini et al., "Membership Inference Attacks From First Principles", S&P 2022.
Objective:  online: mean over queries of log N(m; mu_in, sd_in) - log N(m; mu_out, sd_out);
            offline_cdf: Phi((m - mu_out) / sd_out);  offline_logpdf: -log N(m; mu_out, sd_out).
Deviations: 1. offline_logpdf is two-sided (much below OUT counts as member, too), as in published code; its sign
            is turned so that higher = member.
            2. pooled_raw is there for parity only: it mixes the spread between rows into the sd.
            3. in and out counts may differ from row to row; nothing is cut to the smaller one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from expunge.audit.estimate import Estimate, check_finite, check_margins
from expunge.audit.jackknife import FloatArray
from expunge.audit.normal_law import CENTERS, VARIANCES, Law, log_density, normal_law
from expunge.audit.roc import attack_gap, check_forget
from expunge.errors import NeedsError, ShapeError, check

LEAST = {"unlearned": 1, "gold": 2, "shadows": 4}  # shadows: 2 with and 2 without every row; 16 advised
MODES = ("online", "offline_cdf", "offline_logpdf")
SMALL = 32  # models on a side of a row below which its own sd is too noisy: half of 64


def half_masks(shadows: int, rows: int, *, seed: int) -> npt.NDArray[np.bool_]:
    """Which rows each shadow model is trained on: every row in exactly half of the models, independently.

    One fleet of this design serves LiRA, RMIA, U-LiRA and memorisation scores.

    Args:
        shadows: models, even, >= 2.
        rows: training rows.
        seed: of the design.

    Returns:
        [shadows, rows] bool.

    Raises:
        ConfigError: an odd or too small number of shadows.

    Source: Carlini et al. 2022, inclusion probability one half.

    Example:
        >>> half_masks(4, 3, seed=0).sum(axis=0).tolist()
        [2, 2, 2]
    """
    check("shadows", shadows, "an even number >= 2", shadows >= 2 and shadows % 2 == 0)
    check("rows", rows, ">= 0", rows >= 0)
    design = np.zeros((shadows, rows), dtype=bool)
    design[: shadows // 2] = True
    return np.random.default_rng(seed).permuted(design, axis=0)


def lira(
    unlearned: FloatArray,
    gold: FloatArray,
    original: FloatArray | None,
    *,
    shadows: FloatArray,
    membership: npt.NDArray[np.bool_],
    forget: npt.NDArray[np.bool_],
    mode: str = "online",
    variance: str | None = None,
    center: str = "median",
    statistic: str = "auc",
    rate: float = 0.01,
    groups: npt.NDArray[Any] | None = None,
) -> Estimate:
    """Gap between the likelihood-ratio attack's success on the unlearned models and on gold.

    Args:
        unlearned: [models_u, rows] or [models_u, queries, rows] margins of forget and holdout rows, nats.
        gold: [models_g, ...] likewise.
        original: [models_o, ...] likewise, or None: where the audit starts.
        shadows: [shadows, ...] likewise, of models that are none of the above; 16 to 256.
        membership: [shadows, rows] true where the shadow was trained on the row, see `half_masks`.
        forget: [rows] true on forget rows (members), false on holdout rows.
        mode: online, offline_cdf or offline_logpdf; the latter two look at shadows trained without the row alone.
        variance: per_row, pooled_centered or pooled_raw; None takes per_row from 32 models a side of each row on.
        center: median or mean of the shadows.
        statistic: auc, tpr or balanced_accuracy: which one is the value.
        rate: false-positive rate of tpr, in [0, 1).
        groups: [models_u] id of the original behind each unlearned model.

    Returns:
        Estimate of the gap to gold's mean; extra: see `attack_gap`.

    Raises:
        ConfigError: unknown option. ShapeError: arrays that do not fit or are not finite. NeedsError: too few
        models, a row with fewer than 2 shadows on a side, or too few holdout rows for statistic "tpr".

    Source: see the head of the file; gold as reference is ours.

    Example:
        >>> shadows = np.array([[3.0, 3.0], [4.0, 4.0], [0.0, 0.0], [1.0, 1.0]])
        >>> inside, attacked = np.array([[True] * 2] * 2 + [[False] * 2] * 2), np.array([True, False])
        >>> even, split = np.array([[1.0, 1.0]] * 2), np.array([[4.0, 1.0]])
        >>> lira(split, even, None, shadows=shadows, membership=inside, forget=attacked).value
        0.5
    """
    roles = {"unlearned": unlearned, "gold": gold} | ({} if original is None else {"original": original})
    check_margins(unlearned, gold, original, None, least=LEAST, ndim=gold.ndim)
    check_forget(forget, gold.shape[-1])
    if groups is not None and groups.shape != (len(unlearned),):
        raise ShapeError(f"groups: expected one id per unlearned model ({len(unlearned)}), got {groups.shape}")
    everyone = np.concatenate(list(roles.values()))
    found = lira_scores(everyone, shadows, membership=membership, mode=mode, variance=variance, center=center)
    parts = np.split(found, np.cumsum([len(part) for part in roles.values()])[:-1])
    scores = dict(zip(roles, parts, strict=True))
    return attack_gap("lira", scores, forget, statistic=statistic, rate=rate, groups=groups)


def lira_scores(
    targets: FloatArray,
    shadows: FloatArray,
    *,
    membership: npt.NDArray[np.bool_],
    mode: str = "online",
    variance: str | None = None,
    center: str = "median",
) -> FloatArray:
    """Membership score of every row in every target model, higher = member.

    Args:
        targets: [targets, rows] or [targets, queries, rows] margins, nats; no target may be a shadow.
        shadows: [shadows, rows] or [shadows, queries, rows] margins, nats.
        membership: [shadows, rows] bool.
        mode: online, offline_cdf (a probability) or offline_logpdf.
        variance: per_row, pooled_centered, pooled_raw, or None: see `lira`. Pooled: one sd for all rows and
            queries, of the margins less their row's center, or raw (online, raw: the sd of IN for both sides).
        center: median or mean.

    Returns:
        [targets, rows] float64, nats (offline_cdf: in [0, 1]), mean over queries.

    Raises:
        ConfigError: unknown option. ShapeError: arrays that do not fit or are not finite. NeedsError: a row with
        fewer than 2 shadows on a side that `mode` looks at.

    Example:
        >>> shadows = np.array([[3.0], [4.0], [0.0], [1.0]])
        >>> inside = np.array([[True], [True], [False], [False]])
        >>> lira_scores(np.array([[2.0]]), shadows, membership=inside, variance="per_row").tolist()
        [[0.0]]
    """
    for name, value, known in (("mode", mode, MODES), ("center", center, CENTERS)):
        check(name, value, ", ".join(known), value in known)
    check("variance", variance, ", ".join(VARIANCES) + " or None", variance in {None, *VARIANCES})
    _check(targets, shadows, membership)
    queries = 1 if shadows.ndim == 2 else shadows.shape[1]
    flat, member = shadows.reshape(len(shadows), -1), np.tile(membership, queries)
    sides = {"in": member, "out": ~member} if mode == "online" else {"out": ~member}
    fewest = min(_fewest(mask, side) for side, mask in sides.items())
    chosen = variance or ("per_row" if fewest >= SMALL else "pooled_centered")
    laws = {side: normal_law(flat, mask, variance=chosen, center=center) for side, mask in sides.items()}
    if mode == "online" and chosen == "pooled_raw":
        laws["out"] = laws["out"]._replace(sd=laws["in"].sd)
    rows = membership.shape[1]
    out = np.empty((len(targets), rows))
    for at, one in enumerate(targets):
        out[at] = _score(one.reshape(-1).astype(np.float64), laws, mode).reshape(queries, rows).mean(axis=0)
    return out


def _score(margin: FloatArray, laws: dict[str, Law], mode: str) -> FloatArray:
    if mode == "online":
        return log_density(margin, laws["in"]) - log_density(margin, laws["out"])
    if mode == "offline_logpdf":
        return -log_density(margin, laws["out"])
    return np.asarray(ndtr((margin - laws["out"].center) / laws["out"].sd))


def _fewest(member: npt.NDArray[np.bool_], side: str) -> int:
    """Fewest models of a row on this side; an error that names the row if there are fewer than 2."""
    counts = member.sum(axis=0)
    row = int(counts.argmin())
    if counts[row] < 2:
        raise NeedsError(
            f"LiRA needs at least 2 shadow models with each row {side}, got {counts[row]} for row {row}",
            hint="draw the fleet's masks with half_masks",
        )
    return int(counts[row])


def _check(targets: FloatArray, shadows: FloatArray, membership: npt.NDArray[np.bool_]) -> None:
    if shadows.ndim not in {2, 3} or targets.ndim != shadows.ndim or targets.shape[1:] != shadows.shape[1:]:
        raise ShapeError(
            f"expected targets and shadows [models, (queries,) rows], got {targets.shape}, {shadows.shape}"
        )
    if membership.shape != (len(shadows), shadows.shape[-1]) or membership.dtype != np.bool_:
        wanted = (len(shadows), shadows.shape[-1])
        raise ShapeError(f"membership: expected {wanted} bool, got {membership.shape} {membership.dtype}")
    if not membership.size:
        raise ShapeError(f"membership: expected at least 1 shadow and 1 row, got {membership.shape}")
    check_finite("targets", targets)
    check_finite("shadows", shadows)
