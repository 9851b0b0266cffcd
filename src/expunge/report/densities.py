"""The figure of margins: every entry on a base line of its own, before gold as an area."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from expunge.report.digits import fixed
from expunge.report.figures import BAND, GREY, Figure, layout, plain, short
from expunge.report.marks import Mark, marks
from expunge.report.result import SPLITS, Json, part


def density_figures(result: Json) -> list[Figure]:
    """Margins of each entry above gold's, one line of the figure per entry, one figure per split."""
    found = marks(result)
    figures = []
    for split in SPLITS:
        shape = part(result, "densities", split)
        shown = [found[name] for name in found if name in part(shape, "density")]
        if shown:
            figures.append(_density_figure(split, shape, shown))
    return figures


def _density_figure(split: str, shape: Json, shown: list[Mark]) -> Figure:
    edges, density = shape["edges"], shape["density"]
    centres = [round((low + high) / 2, 4) for low, high in pairwise(edges)]
    peak = max((value or 0.0 for values in density.values() for value in values), default=0.0) or 1.0
    data: list[Json] = []
    for level, mark in enumerate(shown):
        data += _ridge(mark, -level, centres, density, 1.3 / peak)
    height = 100 + 39 * len(shown)
    drawn = layout("margin in nats", "", height, left=12)
    drawn["xaxis"]["range"] = [edges[0], edges[-1]]
    drawn["yaxis"] |= {
        "tickmode": "array",
        "tickvals": [-level for level in range(len(shown))],
        "ticktext": [short(mark.short, 18) for mark in shown],
        "range": [-len(shown) + 0.6, 1.75],
        "automargin": True,
    }
    alt = f"Margins on {split} rows. " + " ".join(_mean_margin(mark, centres, density) for mark in shown)
    return Figure(f"density-{split}", f"{split} rows", alt, height, {"data": data, "layout": drawn}, split == "forget")


def _ridge(mark: Mark, base: float, centres: list[float], density: Json, scale: float) -> list[Json]:
    """Gold as an area, the original dotted, the entry as a line, all on the entry's own base line."""
    traces = []
    if density.get("gold"):
        area = {"fill": "toself", "fillcolor": BAND, "line": {"width": 0}, "mode": "lines", "hoverinfo": "skip"}
        ends = [centres[0], *centres, centres[-1]]
        traces.append({"x": ends, "y": [base, *_raised(density["gold"], base, scale), base], **area})
    if density.get("original") and mark.name != "original":
        line = {"color": GREY, "width": 1.5, "dash": "2px,2px"}
        y = _raised(density["original"], base, scale)
        traces.append({"x": centres, "y": y, "mode": "lines", "line": line, "hoverinfo": "skip"})
    values = density[mark.name]
    traces.append(
        {
            "x": centres,
            "y": _raised(values, base, scale),
            "mode": "lines",
            "line": {"color": mark.colour, "width": 2.2},
            "name": plain(mark.label),
            "text": [f"margin {x:.1f}, density {fixed(value, 3)}" for x, value in zip(centres, values, strict=True)],
            "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
        }
    )
    return [{"type": "scatter", "showlegend": False, **trace} for trace in traces]


def _raised(values: Sequence[float | None], base: float, scale: float) -> list[float]:
    return [round(base + (value or 0.0) * scale, 4) for value in values]


def _mean_margin(mark: Mark, centres: list[float], density: Json) -> str:
    values = [value or 0.0 for value in density[mark.name]]
    total = sum(values)
    mean = sum(x * value for x, value in zip(centres, values, strict=True)) / total if total else None
    return f"{mark.label}: mean {fixed(mean, 1)}."
