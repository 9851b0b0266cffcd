"""The parts that only some results have: verdicts, power, ROC, epsilon and strata, from a seeded generator."""

import numpy as np
from scipy.special import ndtr, ndtri

MEMBERS, HOLDOUT = 80, 300
FPR = np.geomspace(1 / HOLDOUT, 1, 40)
CEILING = 2.63
STRATA = {"low": (0.35, 0.62), "medium": (1.0, 0.7), "high": (1.5, 0.75)}  # share of the distance, and null
REASONS = {
    "pass": ["forget is under its margin: 0.004 ± 0.01 against margin 0.031.", "Every control holds."],
    "fail": [
        "forget lies above its margin: 0.71 ± 0.04 against margin 0.031.",
        "The exact permutation test on forget rows rejects at level 0.05: p = 0.001.",
    ],
    "inconclusive": ["forget is not clearly under its margin: 0.03 ± 0.02 against margin 0.031."],
}


def entry_verdict(way):
    """What an entry gets that is so far on its way to gold."""
    state = "pass" if way == 1 else "inconclusive" if 0.8 < way < 1 else "fail"
    return {"state": state, "reasons": list(REASONS[state])}


def together(way, estimate, draw):
    """The measures of all rows together."""
    gap = estimate(0.004 + 0.05 * abs(1 - way), 0.0041, 0.056, draw)
    gap["stats"], gap["extra"] = {}, {"forget_accuracy": 0.11 * abs(1 - way), "retain_accuracy": 0.002, "mia_auc": 0.3}
    tow = estimate(0.01 + 0.12 * abs(1 - way), 0.0102, 0.131, draw)
    tow["stats"], tow["extra"] = {}, {"tow": 0.99 - 0.12 * abs(1 - way), "tow_gold": 0.99, "null_low": 0.008}
    return {"average_gap": {"all": gap}, "tug_of_war": {"all": tow}}


def power(kind):
    models = "64 unlearned and 128 gold models" if kind == "method" else "64 gold models"
    return {
        "text": [
            f"With {models} and 80 forget rows, a shift of all forget rows by 0.32 gold standard deviations is seen "
            "in 8 of 10 tries.",
            "Anything finer is not seen, and a pass says nothing about it.",
        ],
        "items": [
            item("row", 0.507, "gold sd", "of one row, seen by a rank test with probability 0.8"),
            item("shift", 0.3213, "gold sd", "common to all forget rows, seen with probability 0.8"),
            item("auc_half_width", 0.0895, "AUC", "95%, with as many holdout as forget rows"),
            item("epsilon_ceiling", CEILING, "nats", "at level 0.05, with half of the models to judge"),
            item("threshold", None, "nats", "gold's own spread"),
            item("floor_klom", 50, "models a side", "reached"),
        ],
    }


def item(name, value, unit, detail):
    return {"name": name, "value": value, "unit": unit, "detail": detail}


def roc(steps):
    """Two normal laws; a method that went past gold ranks its forget rows below the holdout."""
    return {
        "attack": "likelihood ratio, 64 shadow models",
        "members": MEMBERS,
        "nonmembers": HOLDOUT,
        "fpr": FPR.tolist(),
        "entries": {name: curve(1.9 * (1 - way), name) for name, (_, way, _, _) in steps.items()},
    }


def curve(apart, name):
    def at(shift):
        tpr = ndtr(ndtri(np.minimum(FPR, 1 - 1e-12)) + apart + shift)
        return (np.floor(tpr * MEMBERS * 4 + 1e-9) / MEMBERS / 4).tolist()

    band = {"low": at(-0.2), "high": at(0.2)} if name in {"gold", "scrub", "unlearned"} else {"low": None, "high": None}
    return {"tpr": at(0.0), **band}


def epsilon(steps, draw):
    rows = [f"digits/forget/{row:04d}" for row in range(MEMBERS)]
    values = {name: bounds(abs(1 - way), draw) for name, (_, way, _, _) in steps.items() if name != "gold"}
    return {"ids": rows, "values": values, "null": bounds(0.02, draw), "ceiling": CEILING, "models": 128}


def bounds(level, draw):
    """Lower bounds: mostly 0 where there is little to see, never above the ceiling."""
    return np.clip(draw.normal(2.2 * level - 0.4, 0.35 + 0.4 * level, MEMBERS), 0, CEILING).round(4).tolist()


def strata(levels):
    """`levels` [entry name: KLoM on forget rows]."""
    return {
        "measure": "klom",
        "unit": "nats",
        "shadows": 64,
        "rows": {"low": 27, "medium": 27, "high": 26},
        "scores": {"low": [-0.06, 0.031], "medium": [0.031, 0.22], "high": [0.25, 0.97]},
        "values": {
            name: {stratum: 0.5 + (value - 0.5) * share for stratum, (share, _) in STRATA.items()}
            for name, value in levels.items()
        },
        "null": {stratum: null for stratum, (_, null) in STRATA.items()},
    }
