"""Presets: each names a full configuration, of which any setting can be replaced; and those of `reset_finetune`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from expunge.errors import unknown
from expunge.methods.method import Method

FROM_PRESET: Any = None
"""Default of a setting that the preset fills in."""


def fill(method: Method, preset: str, presets: Mapping[str, Mapping[str, Any]]) -> None:
    """Give every setting that was not given its value in the preset; for `__post_init__` of a frozen method.

    Raises:
        ConfigError: no preset is called that; with close matches.
    """
    if preset not in presets:
        raise unknown("preset", preset, presets, f"expunge methods {method.name()}")
    for one in fields(method):
        if getattr(method, one.name) is FROM_PRESET:
            object.__setattr__(method, one.name, presets[preset][one.name])


PLAIN: dict[str, Any] = {
    "selector": "random_weights",
    "share": 1.0,
    "perturbation": "reinitialise",
    "noise": 0.0,
    "objective": "loss",
    "temperature": 1.0,
    "input_noise": 0.0,
    "cycles": 1,
    "epochs": 3,
    "holdout_epochs": 0,
    "kept_rate": 1.0,
    "lr": 1e-3,
    "schedule": "cosine",
    "weight_decay": 5e-4,
    "half": False,
}
"""What a preset does not say otherwise."""

MSG = {"selector": "small_gradient", "share": 0.3, "epochs": 5, "schedule": "triangle", "kept_rate": 0.1}
CT = {"selector": "convolutions", "perturbation": "transpose"}
CFW = {"selector": "first", "perturbation": "add_noise", "noise": 0.6, "epochs": 4, "lr": 7e-4}
PRMQ = {"selector": "small_magnitude", "share": 0.99, "objective": "match_entropy", "lr": 5e-4, "half": True}
KDE = {"selector": "ends", "objective": "distil", "temperature": 5.0, "holdout_epochs": 3}
CYC = {"selector": "random_layers", "share": 0.3, "objective": "mimic", "input_noise": 0.05, "cycles": 3}

PRESETS: dict[str, dict[str, Any]] = {
    "msg": PLAIN | MSG,
    "ct": PLAIN | CT,
    "cfw": PLAIN | CFW,
    "prmq": PLAIN | PRMQ,
    "kde": PLAIN | KDE,
    "cyc": PLAIN | CYC,
}
