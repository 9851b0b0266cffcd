"""Reset and fine-tune: selectors, perturbations, objectives, and presets as plain configurations."""

import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from expunge.data import MemoryRows
from expunge.errors import ConfigError
from expunge.methods.layers import newborn
from expunge.methods.objectives import OBJECTIVES, entropy
from expunge.methods.presets import PRESETS
from expunge.methods.reset_finetune import ResetFineTune, slowed
from expunge.methods.resets import SELECTORS, disturb, kernels, lowest, shuffle
from expunge.problem import Problem
from expunge.tasks import Classification, Regression
from expunge.training import Recipe, Run, fit, predict
from tests.tiny import same_weights, tiny_problem, tiny_recipe

SHORT = {"recipe": tiny_recipe(model="allcnn", channels=4, epochs=1), "shape": (1, 8, 8), "rows": 60}


@pytest.fixture(scope="module")
def dense():
    return tiny_problem(seed=0)


@pytest.fixture(scope="module")
def images():
    return tiny_problem(seed=0, forget=5, **SHORT)


def disturbed(preset, problem, **changed):
    """The model before any repair, and the names of what differs from the original."""
    settings = {"epochs": 0, "holdout_epochs": 0, "half": False} | changed
    model = ResetFineTune(preset=preset, **settings).run(problem, seed=0).model
    ours, theirs = model.state_dict(), problem.original.state_dict()
    return model, {name for name in ours if not torch.equal(ours[name], theirs[name])}


# which weights are selected


def test_lowest_takes_exactly_the_share_even_among_equals():
    assert lowest(torch.zeros(2, 5), 0.3).sum() == 3
    assert lowest(torch.tensor([[3.0, 1.0], [2.0, 0.0]]), 0.5).tolist() == [[False, True], [False, True]]


def test_small_gradient_picks_the_smallest_of_retain_minus_forget_in_each_kernel(dense):
    problem = replace(dense, forget=np.arange(80))  # more than retain: all 40 retain rows are drawn
    run = Run(seed=0, batch_size=32)  # in unequal batches
    masks = SELECTORS["small_gradient"](problem.original, problem, run, 0.3, 0)
    model, task = deepcopy(problem.original), problem.recipe.task
    loss = task.loss(model(problem.rows.x), problem.rows.labels)
    (loss[problem.retain].mean() - loss[problem.forget].mean()).backward()
    assert list(masks) == ["1.weight", "3.weight"]
    for name, mask in masks.items():
        size = model.get_parameter(name).grad.abs()
        assert int(mask.sum()) == round(0.3 * mask.numel())
        assert size[mask].max() < size[~mask].min()


def test_small_gradient_visits_as_many_retain_rows_as_forget_rows(dense):
    run = Run(seed=0)
    SELECTORS["small_gradient"](dense.original, dense, run, 0.3, 0)
    assert run.meter.cost().backward == {"retain": 12, "forget": 12}


def test_small_magnitude_ranks_all_kernels_together(dense):
    masks = SELECTORS["small_magnitude"](dense.original, dense, Run(seed=0), 0.4, 0)
    found = kernels(dense.original)
    chosen = torch.cat([found[name][mask].abs() for name, mask in masks.items()])
    others = torch.cat([found[name][~mask].abs() for name, mask in masks.items()])
    assert len(chosen) == round(0.4 * (len(chosen) + len(others)))
    assert chosen.max() <= others.min()


def test_selectors_go_by_type_and_order(images):
    def names(selector, share=1.0):
        return set(SELECTORS[selector](images.original, images, Run(seed=0), share, 0))

    found = list(kernels(images.original))  # eight convolutions and the dense classifier
    head = found[-1].removesuffix(".weight")
    assert len(found) == 9
    assert names("convolutions") == set(found[:-1])
    assert names("first") == {found[0]}
    assert names("ends") == {found[0], f"{head}.weight", f"{head}.bias"}
    assert names("random_layers") == {*found, f"{head}.bias"}
    assert len(names("random_layers", 0.3) - {f"{head}.bias"}) == 3
    assert names("random_weights") == set(found)


def test_random_selectors_draw_anew_in_each_cycle_and_repeat_with_the_seed(images):
    for selector in ("random_layers", "random_weights"):
        one, again, later = (
            SELECTORS[selector](images.original, images, Run(seed=0), 0.3, cycle) for cycle in (0, 0, 1)
        )
        assert all(torch.equal(one[name], again[name]) for name in one)
        assert any(name not in later or not torch.equal(one[name], later[name]) for name in one)


# what is done to them


@pytest.mark.parametrize("selector", list(SELECTORS))
def test_selected_weights_are_newborn_and_all_others_stay_to_the_bit(selector, images):
    model, run = deepcopy(images.original).eval(), Run(seed=0)
    masks = SELECTORS[selector](model, images, run, 0.3, 0)
    share = disturb(model, masks, "reinitialise", 0.0, images, run, 0)
    fresh = newborn(images, run).state_dict()
    for name, before in images.original.state_dict().items():
        mask = masks.get(name, torch.tensor(False))
        assert torch.equal(model.state_dict()[name], torch.where(mask, fresh[name], before)), name
    total = sum(p.numel() for p in model.parameters())
    assert share == sum(int(mask.sum()) for mask in masks.values()) / total


def test_msg_reinitialises_the_share_that_is_set(dense):
    for share in (0.25, 0.5):
        model, _ = disturbed("msg", dense, share=share)
        ours, theirs = kernels(model), kernels(dense.original)
        changed = [int((ours[name] != theirs[name]).sum()) / theirs[name].numel() for name in theirs]
        assert changed == [share, share]
    assert disturbed("msg", dense)[1] == {"1.weight", "3.weight"}  # biases stay


def test_ct_transposes_every_kernel_and_twice_is_the_identity(images):
    model, changed = disturbed("ct", images)
    theirs = images.original.state_dict()
    square = {name for name, p in theirs.items() if p.ndim == 4 and p.shape[-1] > 1}
    assert changed == square
    assert len(square) == 7  # the eighth is 1 x 1
    assert all(torch.equal(model.state_dict()[name], theirs[name].transpose(2, 3)) for name in square)
    assert same_weights(disturbed("ct", images, cycles=2)[0], images.original)


def test_ct_refuses_where_it_would_change_nothing(dense, tmp_path):
    with pytest.raises(ConfigError, match="selector 'convolutions': expected a model with convolutions, got none"):
        ResetFineTune(preset="ct").run(dense, seed=0)
    with pytest.raises(ConfigError, match="perturbation 'transpose': expected to change the selected weights"):
        ResetFineTune(preset="ct", selector="random_weights").run(dense, seed=0)
    source = tmp_path / "pointwise.py"
    source.write_text(
        "from torch import nn\n"
        "def build(shape, width):\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, width))\n"
    )
    recipe = tiny_recipe(model=f"{source}:build", epochs=1)
    pointwise = tiny_problem(seed=0, recipe=recipe, shape=(1, 2, 2))
    with pytest.raises(ConfigError, match="transpose needs square convolution kernels larger than 1 x 1"):
        ResetFineTune(preset="ct").run(pointwise, seed=0)


def test_cfw_adds_noise_of_the_given_size_to_the_first_kernel(dense):
    model, changed = disturbed("cfw", dense)
    assert changed == {"1.weight"}
    added = model.get_parameter("1.weight") - dense.original.get_parameter("1.weight")
    assert 0.45 < added.std() < 0.75  # 96 draws of N(0, 0.6^2)


def test_prmq_rounds_to_float16(dense):
    model = ResetFineTune(preset="prmq", epochs=1).run(dense, seed=0).model
    assert all(p.dtype == torch.float32 and torch.equal(p, p.half().float()) for p in model.parameters())
    exact = ResetFineTune(preset="prmq", epochs=1, half=False).run(dense, seed=0).model
    assert not same_weights(model, exact)


def test_shuffle_permutes_the_selected_weights_only():
    weight, mask = torch.arange(12.0).reshape(3, 4), torch.arange(12).reshape(3, 4) >= 4
    mixed = shuffle(weight, mask, weight, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(mixed[~mask], weight[~mask])
    assert not torch.equal(mixed, weight)
    assert torch.equal(mixed.flatten().sort().values, weight.flatten())


def test_without_perturbation_it_is_finetuning_of_the_original(dense):
    done = ResetFineTune(perturbation="none", epochs=0).run(dense, seed=0)
    assert same_weights(done.model, dense.original)
    assert done.notes["selected"] == []


# how it is repaired


def test_objectives_by_hand():
    task, y = Classification(2), torch.tensor([0])
    outputs, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3) * 2, 0.0]])
    asked = {name: one(task, outputs, y, teacher, 2.0).item() for name, one in OBJECTIVES.items()}
    loss = math.log(2)
    kl = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)  # at temperature 2: (3/4, 1/4) and (1/2, 1/2)
    ours, theirs = math.log(2), -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert asked["loss"] == pytest.approx(loss)
    assert asked["distil"] == pytest.approx(loss + 2 * 4 * kl)
    assert asked["mimic"] == pytest.approx((2 * math.log(3)) ** 2 / 2)
    assert asked["match_entropy"] == pytest.approx(loss + (ours - theirs) ** 2)
    assert entropy(torch.zeros(1, 5)).item() == pytest.approx(math.log(5))


@pytest.mark.parametrize("objective", ["distil", "match_entropy", "mimic"])
def test_the_teacher_is_the_original_and_is_heard(objective, dense):
    settings = {"selector": "ends", "epochs": 2, "lr": 0.02, "weight_decay": 0.0, "kept_rate": 1.0}
    before = deepcopy(dense.original)
    done = ResetFineTune(objective=objective, **settings).run(dense, seed=0)
    assert same_weights(dense.original, before)
    assert done.cost.forward == {"retain": 2 * len(dense.retain)}
    # with the student as its own teacher these would be plain fine-tuning, and no step at all for "mimic"
    unheard = {"epochs": 0} if objective == "mimic" else {"objective": "loss"}
    alone = ResetFineTune(**settings | unheard).run(dense, seed=0)
    assert not same_weights(done.model, alone.model)


def test_imitation_comes_nearer_to_the_original(dense):
    def distance(epochs):
        method = ResetFineTune(preset="cyc", cycles=1, epochs=epochs, lr=0.02)
        return (predict(method.run(dense, seed=0).model, dense.rows) - predict(dense.original, dense.rows)).norm()

    assert distance(6) < 0.7 * distance(0)


def test_input_noise_matters(dense):
    quiet, loud = (ResetFineTune(preset="cyc", input_noise=noise, cycles=1).run(dense, seed=0) for noise in (0.0, 0.5))
    assert not same_weights(quiet.model, loud.model)


def test_kept_weights_learn_at_their_rate():
    model, masks = nn.Linear(2, 1), {"weight": torch.tensor([[True, False]])}
    for rate, expected in ((0.1, [[3.0, 0.5]]), (1.0, [[3.0, 5.0]])):
        model.zero_grad()
        with slowed(model, masks, rate):
            model(torch.tensor([[3.0, 5.0]])).sum().backward()
        assert torch.allclose(model.weight.grad, torch.tensor(expected))
        assert model.bias.grad.item() == 1.0  # of no selected tensor: full rate
    model.zero_grad()
    model(torch.tensor([[3.0, 5.0]])).sum().backward()
    assert torch.allclose(model.weight.grad, torch.tensor([[3.0, 5.0]]))  # the hook is gone


def test_kept_weights_stay_at_rate_zero_without_decay(dense):
    method = ResetFineTune(kept_rate=0.0, weight_decay=0.0, lr=0.1)
    ours, theirs = kernels(method.run(dense, seed=0).model), kernels(dense.original)
    masks = SELECTORS["small_gradient"](dense.original, dense, Run(seed=0, batch_size=32), 0.3, 0)
    for name, mask in masks.items():
        assert torch.equal(ours[name][~mask], theirs[name][~mask])
        assert bool((ours[name][mask] != theirs[name][mask]).any())


def test_running_statistics_follow_retain(images):
    done = ResetFineTune(preset="msg", epochs=1).run(images, seed=0)
    ours, theirs = dict(done.model.named_buffers()), dict(images.original.named_buffers())
    assert all(not torch.equal(ours[name], theirs[name]) for name in theirs if name.endswith("running_mean"))


# presets


@pytest.mark.parametrize("preset", list(PRESETS))
def test_preset_is_its_explicit_configuration(preset, images):
    named, explicit = ResetFineTune(preset=preset), ResetFineTune(preset="msg", **PRESETS[preset])
    assert named == explicit
    assert ResetFineTune(**named.settings()) == named
    assert named.settings() == {"preset": preset} | PRESETS[preset]
    assert same_weights(named.run(images, seed=0).model, explicit.run(images, seed=0).model)


def test_presets_hold_the_published_numbers():
    published = {
        "msg": {"share": 0.3, "epochs": 5, "lr": 1e-3, "weight_decay": 5e-4, "kept_rate": 0.1},
        "cfw": {"noise": 0.6, "epochs": 4, "lr": 7e-4, "schedule": "cosine"},
        "prmq": {"share": 0.99, "lr": 5e-4, "half": True, "objective": "match_entropy"},
        "ct": {"perturbation": "transpose", "epochs": 3, "lr": 1e-3, "schedule": "cosine"},
        "kde": {"selector": "ends", "temperature": 5.0, "holdout_epochs": 3, "epochs": 3, "lr": 1e-3},
        "cyc": {"selector": "random_layers", "objective": "mimic", "cycles": 3},
    }
    for name, values in published.items():
        assert values.items() <= PRESETS[name].items(), name


def test_a_given_setting_replaces_the_presets_even_if_it_is_zero():
    ours = ResetFineTune(preset="kde", holdout_epochs=0, half=False)
    assert ours.settings() == {"preset": "kde"} | PRESETS["kde"] | {"holdout_epochs": 0}


@pytest.mark.parametrize("preset", list(PRESETS))
def test_cost_stays_below_one_retraining_and_is_noted(preset):
    recipe = tiny_recipe(model="allcnn", channels=4, epochs=30)
    model = recipe.fresh((1, 8, 8), 0).eval()  # what it costs does not depend on what the original knows
    trained = tiny_problem(seed=0, forget=5, **SHORT)
    problem = replace(trained, recipe=recipe, original=model)
    done, retain = ResetFineTune(preset=preset).run(problem, seed=0), len(problem.retain)
    assert done.notes["share_of_retraining"] == pytest.approx(done.cost.visits / (30 * retain))
    assert done.notes["share_of_retraining"] < 1
    assert "warning" not in done.notes
    expected = {
        "msg": {"retain": 5 * retain + 5, "forget": 5},
        "kde": {"holdout": 3 * 60, "retain": 3 * retain},
        "cyc": {"retain": 9 * retain},
        "cfw": {"retain": 4 * retain},
    }
    assert done.cost.backward == expected.get(preset, {"retain": 3 * retain})
    assert done.cost.forward == (done.cost.backward if preset in ("prmq", "kde", "cyc") else {})


def test_cost_of_a_retraining_or_more_is_said(dense):
    done = ResetFineTune(epochs=8).run(dense, seed=0)  # the recipe has 8, and the gradients come on top
    assert "of one retraining; lower cycles or epochs" in done.notes["warning"]


def test_holdout_rows_that_were_trained_on_are_noted(images):
    assert ResetFineTune(preset="kde").run(images, seed=0).notes["holdout_rows_trained_on"] == 60
    assert "holdout_rows_trained_on" not in ResetFineTune(preset="ct").run(images, seed=0).notes


@pytest.mark.parametrize("preset", list(PRESETS))
def test_same_seed_same_weights_and_another_seed_others(preset, images):
    first, again, other = (ResetFineTune(preset=preset).run(images, seed=s).model for s in (0, 0, 1))
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_default_leaves_a_dense_model_useful(dense):
    task = dense.recipe.task
    model = ResetFineTune().run(dense, seed=0).model
    before, after = (task.correct(predict(m, dense.test), dense.test.labels).mean() for m in (dense.original, model))
    assert after > before - 0.15


# refusals


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "cyk"}, "unknown preset 'cyk'\nhint: did you mean cyc"),
        ({"selector": "heads"}, "selector: expected one of small_gradient, .*, got 'heads'"),
        ({"perturbation": "erase"}, "perturbation: expected one of none, reinitialise, .*, got 'erase'"),
        ({"objective": "kl"}, "objective: expected one of loss, distil, mimic, match_entropy, got 'kl'"),
        ({"share": 0.0}, r"share: expected in \(0, 1\], got 0\.0"),
        ({"kept_rate": 1.5}, r"kept_rate: expected in \[0, 1\], got 1\.5"),
        ({"cycles": 0}, "cycles: expected >= 1, got 0"),
        ({"schedule": "sine"}, "schedule: expected one of constant, .*, got 'sine'"),
    ],
)
def test_bad_values_name_the_range_and_the_value(settings, message):
    with pytest.raises(ConfigError, match=message):
        ResetFineTune(**settings)


def test_entropies_need_classes():
    draw = torch.Generator().manual_seed(0)
    rows = [MemoryRows(torch.randn(20, 3, generator=draw), torch.randn(20, generator=draw)) for _ in range(3)]
    recipe = Recipe(name="line", model="linear", task=Regression(), epochs=1)
    original = fit(recipe, rows[0], np.arange(20), seed=0).model
    problem = Problem(
        recipe=recipe, rows=rows[0], forget=np.arange(3), holdout=rows[1], test=rows[2], original=original
    )
    with pytest.raises(ConfigError, match="'match_entropy': expected a classification problem, got regression"):
        ResetFineTune(preset="prmq").run(problem, seed=0)
    assert ResetFineTune(preset="kde").run(problem, seed=0).cost.backward["holdout"] == 60
