"""The result of attribution: plain JSON, schema 1, checked here once.

    schema      1
    kind        "attribution"
    title, command (reproduces it exactly), versions {package: version}, machine {fact: value}, seed
    problem     recipe, data, forget (text form), forget_seed, rows {forget, retain, test}
    estimator   name, paper, settings {}, why, notes {}
    unit        output (what is spoken of), many (its unit, many of them), margin and score (units of these)
    parts       {P: {rows, sentence, change, error, margin_change, margin_error, right_before, right_after,
                calibration {output C, margin C} or null}}
                C: slope, slope_error, intercept, r2, residual_sd, seed_sd, models, sets, sizes
                means over rows; errors: standard errors of these means, null where nothing tells them
    affected    {P: [{id, label, before, after, change, error, margin_before, margin_after, margin_error,
                right_before, right_after}]}                            the most changed first
    targets     of (P), chosen (how), items [{id, label, change, error, margin, margin_change, margin_error,
                raises [S], lowers [S]}], together {raises [S], lowers [S]} or null
                S: {id, label, score, role}; role: "forget", "retain" or "itself"; score > 0 where the row raises the
                margin, < 0 where it lowers it
    images      {id: "data:image/png;base64,..."}
    cost        row visits: retraining (one), fit, calibration, prediction; fraction of one retraining, requests,
                amortised (fraction of one retraining a request, over as many), seconds
    limits      [text]

P is forget, test or retain; an estimator that only ranks has no parts, and targets without a change. Every "change" is
the predicted value less the value as it is. `schema`, `kind`, `parts` and `targets` with its `items` are needed;
everything else may be absent or null.
"""

from __future__ import annotations

import re

from expunge.errors import ConfigError
from expunge.report.result import SPLITS, Json, check_schema, finite, part

KIND = "attribution"
NEEDED = ("parts", "targets")
PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")
"""What a picture may be: nothing that a page would have to fetch or obey."""
ENDS = ("raises", "lowers")


def checked_attribution(result: Json) -> Json:
    """A copy without NaN and infinities, once the needed parts are there.

    Raises:
        StoreError: the result has a newer schema.
        ConfigError: a needed part is missing, a part is unknown, or a picture is none.
    """
    check_schema(result.get("schema"))
    missing = [name for name in NEEDED if not isinstance(result.get(name), dict)]
    missing += [] if isinstance(part(result, "targets").get("items"), list) else ["targets.items"]
    if missing:
        raise ConfigError(f"result: expected the parts {', '.join(NEEDED)}, {' and '.join(missing)} missing")
    for where in ("parts", "affected"):
        if odd := sorted(set(part(result, where)) - set(SPLITS)):
            raise ConfigError(f"{where}: expected {', '.join(SPLITS)}, got {odd[0]}")
    named = [line for lines in part(result, "affected").values() for line in lines or []]
    for target in [*result["targets"]["items"], part(result, "targets", "together")]:
        named += [one for end in ENDS for one in target.get(end) or []]
    for line in [*result["targets"]["items"], *named]:
        if not line.get("id"):
            raise ConfigError("result: a row has no id")
    for row_id, picture in part(result, "images").items():
        if not PICTURE.fullmatch(str(picture)):
            raise ConfigError(f"images: expected data:image/png;base64,..., got {str(picture)[:40]!r} for {row_id}")
    return {key: finite(value) for key, value in result.items()}
