"""The figure of the membership attack: how many forget rows it finds at how many false alarms, on log axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from expunge.report.digits import count, share
from expunge.report.figures import BAND, GREY, Figure, faint, layout, note, percent_ticks, plain
from expunge.report.marks import Mark, marks
from expunge.report.result import Json, part

HEIGHT = 500
ROOM = 0.06
"""Powers of ten beyond the outermost points."""
SAID = (0.001, 0.01, 0.1)
"""False-positive rates at which the figure's description names the true-positive rate."""


def roc_figures(result: Json) -> list[Figure]:
    """True against false positives of every entry, gold's own as a grey band; empty without curves."""
    roc = part(result, "roc")
    curves = {name: curve for name, curve in part(roc, "entries").items() if (curve or {}).get("tpr")}
    shown = [mark for name, mark in marks(result).items() if name in curves]
    if not shown:
        return []
    floor = 0.5 / roc["members"]
    last = sorted(shown, key=lambda one: one.name == "gold")  # gold's band lies on the others' bands
    first = sorted(shown, key=lambda one: one.name != "gold")  # ... and its line below theirs
    data = [_diagonal(min(roc["fpr"][0], 1 / roc["nonmembers"], floor))]
    bands = sum(bool(curves[mark.name].get("low")) for mark in shown)
    data += [band for mark in last for band in _band(mark, roc["fpr"], curves[mark.name], floor, bands)]
    data += [_line(mark, roc["fpr"], curves[mark.name], floor) for mark in first]
    values = [value for mark in shown for value in _values(curves[mark.name])]
    spec = {"data": data, "layout": _layout(roc, values, floor)}
    below = _clipped(floor, roc["members"]) if min(values, default=1.0) < floor else ""
    return [Figure("roc", "", _alt(roc, shown, curves), HEIGHT, spec, note=below)]


def _layout(roc: Json, values: list[float], floor: float) -> Json:
    drawn = layout("holdout rows called members (log scale)", "forget rows called members (log scale)", HEIGHT)
    one, least = 1 / roc["nonmembers"], min(values, default=floor)
    left, low = math.log10(min(roc["fpr"][0], one)) - ROOM, math.log10(max(least, floor)) - ROOM
    drawn["xaxis"] |= {"type": "log", "range": [left, ROOM / 2], **percent_ticks(left, 0, most=1.4)}
    drawn["yaxis"] |= {"type": "log", "range": [low, ROOM / 2], **percent_ticks(low, 0)}
    if least < floor:
        drawn["yaxis"] |= _with_zero(drawn["yaxis"], floor)
    line = {"type": "line", "yref": "paper", "x0": one, "x1": one, "y0": 0, "y1": 1, "layer": "below"}
    drawn["shapes"] = [{**line, "line": {"color": GREY, "width": 1.5, "dash": "2px,3px"}}]
    where = {"x": math.log10(one), "y": 1, "yref": "paper", "yanchor": "top", "xshift": 5}
    drawn["annotations"] = [note("one holdout row", **where)]
    return drawn


def _with_zero(axis: Json, floor: float) -> Json:
    """The ticks with a 0 at `floor`, without those that it would cover."""
    kept = [at for at, value in enumerate(axis["tickvals"]) if value > 1.4 * floor]
    values, texts = ([axis[key][at] for at in kept] for key in ("tickvals", "ticktext"))
    return {"tickvals": [floor, *values], "ticktext": ["0", *texts]}


def _line(mark: Mark, fpr: Sequence[float], curve: Json, floor: float) -> Json:
    tpr = curve["tpr"]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plain(mark.label),
        "meta": mark.name,
        "showlegend": False,
        "x": list(fpr),
        "y": _raised(tpr, floor),
        "text": [f"{share(x)} of holdout rows, {share(y)} of forget rows" for x, y in zip(fpr, tpr, strict=True)],
        "hovertemplate": "%{text}<extra>%{fullData.name}</extra>",
        "line": {"color": mark.colour, "width": 2, "dash": mark.dash},
        "marker": {"color": mark.colour, "symbol": mark.symbol, "size": 8, "maxdisplayed": 10},
    }


def _band(mark: Mark, fpr: Sequence[float], curve: Json, floor: float, bands: int) -> list[Json]:
    """From the low ends to the high ones and back, where both are known."""
    ends = zip(fpr, curve.get("low") or [], curve.get("high") or [], strict=False)
    known = [(x, low, high) for x, low, high in ends if low is not None and high is not None]
    if not known:
        return []
    x, low, high = zip(*known, strict=True)
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "meta": mark.name,
            "showlegend": False,
            "hoverinfo": "skip",
            "x": [*x, *reversed(x)],
            "y": _raised([*low, *reversed(high)], floor),
            "fill": "toself",
            "fillcolor": BAND if mark.name == "gold" else faint(mark.colour, bands),
            "line": {"width": 0},
        }
    ]


def _diagonal(low: float) -> Json:
    """Guessing: as large a share of forget rows as of holdout rows."""
    line = {"color": GREY, "width": 1.5, "dash": "2px,3px"}
    ends = {"x": [low / 10, 1], "y": [low / 10, 1]}
    return {"type": "scatter", "mode": "lines", "showlegend": False, "hoverinfo": "skip", **ends, "line": line}


def _raised(values: Sequence[float | None], floor: float) -> list[float | None]:
    return [None if value is None else max(value, floor) for value in values]


def _values(curve: Json) -> list[float]:
    return [value for key in ("tpr", "low", "high") for value in curve.get(key) or [] if value is not None]


def _clipped(floor: float, members: int) -> str:
    return (
        f"A share of 0 has no place on a log scale: it is drawn at {share(floor)}, half of one forget row out of "
        f"{count(members)}, and so is whatever lies below that."
    )


def _alt(roc: Json, shown: list[Mark], curves: Json) -> str:
    fpr = roc["fpr"]
    places = [min(range(len(fpr)), key=lambda at: abs(math.log(fpr[at] / rate))) for rate in SAID]
    found = {fpr[at]: at for at in places}
    says = [
        f"{mark.label}: " + ", ".join(f"{share(curves[mark.name]['tpr'][at])} at {share(x)}" for x, at in found.items())
        for mark in shown
    ]
    return "ROC of the membership attack: forget rows found at a share of holdout rows. " + ". ".join(says) + "."
