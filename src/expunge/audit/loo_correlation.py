"""LOO correlation: do scores order single training rows as models trained without each of them do?

Source:     leave-one-out retraining as ground truth, Koh & Liang 2017, arXiv:1703.04730; benchmarked by dattri.
Objective:  for each target the Spearman correlation, over rows left out one at a time, of the row's score with the
            output of models trained with it less that of models trained without; then the mean over targets.
Deviations: as of `lds`. For networks one row moves outputs far less than the seed does: the ceiling then is near 0, and
            so is every estimator; look at the ceiling first.
"""

from __future__ import annotations

from expunge.audit.jackknife import FloatArray
from expunge.audit.lds import LEAST, Lds, correlated

__all__ = ["LEAST", "loo_correlation"]


def loo_correlation(scores: FloatArray, effects: FloatArray, *, seed: int) -> Lds:
    """Correlation of scores with the effect of leaving out single rows.

    Args:
        scores: [rows left out, targets]; positive: the row raises the target's output.
        effects: [seeds, rows left out, targets] output (margin, nats) of a model with the row less that of the model
            without it; 2 seeds or more.
        seed: of the shuffles behind the null and of the halves where there are many seeds.

    Returns:
        Lds; `subsets` counts the rows left out.

    Raises:
        ShapeError: arrays that do not fit or are not finite. NeedsError: fewer than 10 rows or 2 seeds.

    Source: Koh & Liang 2017; ceiling and null are ours.

    Example:
        >>> import numpy as np
        >>> gone = np.arange(12.0)[:, None]
        >>> round(loo_correlation(-gone, np.stack([gone, gone]), seed=0).value, 6)
        -1.0
    """
    return correlated("loo_correlation", scores, effects, seed=seed)
