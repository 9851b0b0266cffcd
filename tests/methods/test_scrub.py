"""SCRUB and SCRUB+R beside their objectives. For every method: tests/properties/test_methods.py."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from expunge.errors import ConfigError
from expunge.methods.finetune import FineTune
from expunge.methods.scrub import Scrub, nearest
from expunge.training import Run, predict
from tests.tiny import same_weights, tiny_problem, tiny_recipe, tiny_rows

PLAIN = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "decay_after": ()}


def divergence(problem, model, temperature=1.0):
    """KL(original || model) of each forget row."""
    theirs = (predict(problem.original, problem.rows, problem.forget) / temperature).log_softmax(-1)
    ours = (predict(model, problem.rows, problem.forget) / temperature).log_softmax(-1)
    return (theirs.exp() * (theirs - ours)).sum(-1)


def test_the_teacher_stays_as_it_was_and_shares_no_storage(monkeypatch):
    problem = tiny_problem(seed=0, shape=(1, 8, 8), recipe=tiny_recipe(model="allcnn", channels=2, dropout=0.2))
    problem.original.train()  # the mode that the original happens to be in does not matter
    seen = {}
    outputs = Run.outputs

    def spy(self, model, batch):
        seen[id(model)] = model
        assert not any(module.training for module in model.modules())
        return outputs(self, model, batch)

    monkeypatch.setattr(Run, "outputs", spy)
    student = Scrub(epochs=2, msteps=1, lr=0.01).run(problem, seed=0).model
    (teacher,) = seen.values()
    assert same_weights(teacher, problem.original)
    mine = {p.untyped_storage().data_ptr() for p in student.parameters()}
    assert not mine & {p.untyped_storage().data_ptr() for p in teacher.parameters()}
    pairs = zip(student.parameters(), problem.original.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in pairs)  # the optimiser owns the student, all of it


def test_max_epochs_alone_drive_the_student_away():
    problem = tiny_problem(seed=0)
    settings = {
        "alpha": 0.0,
        "gamma": 0.0,
        "lr": 0.05,
        "momentum": 0.0,
        "weight_decay": 1e-3,
        "optimizer": "sgd",
    }
    gaps = [
        float(
            divergence(problem, Scrub(epochs=n, msteps=n, decay_after=(), **settings).run(problem, seed=0).model).mean()
        )
        for n in (1, 10, 20, 40, 80)
    ]
    assert gaps == sorted(gaps)
    still = Scrub(epochs=80, msteps=0, decay_after=(), **settings).run(problem, seed=0).model
    assert gaps[-1] > 10 * float(divergence(problem, still).mean())  # it climbs; decay alone does not do that


def test_without_max_epochs_it_is_distillation_beside_the_labels():
    problem = tiny_problem(seed=0, batch_size=120)
    method = Scrub(epochs=3, msteps=0, alpha=0.7, gamma=0.4, temperature=3.0, lr=0.1, **PLAIN)
    model, teacher = deepcopy(problem.original), deepcopy(problem.original)
    x, y = problem.rows.batch(problem.retain)
    with torch.no_grad():
        soft = (teacher(x) / 3).softmax(-1)
    for _ in range(3):
        model.zero_grad()
        outputs = model(x)
        kl = functional.kl_div((outputs / 3).log_softmax(-1), soft, reduction="batchmean")
        (0.7 * 9 * kl + 0.4 * functional.cross_entropy(outputs, y)).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
    ours = method.run(problem, seed=0).model.state_dict()
    for name, p in model.named_parameters():
        assert torch.allclose(ours[name], p, atol=1e-5)


def test_without_teacher_and_max_epochs_it_is_finetuning_bit_for_bit():
    problem = tiny_problem(seed=0)
    same = {"epochs": 2, "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
    ours = Scrub(msteps=0, alpha=0.0, gamma=1.0, optimizer="sgd", **same).run(problem, seed=3).model
    assert same_weights(ours, FineTune(**same).run(problem, seed=3).model)


def test_the_loss_of_a_max_step_is_minus_the_scaled_divergence():
    problem = tiny_problem(seed=0)
    one = Scrub(epochs=1, msteps=1, lr=0.1, **PLAIN).run(problem, seed=0)
    two = Scrub(epochs=2, msteps=2, lr=0.1, **PLAIN).run(problem, seed=0)  # same seed: the same first epoch
    expected = -4 * float(divergence(problem, one.model, temperature=2.0).mean())
    assert expected < -1e-6
    assert two.history[len(one.history)] == pytest.approx(expected, rel=1e-3)


def test_max_epochs_come_first_each_before_its_min_epoch():
    problem = tiny_problem(seed=0)
    stream, ends = Scrub(epochs=3, msteps=2, batch_size=54, forget_batch_size=4).plan(problem, Run(seed=0))
    roles = [draw.role[0] for (draw,) in stream.steps]
    assert "".join(roles) == "fffrr" + "fffrr" + "rr"
    assert ends == [5, 10, 12]
    assert {len(draw.indices) for (draw,) in stream.steps if draw.role == "forget"} == {4}
    assert {len(draw.indices) for (draw,) in stream.steps if draw.role == "retain"} == {54}
    first, second = (np.concatenate([d.indices for (d,) in stream.steps[a:b]]) for a, b in ((3, 5), (8, 10)))
    assert not np.array_equal(first, second)  # each epoch has its own order


def test_lr_falls_after_the_declared_epochs():
    method = Scrub(decay_after=(2, 3))
    assert [method.decay(epoch) for epoch in range(5)] == pytest.approx([1, 1, 0.1, 0.01, 0.01])
    problem = tiny_problem(seed=0)
    long = Scrub(epochs=3, msteps=0, lr=0.5, **{**PLAIN, "decay_after": (1, 1, 1, 1, 1, 1, 1, 1, 1)})
    short = Scrub(epochs=1, msteps=0, lr=0.5, **PLAIN)
    ours, once = long.run(problem, seed=0).model, short.run(problem, seed=0).model
    for a, b in zip(ours.parameters(), once.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)  # after epoch 1 the rate is 1e-9 of itself


def test_cost_counts_the_teacher():
    cost = Scrub(epochs=4, msteps=2).run(tiny_problem(seed=0), seed=0).cost
    assert cost.backward == cost.forward == {"forget": 2 * 12, "retain": 4 * 108}


def erratic(**changes):
    """Settings under which the error climbs for three epochs and then comes down."""
    return Scrub(**{"epochs": 6, "msteps": 3, "lr": 0.05, "forget_batch_size": 4, "decay_after": (), **changes})


def test_rewind_returns_the_epoch_whose_error_is_nearest_the_final_one():
    problem = replace(tiny_problem(seed=0), holdout=tiny_rows(330, seed=5))
    unlearned = erratic(rewind=True).run(problem, seed=0)
    errors, unseen = unlearned.notes["forget_errors"], unlearned.notes["holdout_errors"]
    gaps = [abs(error - unseen[-1]) for error in errors]
    epoch = unlearned.notes["returned_epoch"]
    assert gaps[epoch - 1] == min(gaps)
    assert min(gaps) < gaps[-1]  # or this test would show nothing
    labels = problem.rows.labels[torch.as_tensor(problem.forget)]
    wrong = predict(unlearned.model, problem.rows, problem.forget).argmax(-1) != labels
    assert float(wrong.float().mean()) == pytest.approx(errors[epoch - 1])
    again = erratic(epochs=epoch, msteps=min(3, epoch)).run(problem, seed=0).model
    assert same_weights(unlearned.model, again)
    assert "warning" not in unlearned.notes
    assert unlearned.cost.forward["holdout"] == 6 * 110


def test_the_holdout_error_is_that_of_the_forget_rows_classes():
    problem = tiny_problem(seed=0)
    unlearned = erratic(rewind=True).run(problem, seed=0)
    final = erratic().run(problem, seed=0).model
    at = np.flatnonzero(problem.holdout.labels.numpy() == 0)
    by_hand = float((predict(final, problem.holdout, at).argmax(-1) != 0).float().mean())
    assert unlearned.notes["holdout_errors"][-1] == pytest.approx(by_hand, abs=1e-6)


def test_a_rewind_may_aim_at_each_epochs_own_error():
    problem = replace(tiny_problem(seed=0), holdout=tiny_rows(330, seed=5))
    unlearned = erratic(rewind=True, rewind_reference="per_epoch").run(problem, seed=0)
    notes = unlearned.notes
    pairs = zip(notes["forget_errors"], notes["holdout_errors"], strict=True)
    gaps = [abs(error - own) for error, own in pairs]
    assert gaps[notes["returned_epoch"] - 1] == min(gaps)
    assert notes["returned_epoch"] != erratic(rewind=True).run(problem, seed=0).notes["returned_epoch"]


def test_few_holdout_rows_are_warned_about():
    notes = Scrub(epochs=1, msteps=1, rewind=True).run(tiny_problem(seed=0), seed=0).notes
    assert notes["warning"].startswith("rewind: expected 100 or more holdout rows with the forget rows' labels, got 20")


def test_without_rewind_holdout_is_not_read():
    unlearned = Scrub(epochs=1, msteps=1).run(tiny_problem(seed=0), seed=0)
    assert "holdout" not in unlearned.cost.forward
    assert unlearned.notes == {}


def test_nearest_prefers_the_later_of_equals():
    assert nearest([0.0, 0.2, 0.4, 0.2], [0.3] * 4) == 3
    assert nearest([0.0, 0.2, 0.5], [0.0, 0.4, 0.4]) == 0


def test_presets_are_the_published_settings():
    rows = {  # optimiser, lr, epochs, msteps, alpha, gamma, T, batch, forget batch, weight decay, decay
        "small_scale": ("adam", 5e-4, 10, 3, 0.5, 1, 2, 32, 64, 0.1, (5, 8, 9)),
        "large_scale": ("sgd", 5e-4, 3, 2, 0.001, 0.99, 4, 128, 32, 5e-4, (3, 5, 9)),
        "membership_attack": ("sgd", 5e-4, 5, 3, 0.5, 1, 4, 32, 16, 5e-4, (3, 5, 9)),
        "confusion_small": ("adam", 5e-4, 10, 2, 0.01, 99, 2, 32, 32, 0.1, (5, 6, 9)),
        "confusion_large": ("sgd", 5e-4, 10, 2, 0.01, 1, 2, 32, 32, 5e-4, (7, 10, 10)),
    }
    assert Scrub.PRESETS.keys() == rows.keys()
    for name, row in rows.items():
        m = Scrub.preset(name)
        ours = (m.optimizer, m.lr, m.epochs, m.msteps, m.alpha, m.gamma, m.temperature)
        assert (*ours, m.batch_size, m.forget_batch_size, m.weight_decay, m.decay_after) == row
    assert Scrub.preset("large_scale", epochs=4) == replace(Scrub.preset("large_scale"), epochs=4)
    with pytest.raises(ConfigError, match=r"unknown preset 'smal_scale'\nhint: did you mean small_scale"):
        Scrub.preset("smal_scale")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"epochs": 0}, r"epochs: expected >= 1, got 0"),
        ({"epochs": 2, "msteps": 3}, r"msteps: expected in \[0, 2\], got 3"),
        ({"alpha": -1.0}, r"alpha: expected >= 0, got -1\.0"),
        ({"gamma": -1.0}, r"gamma: expected >= 0, got -1\.0"),
        ({"temperature": 0.0}, r"temperature: expected > 0, got 0\.0"),
        ({"lr": 0.0}, r"lr: expected > 0, got 0\.0"),
        ({"optimizer": "rms"}, r"optimizer: expected one of sgd, adam, adamw, got 'rms'"),
        ({"momentum": 1.0}, r"momentum: expected in \[0, 1\), got 1\.0"),
        ({"weight_decay": -0.1}, r"weight_decay: expected >= 0, got -0\.1"),
        ({"decay_after": (0,)}, r"decay_after: expected epochs >= 1, got \(0,\)"),
        ({"batch_size": -1}, r"batch_size: expected >= 0, got -1"),
        ({"forget_batch_size": -1}, r"forget_batch_size: expected >= 0, got -1"),
        ({"rewind": 1}, r"rewind: expected true or false, got 1"),
        ({"rewind_reference": "best"}, r"rewind_reference: expected one of final, per_epoch, got 'best'"),
    ],
)
def test_bad_values_name_the_range_and_the_value(wrong, text):
    with pytest.raises(ConfigError, match=text):
        Scrub(**wrong)
