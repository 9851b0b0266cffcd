"""A result as a benchmark makes it, from a seeded generator: input for these tests, not a measurement."""

import numpy as np

from tests.report.parts import entry_verdict, epsilon, power, roc, strata, together

METHODS = {  # name: (label, share of the way to gold, share of one retraining, damage on the other rows)
    "finetune": ("fine-tuning", 0.12, 0.16, 0.0),
    "neggrad_plus": ("NegGrad+", 0.62, 0.11, 0.35),
    "gradient_ascent": ("gradient ascent", 1.75, 0.004, 1.6),
    "random_label": ("random labels", 0.45, 0.09, 0.3),
    "scrub": ("SCRUB", 0.86, 0.21, 0.15),
    "salun": ("SalUn", 0.71, 0.13, 0.2),
    "ssd": ("SSD", 0.55, 0.021, 0.55),
    "bad_teacher": ("bad teaching", 0.38, 0.07, 0.4),
    "retrain": ("retraining (as a method)", 1.0, 1.0, 0.0),
}
ROWS = {"forget": 80, "retain": 300, "test": 120}
START = {"forget": 9.2, "retain": 1.1, "test": 1.3}
NULL = {"forget": 0.7, "retain": 0.68, "test": 0.72}
EDGES = np.linspace(-8, 16, 61)
MARGIN = {"original": (7.5, 1.6), "gold": (1.6, 3.0)}  # forget rows: mean and spread, nats


def make_result(kind="method", seed=0):
    """A result of schema 1 with 11 entries, or 3 for kind "model", with every part that its kind may have."""
    draw, later = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    steps = {"original": ("original (do nothing)", 0.0, None, 0.0)}
    steps |= METHODS if kind == "method" else {"unlearned": ("unlearned (SCRUB)", 0.97, 0.21, 0.1)}
    steps["gold"] = ("gold (retrained)", 1.0, 1.0, 0.0)
    entries = [entry(name, *step, kind, draw) for name, step in steps.items()]
    for one, (_, way, _, _) in zip(entries, steps.values(), strict=True):
        one["measures"] |= together(way, estimate, later) if one["name"] != "gold" else {}
        one |= {"verdict": entry_verdict(way)} if kind == "method" else {}
    levels = {one["name"]: one["measures"]["klom"]["forget"]["value"] for one in entries[:-1]}
    return {
        "schema": 1,
        "kind": kind,
        "title": "Digits: forgetting 80 rows of class 3" if kind == "method" else "Audit of one unlearned model",
        "command": "expunge bench digits --forget class:3:80 --methods all --gold 128 --seed 0",
        "versions": {"expunge": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
        "machine": {"platform": "Linux x86_64", "cores": 2},
        "seed": seed,
        "problem": {
            "recipe": "digits-mlp",
            "data": "digits",
            "forget": "class:3:80",
            "forget_seed": 0,
            "rows": {"forget": 80, "retain": 1017, "holdout": 300, "test": 400},
        },
        "models": {"unlearned": 64 if kind == "method" else 1, "gold": 128, "heldout": 64, "original": 64},
        "retraining": {"visits": 30510.0, "seconds": 0.21},
        "verdict": verdict(kind),
        "power": power(kind),
        "statements": statements(),
        "entries": entries,
        "densities": {split: densities(steps, split, draw) for split in ROWS},
        "per_row": {
            "measure": "klom",
            "unit": "nats",
            **{split: per_row(steps, split, draw) for split in ROWS},
        },
        "roc": roc(steps),
        **({"epsilon": epsilon(steps, later)} if kind == "method" else {}),
        "strata": strata(levels),
        "limits": [
            "Rows outside the audited ones, and near duplicates of forget rows in retain.",
            "Attacks that see the weights, or the original and the unlearned model side by side.",
            "Other recipes, architectures and sizes of forget sets.",
        ],
    }


def verdict(kind):
    controls = [
        {
            "name": "held-out gold passes",
            "holds": True,
            "detail": "KLoM P95 0.71, null 0.70, over 64 held-out models.",
        },
        {"name": "the original fails", "holds": True, "detail": "KLoM P95 9.20, 13 times its null."},
    ]
    if kind == "model":
        reasons = ["Test accuracy lies inside gold's band, but the interval of KLoM on forget rows reaches its margin."]
        return {"state": "inconclusive", "reasons": reasons, "controls": controls}
    reasons = ["Each method has a verdict of its own: 1 pass, 7 fail, 1 inconclusive."]
    return {"state": "measured", "policy": "standard, sha256 0123456789ab", "reasons": reasons, "controls": controls}


def statements():
    return [
        {
            "text": "original against gold, KLoM P95 on forget rows, in units of its null",
            "value": 13.14,
            "limit": ">= 5",
            "holds": True,
        },
        {
            "text": "held-out gold against gold, in units of its null",
            "value": 1.014,
            "limit": "<= 1.5",
            "holds": True,
        },
        {
            "text": "the closest method on forget rows, test accuracy minus gold's",
            "value": -0.0213,
            "limit": ">= -0.02",
            "holds": False,
        },
    ]


def entry(name, label, way, cost, damage, kind, draw):
    role = "control" if name in {"original", "gold"} else "unlearned" if kind == "model" else "method"
    forget = 0.995 + (0.881 - 0.995) * way
    accuracy = {"forget": forget, "retain": 0.998 - 0.03 * damage, "test": 0.968 - 0.024 * damage}
    return {
        "name": name,
        "label": label,
        "role": role,
        "paper": "arXiv:2302.09880" if name in {"scrub", "neggrad_plus"} else "",
        "settings": {} if role == "control" else {"lr": 0.01, "epochs": 3},
        "accuracy": {split: around(value, 0.004, draw) for split, value in accuracy.items()},
        "measures": measures(name, way, damage, draw),
        "cost": costs(cost, name),
        "notes": {},
    }


def around(value, half, draw):
    value = float(np.clip(value + draw.normal(0, half / 4), 0, 1))
    return {"mean": value, "low": value - half, "high": min(value + half, 1.0)}


def costs(fraction, name):
    if fraction is None:
        return None
    visits = fraction * 30510.0
    backward = {"retain": round(visits / 3)} | ({} if name == "finetune" else {"forget": 240})
    return {
        "fraction": fraction,
        "visits": visits,
        "seconds": fraction * 0.21,
        "forward": {"retain": 80},
        "backward": backward,
    }


def level(split, way, damage):
    """KLoM P95 of an entry that far on its way."""
    return (
        NULL[split] + abs(1 - way) * (START[split] - NULL[split]) * (0.9 + 0.1 * way) + (split != "forget") * 2 * damage
    )


def measures(name, way, damage, draw):
    klom = {split: estimate(level(split, way, damage), NULL[split], START[split], draw) for split in ROWS}
    small = {split: estimate(0.05 + 0.6 * abs(1 - way), 0.0421, 0.652, draw) for split in ("forget", "test")}
    attack = estimate(0.31 * abs(1 - way) + 0.006, 0.0112, 0.3098, draw)
    attack["stats"], attack["extra"] = (
        {},
        {"unlearned_mean": 0.81 - 0.3 * way, "gold_mean": 0.51, "original_mean": 0.81, "null_high": 0.021},
    )
    found = {
        "klom": klom,
        "gaussian_kl": small,
        "jensen_shannon": {"forget": small["forget"]},
        "population_attack": {"forget": attack},
    }
    return {} if name == "gold" else found


def estimate(value, null, start, draw):
    value *= float(draw.uniform(0.97, 1.03))
    stats = {"mean": value * 0.41, "p50": value * 0.33, "p95": value, "p99": value * 1.2}
    return {
        "value": value,
        "interval": [value * 0.94, value * 1.07],
        "null": null,
        "start": start,
        "stats": stats,
        "extra": {"reverse": value * 0.9, "debiased": value - null, "null_low": null * 0.93, "null_high": null * 1.08},
    }


def densities(steps, split, draw):
    shown = {name: margins(way, damage, split, draw) for name, (_, way, _, damage) in steps.items()}
    return {
        "edges": EDGES.tolist(),
        "density": {name: np.histogram(values, EDGES, density=True)[0].tolist() for name, values in shown.items()},
    }


def margins(way, damage, split, draw):
    (start, narrow), (end, broad) = MARGIN["original"], MARGIN["gold"]
    if split != "forget":
        return draw.normal(7.3 - 2.0 * damage - (split == "test"), 1.7 + damage + 0.6 * (split == "test"), 8000)
    return draw.normal(start + (end - start) * way, narrow + (broad - narrow) * min(way, 1.2), 8000)


def per_row(steps, split, draw):
    rows = ROWS[split]
    levels = {name: level(split, way, damage) for name, (_, way, _, damage) in steps.items() if name != "gold"}
    return {
        "ids": [f"digits/{split}/{row:04d}" for row in range(rows)],
        "labels": [3] * rows if split == "forget" else draw.integers(0, 10, rows).tolist(),
        "values": {name: spread(top, rows, draw) for name, top in levels.items()},
        "null": spread(NULL[split], rows, draw),
    }


def spread(top, rows, draw):
    """Distances whose 95th percentile is about `top`."""
    return (top * np.minimum(draw.gamma(2.0, 1.0, rows) / 4.74, 1.3)).tolist()
