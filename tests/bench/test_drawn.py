"""What figures are drawn from, beside hand-made scores and slow forms of the same numbers."""

import math

import numpy as np
import pytest
from scipy.stats import beta

from expunge.audit.assemble import Audited, Candidate, Pool, Shadows, audit_method
from expunge.audit.estimate import Estimate, summary
from expunge.bench.drawn import BINS, RATES, SHOWN, densities, difficulty, epsilons, per_row, roc
from expunge.bench.result import gold_rows

SPLITS = ("forget", "retain", "holdout", "test")


def two_classes(margins):
    """Logits [..., 2] of class 0 with those margins."""
    values = np.asarray(margins, dtype=np.float64)
    return np.stack([values, np.zeros_like(values)], axis=-1)


def made(sizes, **sides):
    """A pool from margins `[models, rows]` by role; rows lie in the order of the splits of `sizes`."""
    ends = np.cumsum([0, *(sizes.get(split, 0) for split in SPLITS)])
    places = {split: np.arange(*ends[at : at + 2]) for at, split in enumerate(SPLITS)}
    shadows = sides.pop("shadows", None)
    roles = {"gold": np.zeros((2, ends[-1])), "heldout": None, "original": np.zeros((1, ends[-1]))} | sides
    logits = {role: None if side is None else two_classes(side) for role, side in roles.items()}
    if shadows is not None:
        shadows = Shadows(two_classes(shadows[0]), shadows[1])
    return Pool(**logits, labels=np.zeros(ends[-1], dtype=np.int64), splits=places, shadows=shadows)


def seeded(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# ROC


def best_share(members, unseen, rate):
    """Largest share of members above a threshold that at most `rate` of the unseen rows exceed, by trying all."""
    cuts = [-np.inf, *members, *unseen]
    return max((members > cut).mean() for cut in cuts if (unseen > cut).mean() <= rate + 1e-12)


def test_roc_by_hand():
    """Forget rows at 5 and 1, holdout rows at 0, 1, 2 and 3; gold has them the other way round."""
    margins = np.array([[5.0, 1.0, 9.0, 0.0, 1.0, 2.0, 3.0, 9.0]])
    pool = made({"forget": 2, "retain": 1, "holdout": 4, "test": 1})
    drawn = roc(pool, {"ours": two_classes(margins), "gold": two_classes(-margins)})
    assert (drawn["attack"], drawn["members"], drawn["nonmembers"]) == ("loss threshold", 2, 4)
    rates = np.array(drawn["fpr"]) + 1e-9  # one of them is a half but for its last bit
    ours, gold = (np.array(drawn["entries"][name]["tpr"]) for name in ("ours", "gold"))
    assert ours[rates < 0.75].tolist() == [0.5] * (rates < 0.75).sum(), "1 is above 0 alone: 3 of 4 are above it"
    assert ours[rates >= 0.75].tolist() == [1.0] * (rates >= 0.75).sum()
    assert gold[rates < 0.5].tolist() == [0.0] * (rates < 0.5).sum(), "0 of 4 unseen rows lie below 0"
    assert gold[(rates >= 0.5) & (rates < 1)].tolist() == [0.5] * ((rates >= 0.5) & (rates < 1)).sum()
    assert gold[-1] == 1.0
    assert drawn["entries"]["ours"]["low"] is drawn["entries"]["ours"]["high"] is None, "one model has no band"


@pytest.mark.parametrize("ties", [False, True])
def test_roc_is_that_of_the_best_threshold_at_every_rate(ties):
    margins = seeded((7, 60)) + np.linspace(0, 1, 7)[:, None]
    margins = margins.round(1) if ties else margins
    pool = made({"forget": 15, "retain": 5, "holdout": 30, "test": 10})
    drawn = roc(pool, {"ours": two_classes(margins)})
    slow = np.array([[best_share(one[:15], one[20:50], rate) for rate in drawn["fpr"]] for one in margins])
    found = drawn["entries"]["ours"]
    assert found["tpr"] == pytest.approx(slow.mean(axis=0))
    assert found["low"] == pytest.approx(np.quantile(slow, 0.05, axis=0))
    assert found["high"] == pytest.approx(np.quantile(slow, 0.95, axis=0))
    assert np.all(np.array(found["low"]) <= found["tpr"])
    assert np.all(np.array(found["tpr"]) <= found["high"])
    assert np.any(np.array(found["low"]) < found["high"])


@pytest.mark.parametrize("unseen", [1, 2, 30, 700])
def test_rates_rise_from_below_the_first_possible_one_to_one(unseen):
    pool = made({"forget": 3, "retain": 1, "holdout": unseen, "test": 1})
    drawn = roc(pool, {"ours": two_classes(seeded((1, 5 + unseen)))})
    rates = np.array(drawn["fpr"])
    assert rates[0] == pytest.approx(0.5 / unseen)
    assert rates[-1] == 1.0
    assert np.all(np.diff(rates) > 0)
    assert len(rates) == len(drawn["entries"]["ours"]["tpr"]) == RATES
    assert np.all(np.diff(drawn["entries"]["ours"]["tpr"]) >= 0)


@pytest.mark.parametrize(("models", "banded"), [(1, False), (2, False), (3, True)])
def test_a_band_takes_three_models(models, banded):
    pool = made({"forget": 3, "retain": 1, "holdout": 4, "test": 1})
    found = roc(pool, {"ours": two_classes(seeded((models, 9)))})["entries"]["ours"]
    assert (found["low"] is not None) == (found["high"] is not None) == banded


def test_without_holdout_rows_there_is_no_roc():
    assert roc(made({"forget": 3, "retain": 1, "test": 2}), {"ours": two_classes(seeded((1, 6)))}) is None


def test_with_shadow_models_the_roc_is_lira_s():
    """Each row is known by 1 nat more than its own middle, up or down: the attack must rank by margin less middle."""
    sizes = {"forget": 20, "retain": 4, "holdout": 40, "test": 6}
    middle = 8 * seeded(70, 1)
    order = np.argsort(seeded((4, 70), 3), axis=0)  # another half of the models for every row
    inside = np.take_along_axis(np.repeat([[True], [True], [False], [False]], 70, axis=1), order, axis=0)
    off = np.take_along_axis(np.repeat([[1.3], [0.7], [-1.3], [-0.7]], 70, axis=1), order, axis=0)
    shadows = middle + off
    pool = made(sizes, shadows=(shadows, inside))
    margins = middle + seeded((3, 70), 2) + (np.arange(70) < 20)
    drawn = roc(pool, {"ours": two_classes(margins)})
    assert drawn["attack"] == "LiRA, online, 4 shadow models"
    known = margins - middle
    slow = [[best_share(one[:20], one[24:64], rate) for rate in drawn["fpr"]] for one in known]
    assert drawn["entries"]["ours"]["tpr"] == pytest.approx(np.mean(slow, axis=0))
    plain = roc(made(sizes), {"ours": two_classes(margins)})["entries"]["ours"]["tpr"]
    assert sum(plain) < sum(drawn["entries"]["ours"]["tpr"]) - 2, "the middle hides it from a threshold on the loss"


# Densities and rows


def test_densities_are_shares_of_margins_in_every_bin():
    sizes = {"forget": 5, "retain": 7, "holdout": 2, "test": 9}
    gold, original = seeded((6, 23), 1), 4 + seeded((3, 23), 2)
    pool = made(sizes, gold=gold, original=original)
    far = np.full((2, 23), 99.0)
    drawn = densities(
        pool, {label: two_classes(side) for label, side in (("original", original), ("gold", gold), ("far", far))}
    )
    assert list(drawn) == ["forget", "retain", "test"]
    for split, at in (("forget", slice(0, 5)), ("retain", slice(5, 12)), ("test", slice(14, 23))):
        edges = np.array(drawn[split]["edges"])
        assert len(edges) == BINS + 1
        assert edges[0] < np.percentile(gold[:, at], 0.5)
        assert np.percentile(original[:, at], 99.5) < edges[-1] < 20, "what lies far out does not stretch the axis"
        for label, side in (("original", original), ("gold", gold)):
            share = np.array(drawn[split]["density"][label]) * np.diff(edges)
            assert share.sum() == pytest.approx(1)
            middle = (edges[30] <= side[:, at]) & (side[:, at] < edges[31])
            assert share[30] == pytest.approx(middle.mean(), abs=1e-6)
        assert np.flatnonzero(drawn[split]["density"]["far"]).tolist() == [BINS - 1]


def numbered(pool):
    """An estimate whose distance of every row is the row's own position."""

    def one(split):
        rows = pool.splits[split].astype(float)
        return Estimate("klom", 0.0, None, 0.0, None, rows, summary(rows), {})

    return Audited({"klom": {split: one(split) for split in ("forget", "retain", "test")}})


def test_every_forget_row_and_some_of_the_others_keep_their_place():
    sizes = {"forget": SHOWN + 5, "retain": SHOWN, "holdout": 3, "test": SHOWN + 90}
    pool = made(sizes)
    pool.labels[:] = np.arange(len(pool.labels)) % 7
    ids = tuple(f"row {at}" for at in range(len(pool.labels)))
    nulls = {split: -pool.splits[split].astype(float) for split in ("forget", "retain", "test")}

    def drawn(seed):
        return per_row(pool, ids, {"ours": numbered(pool)}, nulls, measure="klom", unit="nats", seed=seed)

    found = drawn(0)
    assert (found["measure"], found["unit"]) == ("klom", "nats")
    for split, count in (("forget", SHOWN + 5), ("retain", SHOWN), ("test", SHOWN)):
        one = found[split]
        at = np.array(one["values"]["ours"])
        assert len(set(at.tolist())) == len(at) == count
        assert np.isin(at, pool.splits[split]).all()
        assert np.all(np.diff(at) > 0)
        assert one["ids"] == [f"row {int(place)}" for place in at]
        assert one["labels"] == (at % 7).astype(int).tolist()
        assert one["null"] == (-at).tolist()
    assert drawn(0) == found
    assert drawn(1)["test"]["ids"] != found["test"]["ids"]


# Epsilon


def audits(pool, **sides):
    return {label: audit_method(Candidate(pool, two_classes(side), 0)) for label, side in sides.items()}


EPSILON_SIZES = {"forget": 3, "retain": 6, "holdout": 4, "test": 6}


def epsilon_of(models, *, originals=None, heldout=None):
    """The epsilon part where unlearned and original lie 50 nats off on the first forget row, and like gold else."""
    gold = seeded((models, 19), 1)
    ours = seeded((models, 19), 2)
    ours[:, 0] += 50
    first = seeded((originals or models, 19), 3)
    pool = made(EPSILON_SIZES, gold=gold, original=first, heldout=heldout)
    more = {} if heldout is None else {"gold": heldout}
    return epsilons(pool, tuple("abcdefghijklmnopqrs"), audits(pool, original=first, ours=ours, **more))


def test_with_few_models_there_is_no_epsilon():
    assert epsilon_of(15) is None


def test_epsilon_of_every_forget_row():
    """A row that every model tells reaches the ceiling of 10 judging models a side at level 0.05 / 2."""
    found = epsilon_of(20)
    assert found["ids"] == ["a", "b", "c"]
    assert set(found["values"]) == {"original", "ours"}
    assert found["null"] is None
    assert found["models"] == 20
    told, taken = (float(beta.ppf(0.05 / 4, 10, 1)), float(beta.ppf(1 - 0.05 / 4, 1, 10)))
    ceiling = math.log((told - 1e-5) / taken)
    assert found["ceiling"] == pytest.approx(ceiling, abs=1e-4)
    assert found["values"]["ours"][0] == pytest.approx(ceiling, abs=1e-4)
    assert max(*found["values"]["ours"][1:], *found["values"]["original"]) < ceiling / 2


def test_the_null_of_epsilon_is_that_of_held_out_gold():
    heldout = seeded((20, 19), 7)
    found = epsilon_of(20, heldout=heldout)
    assert set(found["values"]) == {"original", "ours"}
    assert len(found["null"]) == 3
    far = heldout.copy()
    far[:, 2] -= 50
    assert epsilon_of(20, heldout=far)["null"][2] == pytest.approx(found["ceiling"])


def test_no_bound_lies_above_the_ceiling():
    found = epsilon_of(64, originals=16)
    assert max(found["values"]["ours"]) <= found["ceiling"] + 1e-9


# Difficulty


def test_strata_by_hand():
    """Shadows 0 and 1 saw the row: memorised by 1 where right with it and wrong without, by 0 where always right."""
    sizes = {"forget": 7, "retain": 2, "holdout": 1, "test": 1}
    inside = np.zeros((4, 11), dtype=bool)
    inside[:2] = True
    right = np.ones((4, 11), dtype=bool)
    right[2:, [1, 4]] = False  # fully memorised
    right[3, [0, 6]] = False  # half of those without it are wrong
    pool = made(sizes, shadows=(np.where(right, 2.0, -2.0), inside))
    rows = np.array([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0])
    one = Estimate("klom", 0.0, None, 0.0, None, rows, summary(rows), {})
    null = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    found = difficulty(pool, {"ours": Audited({"klom": {"forget": one}})}, null, measure="klom", unit="nats")
    assert found == {
        "measure": "klom",
        "unit": "nats",
        "shadows": 4,
        "rows": {"low": 3, "medium": 2, "high": 2},  # rows 2, 3, 5; rows 0, 6; rows 1, 4
        "scores": {"low": [0.0, 0.0], "medium": [0.5, 0.5], "high": [1.0, 1.0]},
        "values": {"ours": {"low": pytest.approx(130 / 3), "medium": 40.0, "high": 35.0}},
        "null": {"low": pytest.approx(13 / 3), "medium": 4.0, "high": 3.5},
    }


@pytest.mark.parametrize("forget", [3, 8, 30])
def test_strata_count_every_forget_row_once(forget):
    rows = forget + 4
    inside = np.random.default_rng(0).permuted(np.arange(8)[:, None] % 2 == np.zeros(rows, dtype=int), axis=0)
    pool = made({"forget": forget, "retain": 2, "holdout": 1, "test": 1}, shadows=(seeded((8, rows)), inside))
    null = np.ones(forget)
    found = difficulty(pool, {}, null, measure="klom", unit="nats")
    assert sum(found["rows"].values()) == forget
    right = seeded((8, rows)) >= 0
    shares = [right[inside[:, at], at].mean() - right[~inside[:, at], at].mean() for at in range(forget)]
    thirds = np.array_split(np.sort(shares), 3)
    assert list(found["rows"].values()) == [len(third) for third in thirds]
    assert list(found["scores"].values()) == [[third.min(), third.max()] for third in thirds]
    assert found["null"] == {"low": 1.0, "medium": 1.0, "high": 1.0}


def test_where_gold_has_no_null_none_is_drawn():
    sizes = {"forget": 3, "retain": 2, "holdout": 1, "test": 2}
    inside = np.arange(4)[:, None] % 2 == np.zeros(8, dtype=int)
    pool = made(sizes, shadows=(seeded((4, 8)), inside))
    ids = tuple("abcdefgh")
    rows = per_row(pool, ids, {"ours": numbered(pool)}, None, measure="klom", unit="nats", seed=0)
    assert [rows[split]["null"] for split in ("forget", "retain", "test")] == [None] * 3
    assert difficulty(pool, {"ours": numbered(pool)}, None, measure="klom", unit="nats")["null"] is None


def test_shadows_that_all_saw_a_row_draw_neither_roc_nor_strata():
    sizes = {"forget": 3, "retain": 2, "holdout": 1, "test": 2}
    inside = np.arange(4)[:, None] % 2 == np.zeros(8, dtype=int)
    inside[:, 1] = True
    pool = made(sizes, shadows=(seeded((4, 8)), inside))
    assert roc(pool, {"ours": two_classes(seeded((1, 8)))}) is None
    assert difficulty(pool, {}, np.ones(3), measure="klom", unit="nats") is None


def test_no_strata_without_shadow_models_or_with_two_forget_rows():
    inside = np.arange(4)[:, None] % 2 == np.zeros(6, dtype=int)
    pool = made({"forget": 2, "retain": 2, "holdout": 1, "test": 1}, shadows=(seeded((4, 6)), inside))
    assert difficulty(pool, {}, np.ones(2), measure="klom", unit="nats") is None
    assert difficulty(made({"forget": 9, "retain": 1}), {}, np.ones(9), measure="klom", unit="nats") is None


# Gold against gold


def test_the_null_of_a_row_is_held_out_gold():
    gold, heldout = seeded((8, 19), 1), 3 + seeded((5, 19), 2)
    at = slice(3, 9)

    def distance(ours, theirs):
        """The formula of the method distance, row by row."""
        out = []
        for u, g in zip(ours.T, theirs.T, strict=True):
            shift, mine, its = u.mean() - g.mean(), u.var(ddof=1), g.var(ddof=1)
            out.append((mine / its + its / mine - 2) / 4 + shift**2 * (1 / mine + 1 / its) / 4)
        return out

    beside = gold_rows(made(EPSILON_SIZES, gold=gold, heldout=heldout), "retain", "method_distance")
    assert beside == pytest.approx(distance(heldout[:, at], gold[:, at]), rel=1e-5)
    far = gold_rows(made(EPSILON_SIZES, gold=gold, heldout=heldout + 90), "retain", "klom")
    assert np.all(far > 5)
    narrow = np.repeat(gold[:1], 5, axis=0)  # held-out gold from within gold costs little, gold from within it much
    assert np.all(gold_rows(made(EPSILON_SIZES, gold=gold, heldout=narrow), "retain", "klom") < math.log(8) + 1e-6)
