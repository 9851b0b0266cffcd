"""The result of a benchmark of tuning: plain JSON, schema 1, checked here once.

    schema      1
    kind        "tuning"
    title, command, seconds, versions {package: version}, machine {fact: value}
    twins       [name of a kind of twin]; ways [name of a way of choosing], the twins among them
    studies     [{recipe, forgets, replicates}]; size {methods, settings, gold, twins}
    units       [{data, forget, kind, replicate, null [golds], checks {way: [{name, value, limit, holds}]}}]
    cells       [{data, forget, kind, replicate, method, settings [candidates], visits [candidates],
                true [candidates][golds], true_forget [candidates], true_test [candidates],
                ways {way: {value, lost, forget, check}} each [runs][candidates],
                places {way: [places of what it takes]}, regret {distance {way: J*}, relative {way: share} or null}}]
    summary     groups [{data, kind, units, null, power {way: {holds, of}}, several, cells N, pooled N}], the first of
                everything; N: cells, informative, ways {way: {distance, regret {median, low, high, cells} or null,
                rho, rho_forget, rho_check, overlap}}, sign {way: {rival, wins, of, p, units_won, units_of, units_p}}
                expected [{way, text, value, limit, holds}]
                controls [{name, holds, detail}]

Candidate 0 is "no change", candidate 1 the method's default. `schema`, `kind`, `twins`, `ways`, `cells` and
`summary.groups` are needed; everything else may be absent or null.
"""

from __future__ import annotations

from expunge.errors import ConfigError
from expunge.report.result import Json, check_schema, finite, part

KIND = "tuning"
NEEDED = ("twins", "ways", "cells", "summary")
NAMES = ("data", "kind", "method", "ways")
"""What every cell says of itself."""


def checked_tuning(result: Json) -> Json:
    """A copy without NaN and infinities, once the needed parts are there and of one length.

    Raises:
        StoreError: the result has a newer schema.
        ConfigError: a needed part is missing, or lists of a cell do not fit together.
    """
    check_schema(result.get("schema"))
    missing = [name for name in NEEDED if not result.get(name)]
    missing += [] if part(result, "summary").get("groups") else ["summary.groups"]
    if missing:
        raise ConfigError(f"result: expected the parts {', '.join(NEEDED)}, {' and '.join(missing)} missing")
    for at, cell in enumerate(result["cells"]):
        if absent := [name for name in NAMES if not cell.get(name)]:
            raise ConfigError(f"cell {at}: expected {', '.join(NAMES)}, {' and '.join(absent)} missing")
        count = len(cell.get("true") or [])
        for way, scores in cell["ways"].items():
            for run in scores.get("value") or []:
                if len(run) != count:
                    raise ConfigError(f"cell {at}: {count} candidates, {len(run)} values of {way}")
        for way, places in part(cell, "places").items():
            if not all(isinstance(place, int) and 0 <= place < count for place in places):
                raise ConfigError(f"cell {at}: {way} takes {places} of {count} candidates")
    return {key: finite(value) for key, value in result.items()}
