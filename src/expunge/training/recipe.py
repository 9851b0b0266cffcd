"""Recipe: everything that training a model from scratch needs, except the rows and the seed."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import nn

from expunge.errors import ConfigError, StoreError, check
from expunge.models import build
from expunge.models.layout import channels_last
from expunge.seeds import generator, lent
from expunge.tasks import Task, task_from_dict, task_to_dict
from expunge.training.augment import AUGMENTATIONS
from expunge.training.optim import OPTIMIZERS, SCHEDULES


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained. Two equal recipes, on equal rows with equal seeds, give equal models.

    Raises:
        ConfigError: a value is outside its range or a name is unknown.
    """

    name: str
    """What people call it, such as "digits-mlp"; not part of the fingerprint."""
    data: str = ""
    """The data set it is meant for, such as "digits"; empty where rows come from Python."""
    model: str = "mlp"
    """A name from `expunge recipes`, `timm:NAME`, or `path/file.py:function`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the architecture."""
    task: Task
    """What an output means."""
    optimizer: str = "sgd"
    """"sgd", "adam" or "adamw"."""
    lr: float = 0.05
    """Peak step size, > 0."""
    momentum: float = 0.9
    """Of "sgd", in [0, 1)."""
    weight_decay: float = 5e-4
    """L2 coefficient, >= 0."""
    schedule: str = "cosine"
    """"constant", "cosine", "linear" or "triangle"."""
    epochs: int = 30
    """Passes over the rows, >= 1."""
    batch_size: int = 64
    """Rows a step, >= 1."""
    augmentation: tuple[str, ...] = ()
    """Applied in order to each batch: "flip", "crop"."""
    precision: str = "float32"
    """"float32" or "bf16" (autocast; weights stay float32)."""
    channels_last: bool = False
    """Memory layout of convolutional weights; faster on most devices in bf16. Not taken where it is unsafe."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "augmentation", tuple(self.augmentation))
        object.__setattr__(self, "arguments", _plain(self.arguments))
        check("lr", self.lr, "finite and > 0", 0 < self.lr < math.inf)
        check("momentum", self.momentum, "in [0, 1)", 0 <= self.momentum < 1)
        check("weight_decay", self.weight_decay, ">= 0", self.weight_decay >= 0)
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            check(name, value, "a whole number >= 1", isinstance(value, int) and value >= 1)
        check("optimizer", self.optimizer, f"one of {', '.join(OPTIMIZERS)}", self.optimizer in OPTIMIZERS)
        check("schedule", self.schedule, f"one of {', '.join(SCHEDULES)}", self.schedule in SCHEDULES)
        check("precision", self.precision, "float32 or bf16", self.precision in ("float32", "bf16"))
        for name in self.augmentation:
            check("augmentation", name, f"one of {', '.join(AUGMENTATIONS)}", name in AUGMENTATIONS)

    def fresh(self, shape: tuple[int, ...], seed: int) -> nn.Module:
        """A newly built and newly initialised model.

        Args:
            shape: Of one row's input, such as (1, 28, 28).
            seed: Root seed; the role is "init".
        """
        with lent(generator(seed, "init")):
            model = build(self.model, shape=shape, width=self.task.width, **self.arguments)
        # here, so that a model read back from a file has the layout it was trained in
        return channels_last(model) if self.channels_last else model

    @property
    def half(self) -> int:
        """Half of the epochs, rounded down: after these, a training that is asked to keeps its model as it is."""
        return self.epochs // 2

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a manifest."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**data, "task": task_to_dict(self.task), "augmentation": list(self.augmentation)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Recipe:
        """The recipe that `to_dict` wrote down.

        Raises:
            StoreError: a field is unknown to this version or absent.
        """
        try:
            return Recipe(**{**data, "task": task_from_dict(data["task"])})
        except (TypeError, KeyError) as error:
            raise StoreError(f"recipe: not one of this version ({error})") from None

    @property
    def code(self) -> str:
        """SHA-256 of the person's own file that holds the model; empty for a model by name.

        Raises:
            ConfigError: there is no such file.
        """
        path = Path(self.model.rpartition(":")[0])
        if path.suffix != ".py":
            return ""
        check("model", self.model, "an existing file", path.is_file())
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 of all that changes the trained model: not its name, but the code of a person's own model."""
        data = {key: value for key, value in self.to_dict().items() if key not in ("name", "data")}
        if self.code:
            data["code"] = self.code
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """A copy as a manifest gives it back, so that a recipe equals itself after a round trip."""
    try:
        return dict(json.loads(json.dumps(arguments)))
    except (TypeError, ValueError):
        raise ConfigError(f"arguments: expected names with plain numbers, text and lists, got {arguments!r}") from None
