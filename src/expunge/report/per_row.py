"""The figure of per-row distances, sorted, above the null."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.report.digits import fixed
from expunge.report.figures import BAND, GREY, Figure, axis, layout, note, plain, short
from expunge.report.marks import Mark, marks
from expunge.report.result import SPLITS, Json, headline, part
from expunge.report.words import measure_words

MOST = 400
"""Points of a line in the per-row figure; longer ones keep all of their upper end and are thinned below."""


def row_figures(result: Json) -> list[Figure]:
    """Per-row distances in rising order, one line per entry, the null as a band; one figure per split."""
    figures = []
    for split in SPLITS:
        rows = part(result, "per_row", split)
        if part(rows, "values"):
            figures.append(_row_figure(result, split, rows))
    return figures


def _row_figure(result: Json, split: str, rows: Json) -> Figure:
    own = part(result, "per_row")
    words = measure_words(str(own.get("measure") or headline(result)))
    height = 460 if split == "forget" else 360
    drawn = layout("rows, in rising order of distance", axis(words.title, "", str(own.get("unit") or "")), height)
    drawn["xaxis"] |= {"range": [0, 100.8], "ticksuffix": "%"}
    drawn["yaxis"]["rangemode"] = "tozero"
    p95 = {"type": "line", "xref": "x", "yref": "paper", "x0": 95, "x1": 95, "y0": 0, "y1": 1, "layer": "below"}
    drawn["shapes"] = [{**p95, "line": {"color": GREY, "width": 1, "dash": "2px,3px"}}]
    drawn["annotations"] = [note("P95", x=95, y=1, yref="paper", xanchor="right", yanchor="top")]
    data = [null_band(rows["null"], "distance")] if rows.get("null") else []
    shown = {name: mark for name, mark in marks(result).items() if name in rows["values"]}
    data += [row_line(mark, rows, rows["values"][name], "distance") for name, mark in shown.items()]
    alt = f"{words.title} of every {split} row. " + " ".join(
        f"{mark.label}: half of the rows below {fixed(quantile(rows['values'][name], 0.5), 2)}, "
        f"95% below {fixed(quantile(rows['values'][name], 0.95), 2)}."
        for name, mark in shown.items()
    )
    spec = {"data": data, "layout": drawn}
    return Figure(f"rows-{split}", f"{split} rows", alt, height, spec, split == "forget")


def row_line(mark: Mark, rows: Json, values: Sequence[float | None], what: str) -> Json:
    """One entry's values in rising order; each point tells its row.

    Args:
        mark: how the entry is drawn.
        rows: `ids` and `labels` of the rows; either may be absent.
        values: [rows].
        what: the values are, as hovering says it.
    """
    ids, labels = rows.get("ids") or [], rows.get("labels") or []
    order = sorted((value, at) for at, value in enumerate(values) if value is not None)
    ranks = _ranks(len(order))
    row = "%{text}<br>" if ids or labels else ""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plain(mark.label),
        "meta": mark.name,
        "showlegend": False,
        "x": [round(100 * (rank + 1) / len(order), 3) for rank in ranks],
        "y": [round(order[rank][0], 4) for rank in ranks],
        "text": [_row_text(ids, labels, order[rank][1]) for rank in ranks],
        "hovertemplate": f"{row}{what} %{{y:.2f}}<extra>%{{fullData.name}}</extra>",
        "line": {"color": mark.colour, "width": 1.8, "dash": mark.dash},
        "marker": {"color": mark.colour, "symbol": mark.symbol, "size": 8, "maxdisplayed": 12},
    }


def _row_text(ids: Sequence[object], labels: Sequence[object], at: int) -> str:
    says = [f"row {short(str(ids[at]), 60)}"] if at < len(ids) else []
    says += [f"label {short(str(labels[at]), 24)}"] if at < len(labels) else []
    return ", ".join(says)


def null_band(values: Sequence[float | None], what: str) -> Json:
    """Gold against gold in rising order, as an area that begins at the left edge even with a single row."""
    known = sorted(value for value in values if value is not None)
    ranks = _ranks(len(known))
    drawn = [round(known[rank], 4) for rank in ranks]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "null",
        "showlegend": False,
        "x": [0.0, *(round(100 * (rank + 1) / len(known), 3) for rank in ranks)],
        "y": [*drawn[:1], *drawn],
        "fill": "tozeroy",
        "fillcolor": BAND,
        "line": {"color": GREY, "width": 1},
        "hovertemplate": f"{what} %{{y:.2f}}<extra>null: gold against gold</extra>",
    }


def _ranks(rows: int) -> list[int]:
    """Which of so many sorted rows are drawn: all, or the upper end and evenly spaced ones below it.

    Example:
        >>> len(_ranks(80)), len(_ranks(50_000)) <= MOST, _ranks(50_000)[-1]
        (80, True, 49999)
    """
    if rows <= MOST:
        return list(range(rows))
    half = MOST // 2
    below = {round(step * (rows - half) / half) for step in range(half)}
    return sorted(below | set(range(rows - half, rows)))


def quantile(values: Sequence[float | None], at: float) -> float | None:
    """The value that the share `at` of the known values does not exceed; None without any.

    Example:
        >>> quantile([3.0, None, 1.0, 2.0], 0.5), quantile([], 0.5) is None
        (2.0, True)
    """
    known = sorted(value for value in values if value is not None)
    return known[min(int(at * len(known)), len(known) - 1)] if known else None
