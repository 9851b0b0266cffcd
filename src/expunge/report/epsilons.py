"""The figure of epsilon row by row: sorted lower bounds, under the largest that this many models can show."""

from __future__ import annotations

from expunge.report.digits import fixed
from expunge.report.figures import GREY, Figure, layout, note
from expunge.report.marks import marks
from expunge.report.per_row import null_band, quantile, row_line
from expunge.report.result import Json, part

HEIGHT = 420


def epsilon_figures(result: Json) -> list[Figure]:
    """Lower bounds on epsilon in rising order, one line per entry, the null as a band; empty without values."""
    own = part(result, "epsilon")
    shown = {name: mark for name, mark in marks(result).items() if name in part(own, "values")}
    if not shown:
        return []
    ceiling, values = own.get("ceiling"), own["values"]
    drawn = layout("rows, in rising order of epsilon", "epsilon, lower bound (nats)", HEIGHT)
    top = max([ceiling or 0.0, *(value or 0.0 for name in shown for value in values[name])]) or 1.0
    drawn["xaxis"] |= {"range": [0, 100.8], "ticksuffix": "%"}
    drawn["yaxis"] |= {"range": [-0.025 * top, 1.12 * top]}
    if ceiling is not None:
        drawn["shapes"], drawn["annotations"] = [_ceiling_line(ceiling)], [_ceiling_text(ceiling)]
    data = [null_band(own["null"], "epsilon")] if own.get("null") else []
    data += [row_line(mark, own, values[name], "epsilon") for name, mark in shown.items()]
    alt = "Lower bound on epsilon of every forget row. " + " ".join(
        f"{mark.label}: half of the rows below {fixed(quantile(values[name], 0.5), 2)}, "
        f"largest {fixed(quantile(values[name], 1), 2)}."
        for name, mark in shown.items()
    )
    if ceiling is not None:
        alt += f" No row can show more than {fixed(ceiling, 2)}."
    return [Figure("epsilon", "forget rows", alt, HEIGHT, {"data": data, "layout": drawn})]


def _ceiling_line(ceiling: float) -> Json:
    ends = {"xref": "paper", "x0": 0, "x1": 1, "y0": ceiling, "y1": ceiling, "layer": "below"}
    return {"type": "line", **ends, "line": {"color": GREY, "width": 1.5, "dash": "6px,4px"}}


def _ceiling_text(ceiling: float) -> Json:
    text = f"ceiling {fixed(ceiling, 2)}: a perfect attack"
    return note(text, x=0.005, y=ceiling, xref="paper", yanchor="bottom")
