"""Assembly of all measures: each beside its own direct call, or left out with a sentence; nothing silently absent."""

import json
import sys

import numpy as np
import pytest

from expunge.audit import (
    accuracy,
    accuracy_gap,
    activation_distance,
    aus,
    average_gap,
    challenge,
    disagreement,
    efficacy,
    epsilon,
    gaussian_kl,
    half_masks,
    jensen_shannon,
    klom,
    lira,
    margins,
    population_attack,
    probabilities,
    rank_tests,
    rmia,
    tug_of_war,
    u_lira,
    zrf,
)
from expunge.audit.assemble import (
    ALL,
    HOLDOUT_ATTACKS,
    LOGIT_PARTS,
    METHOD_PARTS,
    ONE_PARTS,
    Candidate,
    Pool,
    Shadows,
    audit_method,
    audit_one,
    positions,
)
from expunge.audit.row_z import row_z, row_z_estimate
from expunge.errors import NeedsError, ShapeError

NAMES = np.array(["forget", "retain", "holdout", "test"])[np.random.default_rng(0).permutation(160) % 4]
ROWS = len(NAMES)
LABELS = np.random.default_rng(1).integers(0, 3, ROWS)
HARD = np.random.default_rng(2).normal(size=ROWS)
EVERY = ("forget", "retain", "test")
TABLES = {
    "rank_tests": {"rank_auc": EVERY, "rank_ks": EVERY, "rank_variance": EVERY},
    "together": {"average_gap": (ALL,), "tug_of_war": (ALL,), "aus": (ALL,)},
    "u_lira": {"u_lira": ("forget", "retain")},
}
BY_SPLIT = {"row_z", "klom", "gaussian_kl", "accuracy_gap", "activation_distance", "jensen_shannon", "disagreement"}


def models(count, seed, *, knows=0.0, labels=LABELS, names=NAMES):
    """[count, rows, 3] logits that lean to the label, on forget rows by `knows` nats more."""
    logits = np.random.default_rng(seed).normal(size=(count, ROWS, 3))
    logits[:, np.arange(ROWS), labels] += 1 + HARD + 0.5 * (names == "retain") + knows * (names == "forget")
    return logits.astype(np.float32)


def shadows(count=8, names=NAMES, labels=LABELS):
    inside = half_masks(count, ROWS, seed=3) & (names != "test")
    logits = models(count, 14, labels=labels, names=names)
    logits[:, np.arange(ROWS), labels] += 2 * inside
    return Shadows(logits, inside)


def pool_of(*, names=NAMES, labels=LABELS, golds=20, heldout=16, originals=16, **more):
    like = {"labels": labels, "names": names}
    known = {
        "gold": models(golds, 10, **like),
        "heldout": models(heldout, 11, **like) if heldout else None,
        "original": models(originals, 12, knows=3, **like),
        "labels": labels,
        "splits": {name: np.flatnonzero(names == name) for name in ("forget", "retain", "holdout", "test")},
        "shadows": shadows(names=names, labels=labels),
        "untrained": 0.1 * np.random.default_rng(13).normal(size=(3, ROWS, 3)),
    }
    return Pool(**known | more)


def candidate(pool=None, count=16, **more):
    pool = pool or pool_of()
    logits = models(count, 20, knows=0.7, labels=pool.labels, names=pool.names)
    return Candidate(pool, logits, 5, **more)


def plain(table):
    return {name: {split: one.to_json() for split, one in splits.items()} for name, splits in table.items()}


def expected(ours, *, one=False):
    """Every measure called by itself on slices taken by hand."""
    pool, seed, groups = ours.pool, ours.seed, ours.groups
    logits = {"u": ours.logits, "g": pool.gold, "o": pool.original, "h": pool.heldout}
    logits["s"], inside = pool.shadows.logits, pool.shadows.membership
    margin = {role: margins(side, pool.labels) for role, side in logits.items()}
    where = {name: np.flatnonzero(pool.names == name) for name in ("forget", "retain", "holdout", "test")}
    table = {}

    def put(name, split, found):
        table.setdefault(name, {})[split] = found

    for split in EVERY:
        at, labels = where[split], pool.labels[where[split]]
        u, g, o, h = (margin[role][:, at] for role in "ugoh")
        lu, lg, lo, lh = (logits[role][:, at] for role in "ugoh")
        null = {"heldout": h, "seed": seed, "groups": groups}
        if not one:
            put("klom", split, klom(u, g, o, **null))
            put("gaussian_kl", split, gaussian_kl(u, g, o, **null))
            tests = rank_tests(u, g, o, **null)
            for name in ("auc", "ks", "variance"):
                getattr(tests, name).extra["flagged"] = float(len(tests.flagged[name]))
                put(f"rank_{name}", split, getattr(tests, name))
        put("accuracy_gap", split, accuracy_gap(lu, lg, lo, labels=labels, groups=groups))
        like = {"heldout": lh, "seed": seed, "groups": groups}
        put("activation_distance", split, activation_distance(lu, lg, lo, **like))
        put("jensen_shannon", split, jensen_shannon(lu, lg, lo, **like))
        put("disagreement", split, disagreement(lu, lg, lo, labels=labels, **like))
    if one:
        found = row_z(margin["u"], margin["g"], margin["o"][:1], test=pool.names == "test")
        table = {"row_z": {split: row_z_estimate(found, where[split]) for split in EVERY}} | table
    else:
        for split in ("forget", "retain"):
            sides = [margin[role][:, where[split]] for role in "ugo"]
            put("u_lira", split, u_lira(*sides, groups={} if groups is None else {"unlearned": groups}, seed=seed))
        at = where["forget"]
        sides = [margin[role][:, at] for role in "ugo"]
        put("epsilon", "forget", epsilon(*sides, heldout=margin["h"][:, at], seed=seed, groups=groups))
    at = where["forget"]
    put("zrf", "forget", zrf(*(logits[role][:, at] for role in "ugo"), random=pool.untrained[:, at], groups=groups))
    attacked = np.concatenate([where["forget"], where["holdout"]])
    told = {"labels": pool.labels[attacked], "forget": np.arange(len(attacked)) < len(where["forget"])}
    sides = [logits[role][:, attacked] for role in "ugo"]
    scores = {"attack": "loss", "entropy": "entropy", "modified_entropy": "modified_entropy"}
    for name, score in scores.items():
        found = population_attack(*sides, **told, score=score, match="class", groups=groups)
        put(f"population_{name}", "forget", found)
    at = np.concatenate([where[split] for split in EVERY])
    split = np.repeat(EVERY, [len(where[split]) for split in EVERY])
    for attack in ("starting_kit", "svc"):
        sides = [logits[role][:, at] for role in "ugo"]
        found = efficacy(*sides, labels=pool.labels[at], split=split, attack=attack, seed=seed, groups=groups)
        put(f"efficacy_{attack}", "forget", found)
    sides = [margin[role][:, attacked] for role in "ugo"]
    known = {"shadows": margin["s"][:, attacked], "membership": inside[:, attacked], "groups": groups}
    put("lira", "forget", lira(*sides, forget=told["forget"], **known))
    sure = [probabilities(logits[role])[:, np.arange(ROWS), pool.labels][:, attacked] for role in "ugos"]
    kinds = np.where(told["forget"], "forget", "holdout").astype("<U10")
    kinds[len(where["forget"]) + 1 :: 2] = "population"
    known = {"references": sure[3], "membership": inside[:, attacked], "groups": groups}
    put("rmia", "forget", rmia(*sure[:3], split=kinds, **known))
    terms = {f"{split}_accuracy": table["accuracy_gap"][split] for split in EVERY}
    put("average_gap", ALL, average_gap(terms | {"mia_auc": table["population_attack"]["forget"]}))
    right = [
        np.stack([accuracy(logits[role][:, where[split]], pool.labels[where[split]]) for split in EVERY], axis=1)
        for role in "ugo"
    ]
    put("tug_of_war", ALL, tug_of_war(*right, groups=groups))
    put("aus", ALL, aus(*(part[:, [0, 2]] for part in right), groups=groups))
    return table


def accounted(found, parts):
    """Every part is in the table with all its measures and splits, or skipped with a reason, never both."""
    measures = {}
    for part in parts:
        if part in found.skipped:
            assert len(found.skipped[part]) > 10
        else:
            splits = EVERY if part in BY_SPLIT else ("forget",)
            measures |= TABLES.get(part, {part: splits})
    assert {name: tuple(splits) for name, splits in found.table.items()} == measures
    assert set(found.skipped) <= set(parts)


@pytest.mark.parametrize("runs", [1, 2])
def test_of_a_method_every_measure_is_what_its_own_call_gives(runs):
    ours = candidate(count=16 * runs, groups=None if runs == 1 else np.repeat(np.arange(16), runs))
    found = audit_method(ours)
    assert plain(found.table) == plain(expected(ours))
    assert found.skipped == {
        "challenge": f"its published score takes 512 models a side, there are {min(16 * runs, 20)}"
    }
    accounted(found, METHOD_PARTS)
    assert found.table["klom"]["forget"].start > found.table["klom"]["forget"].value


def test_of_one_model_every_measure_is_what_its_own_call_gives():
    ours = candidate(count=1)
    found = audit_one(ours)
    assert plain(found.table) == plain(expected(ours, one=True))
    assert (next(iter(found.table)), found.skipped) == ("row_z", {})
    accounted(found, ONE_PARTS)
    json.dumps(plain(found.table), allow_nan=False)


@pytest.mark.parametrize(("golds", "parity"), [(8, True), (12, False)])
def test_the_challenges_score_is_published_parity_where_numbers_are_equal(golds, parity, monkeypatch):
    monkeypatch.setattr(sys.modules["expunge.audit.assemble"], "CHALLENGE", 8)
    at = np.flatnonzero(NAMES == "forget")[:2]
    pool = pool_of(golds=golds, heldout=8, splits=pool_of().splits | {"forget": at})
    ours, part = candidate(pool, count=8), METHOD_PARTS["challenge"]
    sides = [side[:, at] for side in (ours.margins, pool.margins["gold"], pool.margins["original"])]
    direct = challenge(*sides, heldout=pool.margins["heldout"][:, at], parity=parity, seed=5)
    assert plain(part(ours)) == plain({"challenge": {"forget": direct}})
    with pytest.raises(NeedsError, match="its published score takes 8 models a side, there are 7"):
        part(candidate(pool, count=7))


@pytest.mark.parametrize("audited", [audit_method, audit_one])
def test_without_unseen_holdout_rows_exactly_the_attacks_on_them_are_left_out(audited):
    count, parts = (16, METHOD_PARTS) if audited is audit_method else (1, ONE_PARTS)
    whole, found = audited(candidate(count=count)), audited(candidate(count=count, holdout_is_unseen=False))
    reason = "the method trained on holdout rows, so that there are no unseen ones"
    assert found.skipped == whole.skipped | dict.fromkeys(HOLDOUT_ATTACKS, reason)
    accounted(found, parts)
    same = set(whole.table) - set(HOLDOUT_ATTACKS) - {"average_gap"}
    assert {name: plain(found.table)[name] for name in same} == {name: plain(whole.table)[name] for name in same}
    terms = [set(one.table["average_gap"][ALL].extra) for one in (whole, found)]
    assert terms[0] - terms[1] == {"mia_auc"}
    assert len(terms[1]) == 3


def test_holdout_rows_matter_to_those_attacks_alone():
    """The set of attacks above is whole: other outputs on holdout rows change nothing else."""
    ours = candidate()
    noise = 5 * np.random.default_rng(0).normal(size=ours.logits.shape) * (NAMES == "holdout")[:, None]
    other = Candidate(ours.pool, ours.logits + noise.astype(np.float32), 5)
    one, two = plain(audit_method(ours).table), plain(audit_method(other).table)
    assert {name for name in one if one[name] != two[name]} == {*HOLDOUT_ATTACKS, "average_gap"}


def test_a_class_without_holdout_rows_leaves_out_what_compares_by_class():
    names = NAMES.copy()
    names[(NAMES == "holdout") & (LABELS == 2)] = "retain"
    found = audit_method(candidate(pool_of(names=names)))
    reason = "a class of forget has no holdout row to compare with"
    attacks = ("population_attack", "population_entropy", "population_modified_entropy")
    assert {name: found.skipped[name] for name in attacks} == dict.fromkeys(attacks, reason)
    assert set(found.skipped) == {*attacks, "challenge"}
    accounted(found, METHOD_PARTS)
    terms = {"forget_accuracy", "retain_accuracy", "test_accuracy"}
    assert set(found.table["average_gap"][ALL].extra) == terms
    spare = names.copy()  # a class that is missing in holdout, and not in forget either
    spare[(names == "forget") & (LABELS == 2)] = "retain"
    assert set(audit_method(candidate(pool_of(names=spare))).skipped) == {"challenge"}


def test_without_any_holdout_row_every_attack_on_them_says_so():
    names = np.where(NAMES == "holdout", "retain", NAMES)
    found = audit_one(candidate(pool_of(names=names), count=1))
    assert set(found.skipped) == set(HOLDOUT_ATTACKS)
    assert found.skipped["lira"].startswith("an attack needs forget and holdout rows, got 40 and 0")
    assert found.skipped["rmia"] == "RMIA needs holdout rows, got none"
    accounted(found, ONE_PARTS)


def test_absent_shadows_and_untrained_models_are_named():
    found = audit_method(candidate(pool_of(shadows=None, untrained=None)))
    assert {name: found.skipped[name] for name in ("lira", "rmia", "zrf")} == {
        "lira": "no shadow models",
        "rmia": "no shadow models",
        "zrf": "no untrained models to compare with",
    }
    accounted(found, METHOD_PARTS)
    assert "shadows" not in candidate(pool_of(shadows=None)).pool.margins


def test_too_few_models_are_named_measure_by_measure():
    found = audit_method(candidate(count=2))
    assert found.skipped == {
        "rank_tests": "unlearned: needs at least 3 models, got 2",
        "u_lira": "unlearned: needs at least 4 models, got 2",
        "epsilon": "unlearned: needs at least 16 models, got 2",
        "challenge": "its published score takes 512 models a side, there are 2",
    }
    accounted(found, METHOD_PARTS)
    few = audit_one(candidate(pool_of(golds=3), count=1))
    assert few.skipped == {"row_z": "gold: needs at least 4 models, got 3"}
    accounted(few, ONE_PARTS)


def test_too_few_originals_or_heldout_gold_leave_out_start_and_null_alone():
    found = audit_method(candidate(pool_of(originals=1, heldout=2)))
    assert set(found.skipped) == {"challenge"}
    assert found.table["klom"]["forget"].start is not None
    assert found.table["accuracy_gap"]["test"].start is not None
    for name in ("gaussian_kl", "rank_auc", "u_lira", "epsilon"):
        assert found.table[name]["forget"].start is None
    assert found.table["klom"]["test"].extra["null_heldout"] == 0  # two cannot stand for sixteen
    none = audit_method(candidate(pool_of(heldout=0)))
    whole = audit_method(candidate())
    assert none.table["klom"]["test"].extra["null_heldout"] == 0
    assert whole.table["klom"]["test"].extra["null_heldout"] == 1
    assert set(none.table) == set(whole.table)


def test_a_removed_class_is_judged_as_one():
    names = np.where(NAMES == "forget", "retain", NAMES)
    names[(LABELS == 2) & (names == "retain")] = "forget"
    ours = candidate(pool_of(names=names))
    assert ours.pool.class_removed
    assert not pool_of().class_removed
    more = names.copy()  # one class is removed, of another some rows are: no class stands for all of forget
    more[np.flatnonzero((LABELS == 0) & (names == "retain"))[:5]] = "forget"
    assert not pool_of(names=more).class_removed
    right = [
        np.stack([accuracy(side[:, names == split], LABELS[names == split]) for split in ("forget", "test")], axis=1)
        for side in (ours.logits, ours.pool.gold, ours.pool.original)
    ]
    found = audit_method(ours).table["aus"][ALL]
    assert found.value == pytest.approx(aus(*right, kind="class").value)
    assert found.value != pytest.approx(aus(*right, kind="random").value)


def test_margins_alone_give_the_same_values_where_the_margin_is_all_that_counts():
    """All forget and holdout rows are of class 1: attacks that match classes have one to match, as margins have."""
    labels = np.where(np.isin(NAMES, ["forget", "holdout"]), 1, LABELS)

    def alone(logits):
        margin = margins(logits, labels)
        return np.stack([margin, np.zeros_like(margin)], axis=-1)

    ours = candidate(pool_of(labels=labels))
    whole = ours.pool
    sides = {role: alone(getattr(whole, role)) for role in ("gold", "heldout", "original")}
    inside = Shadows(alone(whole.shadows.logits), whole.shadows.membership)
    pool = Pool(**sides, labels=0 * labels, splits=whole.splits, shadows=inside, whole=False)
    for audited, parts in ((audit_method, METHOD_PARTS), (audit_one, ONE_PARTS)):
        count = 16 if audited is audit_method else 1
        given = audited(Candidate(whole, ours.logits[:count], 5))
        found = audited(Candidate(pool, alone(ours.logits[:count]), 5))
        assert set(found.skipped) == LOGIT_PARTS | ({"challenge"} & set(parts))
        assert {found.skipped[name] for name in LOGIT_PARTS} == {
            "only margins are there, not the outputs of all classes"
        }
        accounted(found, parts)
        assert {"population_attack", "lira", "rmia", "efficacy_svc"} <= set(found.table)
        for name, splits in found.table.items():
            for split, one in splits.items():
                other = given.table[name][split]
                assert one.value == pytest.approx(other.value, rel=1e-5, abs=1e-7), name
                assert one.null == pytest.approx(other.null, rel=1e-5, abs=1e-7), name
                assert one.start == pytest.approx(other.start, rel=1e-5, abs=1e-7), name
                assert one.rows == pytest.approx(other.rows, rel=1e-4, abs=1e-6), name


def test_parts_that_take_all_classes_are_those_that_change_with_the_other_logits():
    """Whatever only the margin decides is left as it is when the other classes exchange their logits."""
    ours = candidate()
    at = np.arange(ROWS)
    turned = ours.logits.copy()
    others = np.stack([(LABELS + 1) % 3, (LABELS + 2) % 3])
    spread = np.logaddexp(turned[:, at, others[0]], turned[:, at, others[1]])
    turned[:, at, others[0]] = turned[:, at, others[1]] = spread - np.log(2)  # the same margin, another second class
    one, two = audit_method(ours).table, audit_method(Candidate(ours.pool, turned, 5)).table
    moved = {
        name
        for name in one
        if any(one[name][s].value != pytest.approx(two[name][s].value, abs=1e-4) for s in one[name])
    }
    parts = {part for part in METHOD_PARTS if set(TABLES.get(part, {part: ()})) & moved}
    assert parts == LOGIT_PARTS


def test_positions_end_to_end():
    found = positions(5, 2, 3, np.array([3, 1]))
    assert {name: at.tolist() for name, at in found.items()} == {
        "forget": [3, 1],
        "retain": [0, 2, 4],
        "holdout": [5, 6],
        "test": [7, 8, 9],
    }


def test_a_pool_knows_names_margins_and_accuracies():
    pool = pool_of()
    assert pool.names.tolist() == NAMES.tolist()
    assert set(pool.margins) == {"gold", "original", "heldout", "shadows"}
    assert np.array_equal(pool.margins["heldout"], margins(pool.heldout, LABELS))
    assert set(pool_of(heldout=0).margins) == {"gold", "original", "shadows"}
    right = pool.gold.argmax(-1) == LABELS
    by_hand = np.stack([right[:, split == NAMES].mean(axis=1) for split in EVERY], axis=1)
    assert pool.accuracies["gold"] == pytest.approx(by_hand)
    assert pool.accuracies["original"][:, 0].min() > pool.accuracies["gold"][:, 0].max()
    fewer = pool_of(splits=pool.splits | {"test": pool.splits["test"][1:]})
    assert fewer.names[pool.splits["test"][0]] == ""


def test_refusals():
    splits = pool_of().splits
    with pytest.raises(
        NeedsError, match=r"expected the splits forget, retain, holdout and test, \['holdout'\] are absent"
    ):
        pool_of(splits={name: at for name, at in splits.items() if name != "holdout"})
    broken = models(16, 20)
    broken[3, 17, 1] = np.nan
    with pytest.raises(ShapeError, match=r"expected finite values, got nan at \(3, 17, 1\)"):
        audit_method(Candidate(pool_of(), broken, 5))  # a fault of the arrays is an error, not a measure left out
    with pytest.raises(ShapeError, match="groups: expected one id per unlearned model"):
        audit_method(candidate(groups=np.zeros(15)))
    with pytest.raises(ShapeError, match="expected"):
        audit_method(Candidate(pool_of(), models(16, 20)[:, :-1], 5))
