"""A result of attribution with every part, by hand: input for tests of the page, not a measurement."""

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


def part(count, change, error):
    said = "logits of the true class would be lost if these 20 rows were removed"
    return {
        "rows": count,
        "sentence": f"{-change:+.2f} {said}, ±{error:.2f}",
        "change": change,
        "error": error,
        "margin_change": change - 0.5,
        "margin_error": 0.25,
        "right_before": count,
        "right_after": count - 3,
        "calibration": {"output": line(0.91, 0.44), "margin": line(0.87, 0.52)},
    }


def line(slope, r2):
    return {
        "slope": slope,
        "slope_error": 0.08,
        "intercept": 0.01,
        "r2": r2,
        "residual_sd": 0.6,
        "seed_sd": None,
        "models": 17,
        "sets": 17,
        "sizes": [20, 20],
    }


def affected(kind, at):
    return {
        "id": f"{kind}-{at}",
        "label": "cat",
        "before": 9.25,
        "after": 8.75,
        "change": -0.5,
        "error": 0.125,
        "margin_before": 4.5,
        "margin_after": -1.25,
        "margin_error": 0.375,
        "right_before": True,
        "right_after": at > 0,
    }


def scored(sign, role="retain"):
    lines = [{"id": f"train-{sign}{at}", "label": "dog", "score": sign * (0.75 - at / 8)} for at in range(3)]
    return [line | {"role": "retain" if at else role} for at, line in enumerate(lines)]


def make_attribution():
    """A result of schema 1 with every part."""
    targets = [
        {
            "id": f"test-{at}",
            "label": "cat",
            "change": -0.5,
            "error": 0.1,
            "margin": 4.5,
            "margin_change": -5.75,
            "margin_error": 0.4,
            "raises": scored(1, "forget"),
            "lowers": scored(-1, "itself"),
        }
        for at in range(2)
    ]
    lines = {kind: [affected(kind, at) for at in range(3)] for kind in ("forget", "test")}
    names = [line["id"] for some in lines.values() for line in some]
    names += [line["id"] for sign in (1, -1) for line in scored(sign)]
    return {
        "schema": 1,
        "kind": "attribution",
        "title": "What 20 rows of pets account for",
        "command": "expunge attribute run --rows class:cat:20",
        "versions": {"expunge": "0.1.0"},
        "machine": {"platform": "Linux", "cores": 2},
        "seed": 3,
        "problem": {
            "recipe": "pets-cnn",
            "data": "pets",
            "forget": "class:cat:20",
            "forget_seed": 0,
            "rows": {"forget": 20, "retain": 1077, "test": 400},
        },
        "estimator": {
            "name": "last_layer",
            "paper": "folklore",
            "settings": {"damping": 0.0},
            "why": "the model has many parameters",
            "notes": {"condition": 427.5, "warning": "close to singular"},
        },
        "unit": {
            "output": "logit of the true class",
            "many": "logits of the true class",
            "margin": "nats",
            "score": "nats",
        },
        "parts": {"forget": part(20, -0.8, 0.3), "test": part(400, -0.05, 0.02)},
        "affected": lines,
        "targets": {
            "of": "test",
            "chosen": "the most affected",
            "items": targets,
            "together": {"raises": scored(1), "lowers": scored(-1)},
        },
        "images": dict.fromkeys([*names, "test-0", "test-1"], PIXEL),
        "cost": {
            "retraining": 1000,
            "fit": 340.0,
            "calibration": 17000.0,
            "prediction": 20.0,
            "fraction": 17.36,
            "requests": 20,
            "amortised": 0.887,
            "seconds": 12.5,
        },
        "limits": ["Nothing was retrained."],
    }
