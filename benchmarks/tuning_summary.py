"""What the cells of the benchmark of tuning show together: medians with intervals, a sign test, and the controls.

Intervals: 95 %, by a bootstrap over units (data set x forget set x replicate), each drawn with all its cells; not over
settings or methods, which share an original and its gold models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import binomtest

from benchmarks.tuning_choice import GOLD, ONE, RANDOM, UNCHANGED, USUAL, Case, Regret, order, regret, together
from benchmarks.tuning_units import RIVALS, TWINS, WAYS
from expunge.seeds import numpy_generator
from expunge.tuning.checks import LIKE

DRAWS = 1000
"""Of the bootstrap."""
SHUFFLES = 20
"""Of the objective, in the first control."""
REGRET, POOLED_ORDER, FORGET_ORDER, LEVEL = 0.25, 0.7, 0.5, 0.05
"""What success was to be, fixed before anything was measured."""
ORDERS = ("rho", "rho_forget", "rho_check", "overlap")

Json = dict[str, Any]


def summary(cases: Sequence[Case], units: Sequence[Json]) -> Json:
    """Groups of cells, cell by cell and with the methods of a unit put together; what was expected; the controls."""
    plain = [restricted(case) for case in cases]
    pools = [together(group) for group in by_unit(plain).values()]
    groups = [group(*chosen, data=data, kind=kind) for data, kind, *chosen in grouped(plain, pools, units)]
    return {"groups": groups, "expected": expected(groups[0]), "controls": list(controls(cases, units))}


def restricted(case: Case) -> Case:
    """The cell without the twins that break a rule."""
    return replace(case, scores={way: case.scores[way] for way in WAYS})


def by_unit(cases: Sequence[Case]) -> dict[tuple[str, str, int], list[Case]]:
    """The cells of each unit."""
    found: dict[tuple[str, str, int], list[Case]] = {}
    for case in cases:
        found.setdefault(case.unit, []).append(case)
    return found


def grouped(
    cases: Sequence[Case], pools: Sequence[Case], units: Sequence[Json]
) -> Iterator[tuple[str | None, str | None, list[Case], list[Case], list[Json]]]:
    """Everything, each data set, and each kind of forget set within it."""
    datas = list(dict.fromkeys(case.data for case in cases))
    kinds = list(dict.fromkeys(case.kind for case in cases))
    wanted: list[tuple[str | None, str | None]] = [(None, None)]
    wanted += [(None, kind) for kind in kinds] if len(kinds) > 1 and len(datas) > 1 else []
    for data in datas:
        wanted += [(data, None)] if len(datas) > 1 else []
        wanted += [(data, kind) for kind in kinds]
    for data, kind in wanted:

        def fits(of: str, its: str, data: str | None = data, kind: str | None = kind) -> bool:
            return data in (None, of) and kind in (None, its)

        inside = [case for case in cases if fits(case.data, case.kind)]
        if inside:
            yield (
                data,
                kind,
                inside,
                [case for case in pools if fits(case.data, case.kind)],
                [one for one in units if fits(one["data"], one["kind"])],
            )


def group(cases: list[Case], pools: list[Case], units: list[Json], *, data: str | None, kind: str | None) -> Json:
    """The numbers of one group."""
    return {
        "data": data,
        "kind": kind,
        "units": len(pools),
        "null": float(np.median([np.mean(one["null"]) for one in units])),
        "power": {way: _holding(units, way, "power") for way in WAYS if way.startswith("twin")},
        "cells": numbers(cases),
        "pooled": numbers(pools),
        "several": several([case for case in cases if case.twins > 1]),
    }


def numbers(cases: Sequence[Case]) -> Json:
    """Regret, distance and order of every way over cells, and the sign tests of the twins."""
    regrets = [regret(case) for case in cases]
    known = [one.relative is not None for one in regrets]
    told = [(case, one) for case, one, yes in zip(cases, regrets, known, strict=True) if yes]
    ways: Json = {}
    for way in regrets[0].distance:
        distances = [one.distance[way] for one in regrets if way in one.distance]
        ways[way] = {"distance": float(np.median(distances))}
        relative = [(case.unit, one.relative[way]) for case, one in told if one.relative and way in one.relative]
        ways[way]["regret"] = interval(relative)
        if way in cases[0].scores:
            orders = [order(case, way) for case in cases]
            ways[way] |= {key: _median([one[key] for one in orders]) for key in ORDERS}
    return {
        "cells": len(cases),
        "informative": len(told),
        "ways": ways,
        "sign": {f"twin {kind}": sign(f"twin {kind}", told) for kind in TWINS},
    }


def several(cases: Sequence[Case]) -> Json:
    """Of the cells with several twins of a kind: median relative regret where one chooses, and where all do."""
    found = [one.relative for one in map(regret, cases) if one.relative is not None]
    ways = [f"twin {kind}" for kind in TWINS]
    return {
        "cells": len(found),
        "ways": {
            way: {"one": _median([one[way + ONE] for one in found]), "all": _median([one[way] for one in found])}
            for way in ways
        },
    }


def interval(values: Sequence[tuple[tuple[str, str, int], float]]) -> Json | None:
    """Median of values that belong to units, with its 95 % interval over units; None without any."""
    if not values:
        return None
    of: dict[tuple[str, str, int], list[float]] = {}
    for unit, value in values:
        of.setdefault(unit, []).append(value)
    parts = [np.array(part) for part in of.values()]
    source = numpy_generator(0, "tuning benchmark/bootstrap")
    medians = [
        np.median(np.concatenate([parts[at] for at in source.integers(len(parts), size=len(parts))]))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(medians, [0.025, 0.975])
    found = np.concatenate(parts)
    return {"median": float(np.median(found)), "low": float(low), "high": float(high), "cells": len(found)}


def sign(way: str, told: Sequence[tuple[Case, Regret]]) -> Json | None:
    """In how many cells a twin's choice is nearer to gold than the best single rival's, which is chosen afterwards."""
    if not told:
        return None
    rivals = (*RIVALS, RANDOM, UNCHANGED)
    best = min(rivals, key=lambda rival: float(np.median([one.distance[rival] for _, one in told])))
    gaps = [(case.unit, one.distance[way] - one.distance[best]) for case, one in told]
    wins, losses = sum(gap < 0 for _, gap in gaps), sum(gap > 0 for _, gap in gaps)
    by: dict[tuple[str, str, int], int] = {}
    for unit, gap in gaps:
        by[unit] = by.get(unit, 0) + int(gap < 0) - int(gap > 0)
    ahead, behind = sum(one > 0 for one in by.values()), sum(one < 0 for one in by.values())
    return {
        "rival": best,
        "wins": wins,
        "of": wins + losses,
        "p": _greater(wins, wins + losses),
        "units_won": ahead,
        "units_of": ahead + behind,
        "units_p": _greater(ahead, ahead + behind),
    }


def expected(whole: Json) -> list[Json]:
    """What success was to be, kind by kind of twin, over all informative cells."""
    found: list[Json] = []
    for kind in TWINS:
        way = f"twin {kind}"
        ways, tested = whole["cells"]["ways"][way], whole["cells"]["sign"][way]
        rows = [
            ("median relative regret", (ways["regret"] or {}).get("median"), "<=", REGRET),
            ("rank correlation, methods pooled", whole["pooled"]["ways"][way]["rho"], ">=", POOLED_ORDER),
            ("rank correlation of forget distances", ways["rho_forget"], ">=", FORGET_ORDER),
            ("sign test against the best rival, p", (tested or {}).get("p"), "<=", LEVEL),
        ]
        for text, value, side, limit in rows:
            holds = None if value is None else bool(value <= limit if side == "<=" else value >= limit)
            found.append({"way": way, "text": text, "value": value, "limit": f"{side} {limit:g}", "holds": holds})
    return found


def controls(cases: Sequence[Case], units: Sequence[Json]) -> Iterator[Json]:
    """Each with its name, whether it came out as it had to, a sentence, and its numbers."""
    yield shuffled(cases)
    yield gold_is_best(cases, units)
    for kind in TWINS:
        way = f"twin {kind}"
        yield from other_class(cases, units, way)
        yield from ratio(cases, way)


def shuffled(cases: Sequence[Case]) -> Json:
    """The objective of the first kind of twin, dealt anew to the settings: no order, and the regret of chance."""
    way = f"twin {TWINS[0]}"
    source = numpy_generator(0, "tuning benchmark/shuffled")
    rhos, regrets, chance = [], [], []
    for case in cases:
        for _ in range(SHUFFLES):
            dealt = _dealt(case, way, source)
            rhos.append(order(dealt, way)["rho"])
            found = regret(dealt)
            if found.relative is not None:
                regrets.append(found.relative[way])
        mean, base = case.distance.mean(axis=1), regret(case)
        if base.relative is not None:
            gold, usual = base.distance[GOLD], base.distance[USUAL]
            chance += ((mean - gold) / (usual - gold)).tolist()
    values = {"rho": _median(rhos), "regret": _median(regrets), "chance": _median(chance)}
    holds = abs(values["rho"]) <= 0.1 and abs(values["regret"] - values["chance"]) <= 0.1
    detail = (
        f"rank correlation {values['rho']:.2f}, median relative regret {values['regret']:.2f}; any candidate is as "
        f"likely: {values['chance']:.2f}"
    )
    return {"name": "shuffled objective", "holds": bool(holds), "detail": detail, "numbers": values}


def gold_is_best(cases: Sequence[Case], units: Sequence[Json]) -> Json:
    """A gold model as a candidate: J* against the other gold models, which no setting should undercut."""
    null = {(one["data"], one["forget"], one["replicate"]): float(np.mean(one["null"])) for one in units}
    gaps = {unit: min(case.distance.mean(axis=1).min() for case in group) for unit, group in by_unit(cases).items()}
    under = [unit for unit, best in gaps.items() if best <= null[unit]]
    detail = (
        f"a gold model comes to {np.median(list(null.values())):.2f} starts (median), the best setting of all methods "
        f"to {np.median(list(gaps.values())):.2f}; gold is smallest in {len(gaps) - len(under)} of {len(gaps)} units"
    )
    numbers = {"smallest": len(gaps) - len(under), "units": len(gaps)}
    return {"name": "gold as a candidate", "holds": not under, "detail": detail, "numbers": numbers}


def other_class(cases: Sequence[Case], units: Sequence[Json], way: str) -> Iterator[Json]:
    """Auxiliary rows of another class: the check of likeness has to see it, and the order has to suffer."""
    wrong = f"{way}, other class"
    inside = [case for case in cases if wrong in case.scores]
    if not inside:
        return
    there = [one for one in units if wrong in one["checks"]]
    seen = [check["value"] for one in there for check in one["checks"][wrong] if check["name"] == "likeness"]
    values = {"likeness": _median(seen), "caught": sum(value > LIKE for value in seen), "units": len(seen)}
    pools = [together(group) for group in by_unit(inside).values()]
    values |= {"rho": _pooled(pools, wrong), "rho_alike": _pooled(pools, f"{way}{ONE}")}
    holds = values["caught"] == len(seen) and values["rho"] < values["rho_alike"]
    detail = (
        f"likeness {values['likeness']:.2f} (warns above {LIKE:g}), seen in {values['caught']} of {len(seen)} units; "
        f"rank correlation {values['rho']:.2f}, with rows of the right class {values['rho_alike']:.2f}"
    )
    yield {"name": f"rows of another class, {way}", "holds": bool(holds), "detail": detail, "numbers": values}


def ratio(cases: Sequence[Case], way: str) -> Iterator[Json]:
    """Too few or too many auxiliary rows: does the regret rise, that is, does the ratio rule matter?"""
    names = sorted({one for case in cases for one in case.scores if one.startswith(f"{way}, x")})
    inside = [case for case in cases if names and names[0] in case.scores]
    if not inside:
        return
    found = {}
    for name, asked in [("right number", f"{way}{ONE}"), *((one.removeprefix(f"{way}, "), one) for one in names)]:
        regrets = [regret(_one_twin(case, way)) for case in inside]
        key = way if asked.endswith(ONE) else asked
        relative = [one.relative[key] for one in regrets if one.relative is not None]
        found[name] = {
            "regret": _median(relative),
            "distance": _median([one.distance[key] for one in regrets]),
            "rho": _median([order(_one_twin(case, way), key)["rho"] for case in inside]),
            "cells": len(relative),
        }
    right = found["right number"]["regret"]
    wrong = [one["regret"] for name, one in found.items() if name != "right number"]
    holds = None if np.isnan(right) else bool(all(one > right for one in wrong))
    detail = "; ".join(
        f"{name}: median relative regret {one['regret']:.2f}, rank correlation {one['rho']:.2f}"
        for name, one in found.items()
    )
    yield {"name": f"ratio rule broken, {way}", "holds": holds, "detail": detail, "numbers": found}


def _one_twin(case: Case, way: str) -> Case:
    """The cell in which that way has its first twin alone, as the twins that break a rule have."""
    return replace(case, scores={**case.scores, way: case.scores[way].only(0)})


def _pooled(pools: Sequence[Case], way: str) -> float:
    whole = way.removesuffix(ONE)
    return _median([order(_one_twin(pool, whole) if way.endswith(ONE) else pool, whole)["rho"] for pool in pools])


def _dealt(case: Case, way: str, source: np.random.Generator) -> Case:
    dealt = source.permutation(len(case.settings))
    return replace(case, scores={way: case.scores[way].dealt(dealt)})


def _greater(wins: int, of: int) -> float:
    return float(binomtest(wins, of, alternative="greater").pvalue) if of else 1.0


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else float("nan")


def _holding(units: Sequence[Json], way: str, name: str) -> Json:
    found = [check["holds"] for one in units for check in one["checks"].get(way, []) if check["name"] == name]
    return {"holds": sum(one is True for one in found), "of": len(found)}
