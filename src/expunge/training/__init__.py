"""Training: Recipe, the one gradient loop, streams, cost."""

from expunge.training.cost import Cost, Meter
from expunge.training.descend import descend, hold_outside, set_mode
from expunge.training.fit import Trained, fit, follow, input_shape, train, train_on
from expunge.training.recipe import Recipe
from expunge.training.run import Progress, Run, check_device, predict, silent
from expunge.training.stream import Batch, Stream, member_mask
from expunge.training.weights import weights_hash

__all__ = [
    "Batch",
    "Cost",
    "Meter",
    "Progress",
    "Recipe",
    "Run",
    "Stream",
    "Trained",
    "check_device",
    "descend",
    "fit",
    "follow",
    "hold_outside",
    "input_shape",
    "member_mask",
    "predict",
    "set_mode",
    "silent",
    "train",
    "train_on",
    "weights_hash",
]
