"""A small vision transformer.

Source:     Dosovitskiy et al., ICLR 2021, arXiv:2010.11929.
Deviations: 1. sizes for small images: patches of 4 x 4 pixels, 6 blocks of 128 values by default.
            2. mean pooling by default (`pooling="cls"` is the paper's).

Attention is written out: torch's fused kernels have no second derivative and no rule for `vmap` on the CPU, and
influence functions, per-row gradients and stacked fleets need them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from expunge.errors import check
from expunge.models.checks import image, share, whole


class Tokens(nn.Module):
    """Learnt positions, and a learnt class token in front where asked.

    Its parameters stand here and not on the whole network, so that they belong to a leaf module.
    """

    def __init__(self, tokens: int, size: int, *, cls: bool) -> None:
        super().__init__()
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(tokens + cls, size), std=0.02))
        self.cls = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, size), std=0.02)) if cls else None

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, tokens, size]`, or one token more with a class token."""
        if self.cls is not None:
            x = torch.cat([self.cls.expand(len(x), 1, -1), x], dim=1)
        return x + self.positions


class Attention(nn.Module):
    """Multi-head self-attention, `[batch, tokens, size]`."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.joint = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        """Queries, keys and values come from one dense layer."""
        split = self.joint(x).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [batch, heads, tokens, size / heads]
        weights = (query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(-1)
        mixed = weights @ value
        return self.out(mixed.transpose(1, 2).flatten(-2))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a dense layer of 4 times the size, both residual."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attend = nn.Sequential(nn.LayerNorm(size), Attention(size, heads), nn.Dropout(dropout))
        self.think = nn.Sequential(
            nn.LayerNorm(size),
            nn.Linear(size, 4 * size),
            nn.GELU(),
            nn.Linear(4 * size, size),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, tokens, size]`, kept."""
        x = x + self.attend(x)
        return x + self.think(x)  # type: ignore[no-any-return]


class Pool(nn.Module):
    """`[batch, tokens, size]` to `[batch, size]`: the class token, or the mean of all tokens."""

    def __init__(self, *, cls: bool) -> None:
        super().__init__()
        self.cls = cls

    def forward(self, x: Tensor) -> Tensor:
        """The class token stands first."""
        return x[:, 0] if self.cls else x.mean(1)


def vit(
    shape: tuple[int, ...],
    width: int,
    *,
    patch: int = 4,
    size: int = 128,
    depth: int = 6,
    heads: int = 4,
    dropout: float = 0.0,
    pooling: str = "mean",
) -> nn.Module:
    """Patches, transformer blocks, a last layer norm and one dense layer.

    Args:
        shape: (channels, height, width) of one row; both sides a multiple of `patch`.
        width: Outputs per row.
        patch: Side of a square patch in pixels.
        size: Values per token, a multiple of `heads`.
        depth: Blocks.
        heads: Attention heads.
        dropout: Share of values dropped after attention and after the dense layers, in [0, 1).
        pooling: "mean" over the tokens, or "cls" for a class token.
    """
    colours, height, across = image("vit", shape)
    for name, value in (("patch", patch), ("size", size), ("depth", depth), ("heads", heads)):
        whole(name, value)
    share("dropout", dropout)
    check("patch", patch, f"a divisor of {height} and {across} pixels", height % patch == across % patch == 0)
    check("size", size, f"a multiple of {heads} heads", size % heads == 0)
    check("pooling", pooling, '"mean" or "cls"', pooling in ("mean", "cls"))
    cls = pooling == "cls"
    return nn.Sequential(
        nn.Conv2d(colours, size, patch, stride=patch),
        Patches(),
        Tokens((height // patch) * (across // patch), size, cls=cls),
        *(Block(size, heads, dropout) for _ in range(depth)),
        nn.LayerNorm(size),
        Pool(cls=cls),
        nn.Linear(size, width),
    )


class Patches(nn.Module):
    """`[batch, size, rows, columns]` to `[batch, rows * columns, size]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Row by row."""
        return x.flatten(2).transpose(1, 2)
