"""Which model this is: a hash of its weights."""

from __future__ import annotations

import hashlib

from torch import nn


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over the names and contents of all parameters and buffers: equal for copies, different for seeds."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
