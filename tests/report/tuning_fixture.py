"""A result as the benchmark of tuning makes it, from a seeded generator: input for these tests, not a measurement."""

import numpy as np

TWINS = ("twin finetune", "twin fresh")
WAYS = (*TWINS, "holdout", "close")
METHODS = ("scrub", "ssd")
SETS = (("digits", "class:8:20"), ("digits", "random:30"), ("fashion-mnist@2000", "class:6:60"))
SETTINGS, GOLDS, REPLICATES = 8, 4, 2


def make_tuning(seed=0):
    """A result of schema 1 with twelve cells and every part."""
    draw = np.random.default_rng(seed)
    units = [
        {"data": data, "forget": spec, "kind": spec.split(":")[0], "replicate": at, "null": [0.3, 0.34]}
        for data, spec in SETS
        for at in range(REPLICATES)
    ]
    groups = [(None, None), ("digits", "class"), ("digits", "random"), ("fashion-mnist@2000", "class")]
    return {
        "schema": 1,
        "kind": "tuning",
        "title": "Tuning on twins against tuning on gold",
        "command": "python -m benchmarks tuning --out tuning.json",
        "seconds": 1234.5,
        "versions": {"expunge": "0.1.0", "torch": "2.13.0"},
        "machine": {"platform": "Linux x86_64", "cores": 2},
        "twins": list(TWINS),
        "ways": list(WAYS),
        "studies": [{"recipe": "digits-mlp", "forgets": ["class:8:20", "random:30"], "replicates": REPLICATES}],
        "size": {"methods": list(METHODS), "settings": SETTINGS, "gold": GOLDS, "twins": 2},
        "limits": ["Convolutional networks."],
        "units": units,
        "cells": [cell(unit, method, draw) for unit in units for method in METHODS],
        "summary": {
            "groups": [group(*one, draw) for one in groups],
            "expected": [statement("<= 0.25", 0.31, False), statement(">= 0.7", 0.88, True)],
            "controls": [
                {"name": "shuffled objective", "holds": True, "detail": "rank correlation 0.01"},
                {"name": "ratio rule broken, twin fresh", "holds": None, "detail": "no informative cell"},
            ],
        },
    }


def cell(unit, method, draw):
    level = np.concatenate([[1.4], draw.uniform(0.4, 4, SETTINGS)])
    own = {key: unit[key] for key in ("data", "forget", "kind", "replicate")}
    true = level[:, None] + 0.01 * draw.random((SETTINGS + 1, GOLDS))
    return {
        **own,
        "method": method,
        "settings": [None, *({"lr": 0.1}, {"lr": 0.01}) * (SETTINGS // 2)],
        "visits": [0.0, *[900.0] * SETTINGS],
        "true": true.tolist(),
        "true_forget": (level / 2).tolist(),
        "true_test": (level / 2).tolist(),
        "ways": {way: scores(level, 2 if way in TWINS else 1, draw) for way in WAYS},
        "places": {way: [int(draw.integers(SETTINGS + 1))] for way in WAYS}
        | {"default": [1], "gold, cross-fitted": [2, 3]},
        "regret": {"distance": {way: 1.0 for way in WAYS}, "relative": None},
    }


def scores(level, runs, draw):
    value = (level * draw.uniform(0.8, 1.2, (runs, len(level)))).tolist()
    return {"value": value, "lost": value, "forget": value, "check": value}


def statement(limit, value, holds):
    return {"way": "twin fresh", "text": "median relative regret", "value": value, "limit": limit, "holds": holds}


def group(data, kind, draw):
    chosen = [*WAYS, *(f"{way}, one twin" for way in TWINS), "random setting", "default", "gold, cross-fitted"]
    tests = {"rival": "close", "wins": 9, "of": 11, "p": 0.0327, "units_won": 4, "units_of": 5, "units_p": 0.19}
    parts = {
        name: {
            "cells": 12,
            "informative": 9,
            "ways": {way: numbers(way, draw) for way in chosen},
            "sign": {way: dict(tests) for way in TWINS},
        }
        for name in ("cells", "pooled")
    }
    several = {"cells": 7, "ways": {way: {"one": 0.61, "all": 0.37} for way in TWINS}}
    power = {way: {"holds": 5, "of": 8} for way in TWINS}
    return {"data": data, "kind": kind, "units": 6, "null": 0.32, "power": power, "several": several, **parts}


def numbers(way, draw):
    middle = float(draw.uniform(0, 1.5))
    order = {"rho": 0.71, "rho_forget": -0.24, "rho_check": 0.83, "overlap": 0.667} if way in WAYS else {}
    band = {"median": middle, "low": middle - 0.2, "high": middle + 0.3, "cells": 9}
    return {"distance": float(draw.uniform(0.5, 2)), "regret": band, **order}
