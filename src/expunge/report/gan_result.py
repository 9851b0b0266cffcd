"""The result of an audit of generators: plain JSON, schema 1, checked here once.

    schema      1
    kind        "gan"
    title, command (reproduces it exactly), versions {package: version}, machine {fact: value}, seed
    problem     recipe, data, forget (text form), forget_seed, mode ("item" or "class"), classes [names of what goes],
                rows {forget, retain, unseen, test}
    features    what distances are measured on, such as "mnist-cnn, last hidden layer, 64 numbers"
    drawn       pictures drawn from each generator for the measures
    verdict     state ("pass", "fail", "inconclusive", "measured"), reasons [text], controls [{name, holds, detail}]
    measures    [{name, title, meaning, unit, judged (bool), better ("gold", "low" or "high": what to look for),
                original, gold [one of each], interval [low, high] of one more gold or null, null (mean gap of a gold to
                the others), power (bool: original and gold differ), values {entry: number or null}}]
    entries     [{name, label, role ("method" or "baseline"), settings {}, notes {}, cost {visits, seconds,
                share (of the visits of one gold), ratio (gold's seconds over its own), by_net {net: visits}}}]
    gold_cost   {visits, seconds} of one gold, medians
    grids       [{name, pictures ["data:image/png;base64,..."]}]         the same latents in the same order everywhere
    swaps       [{before, wanted, after}]     of latents that drew what had to go: original's picture, its substitute,
                the unlearned pair's
    timeline    {steps [..], measures {name: [number or null]}, entry}   one method's measures over its own steps
    curve       [{name, visits_share, values {measure: number or null}}]  quality against cost; perhaps empty
    statements  [{text, holds}]
    limits      [text]

`schema`, `kind`, `verdict`, `measures` and `entries` are needed; everything else may be absent or null. The verdict is
about the first of `entries`. Names that a measure's `values`, the timeline and the grids use are those of `entries`, in
the grids beside "original" and "gold"; those of the curve are free, and points of one name are joined.
"""

from __future__ import annotations

from expunge.errors import ConfigError
from expunge.report.attribution_result import PICTURE
from expunge.report.result import Json, check_schema, finite, part

KIND = "gan"
STATES = ("pass", "fail", "inconclusive", "measured")
PAIRS = ("original", "gold")
"""What grids may be of, beside entries."""
NEEDED = {"verdict": dict, "measures": list, "entries": list}


def checked_gan(result: Json) -> Json:
    """A copy without NaN and infinities, once the needed parts are there.

    Raises:
        StoreError: the result has a newer schema.
        ConfigError: a needed part is missing, an entry is unknown, or a picture is none.
    """
    check_schema(result.get("schema"))
    missing = [name for name, kind in NEEDED.items() if not isinstance(result.get(name), kind)]
    if missing:
        raise ConfigError(f"result: expected the parts {', '.join(NEEDED)}, {' and '.join(missing)} missing")
    state = part(result, "verdict").get("state")
    if state not in STATES:
        raise ConfigError(f"verdict: expected one of {', '.join(STATES)}, got {state!r}")
    known = [_name("entries", entry) for entry in result["entries"]]
    for measure in result["measures"]:
        _check_measure(measure, known)
    for grid in result.get("grids") or []:
        _check_name("grids", _name("grids", grid), [*known, *PAIRS])
    pictures = [one for grid in result.get("grids") or [] for one in grid.get("pictures") or []]
    pictures += [swap.get(key) for swap in result.get("swaps") or [] for key in ("before", "wanted", "after")]
    for picture in pictures:
        if not PICTURE.fullmatch(str(picture)):
            raise ConfigError(f"pictures: expected data:image/png;base64,..., got {str(picture)[:40]!r}")
    _check_timeline(part(result, "timeline"), known)
    return {key: finite(value) for key, value in result.items()}


def _check_measure(measure: Json, known: list[str]) -> None:
    name = _name("measures", measure)
    if odd := sorted(set(part(measure, "values")) - set(known)):
        raise ConfigError(f"measures: {name} has a value of {odd[0]}, which is no entry")
    interval = measure.get("interval")
    if interval is not None and len(interval) != 2:
        raise ConfigError(f"measures: {name}: expected least and most as interval, got {len(interval)} numbers")


def _check_timeline(timeline: Json, known: list[str]) -> None:
    steps = timeline.get("steps") or []
    for name, values in part(timeline, "measures").items():
        if len(values or []) != len(steps):
            raise ConfigError(f"timeline: {len(steps)} steps, {len(values or [])} values of {name}")
    if timeline.get("entry"):
        _check_name("timeline", str(timeline["entry"]), known)


def _name(where: str, one: Json) -> str:
    """The name of an item of a list."""
    if not one.get("name"):
        raise ConfigError(f"{where}: one has no name")
    return str(one["name"])


def _check_name(where: str, name: str, known: list[str]) -> None:
    if name not in known:
        raise ConfigError(f"{where}: {name} is no entry; expected {', '.join(known)}")
