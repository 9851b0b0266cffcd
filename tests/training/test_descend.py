"""descend: what it moves, what it leaves alone, when it stops."""

import itertools
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from expunge.errors import ConfigError, DivergedError
from expunge.models import build
from expunge.seeds import generator, lent
from expunge.training import Run, descend, hold_outside, set_mode
from tests.tiny import same_weights, tiny_rows

FLAT = tiny_rows(48, seed=0)
IMAGES = tiny_rows(24, seed=0, shape=(1, 8, 8))


def net(name="mlp", shape=(6,), **arguments):
    with lent(generator(0, "init")):
        return build(name, shape=shape, width=3, **({"hidden": [5]} if name == "mlp" else {}), **arguments)


def loss_of(model):
    return lambda *batches: sum(nn.functional.cross_entropy(model(b.x), b.y) for b in batches)


def go(model, *, rows=FLAT, count=2, run=None, objective=None, **settings):
    run = run or Run(seed=0, batch_size=16)
    stream = run.epochs("retain", rows, np.arange(len(rows)), count=count)
    return descend(model, stream, objective or loss_of(model), run=run, **{"lr": 0.1, **settings})


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_it_goes_down():
    run = Run(seed=0, batch_size=48)
    go(net(), count=20, run=run)
    assert run.history[-1] < run.history[0] / 2
    assert len(run.history) == 20


def test_the_model_is_moved_in_place_and_comes_back_in_evaluation_mode():
    model = net()
    before = state(model)
    assert go(model) is model
    assert not any(module.training for module in model.modules())
    assert not torch.equal(before["1.weight"], model.state_dict()["1.weight"])


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_only_the_given_parameters_move(name):
    model = net()
    before = state(model)
    last = list(model[-1].parameters())
    go(model, parameters=last, optimizer_name=name, weight_decay=0.1)
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"3.weight", "3.bias"}
    assert all(p.grad is None for p in model[1].parameters())


def test_parameters_at_rest_have_no_gradient_while_it_runs():
    model = net()
    seen = []

    def objective(batch):
        seen.append([p.requires_grad for p in model.parameters()])
        return nn.functional.cross_entropy(model(batch.x), batch.y)

    go(model, objective=objective, parameters=model[-1].parameters())
    assert seen[0] == [False, False, True, True]


@pytest.mark.parametrize("fails", [False, True])
def test_gradient_flags_are_restored_even_after_an_error(fails):
    model = net()
    model[1].bias.requires_grad_(False)
    flags = [p.requires_grad for p in model.parameters()]

    def objective(batch):
        if fails:
            raise ZeroDivisionError
        return model(batch.x).square().sum()

    try:
        go(model, objective=objective, lr=1e-3, parameters=[model[1].bias, model[3].weight])
    except ZeroDivisionError:
        assert fails
    assert [p.requires_grad for p in model.parameters()] == flags


def test_a_parameter_that_was_switched_off_can_be_asked_for():
    model = net().requires_grad_(False)
    before = state(model)
    go(model, parameters=model[-1].parameters())
    assert not torch.equal(model[-1].weight, before["3.weight"])
    assert torch.equal(model[1].weight, before["1.weight"])


def test_no_parameters_are_refused():
    with pytest.raises(ConfigError, match="parameters: expected at least one tensor"):
        go(net(), parameters=[])


@pytest.mark.parametrize("name", ["allcnn", "resnet9"])
def test_frozen_statistics_stay_and_running_ones_move(name):
    start = net(name, (1, 8, 8), channels=2)
    frozen, running = (go(deepcopy(start), rows=IMAGES, statistics=s) for s in ("frozen", "running"))
    before, buffers = state(start), [key for key, _ in start.named_buffers()]
    assert buffers
    assert all(torch.equal(frozen.state_dict()[key], before[key]) for key in buffers)
    assert all(not torch.equal(running.state_dict()[key], before[key]) for key in buffers)
    assert not torch.equal(*(next(m.parameters()) for m in (frozen, start))), "the convolutions move"


def test_frozen_layers_normalise_with_their_statistics():
    model = net("allcnn", (1, 8, 8), channels=2)
    seen = []

    def objective(batch):
        out = model(batch.x)
        seen.append((out.detach(), batch.x))
        return out.square().mean() * 0.0 + model[0].weight.sum() * 0.0

    before = deepcopy(model).eval()
    go(model, rows=IMAGES, count=1, objective=objective, weight_decay=0.0)
    out, x = seen[0]
    assert torch.allclose(out, before(x), atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [nn.BatchNorm2d(1), nn.InstanceNorm2d(1, track_running_stats=True), nn.BatchNorm2d(1, momentum=None)],
    ids=lambda layer: type(layer).__name__,
)
def test_every_layer_with_running_statistics_can_be_frozen(layer):
    model = nn.Sequential(deepcopy(layer), nn.Flatten(), nn.Linear(64, 3))
    before = state(model)
    go(model, rows=IMAGES)
    assert torch.equal(model[0].running_mean, before["0.running_mean"])
    assert torch.equal(model[0].running_var, before["0.running_var"])


def test_dropout_stays_on_under_frozen_statistics():
    model = net("allcnn", (1, 8, 8), channels=2, dropout=0.5)
    set_mode(model, "frozen")
    modes = {type(module).__name__: module.training for module in model.modules()}
    assert (modes["Dropout"], modes["BatchNorm2d"]) == (True, False)
    set_mode(model, "running")
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_held_weights_stay_bit_identical_under_momentum_and_weight_decay(name):
    model = net()
    before = state(model)
    mask = torch.rand(before["1.weight"].shape, generator=generator(0, "mask")) < 0.5
    hold = hold_outside(model, {"1.weight": mask, "3.bias": torch.zeros(3, dtype=torch.bool)})
    go(model, optimizer_name=name, weight_decay=0.1, after_step=hold)
    after = model.state_dict()
    assert torch.equal(after["1.weight"][~mask], before["1.weight"][~mask])
    assert torch.equal(after["3.bias"], before["3.bias"])
    assert bool((after["1.weight"][mask] != before["1.weight"][mask]).all())
    assert not torch.equal(after["3.weight"], before["3.weight"]), "weights without a mask are free"


def test_a_full_mask_holds_nothing():
    free, held = net(), net()
    everything = {name: torch.ones_like(p, dtype=torch.bool) for name, p in held.named_parameters()}
    assert same_weights(go(free), go(held, after_step=hold_outside(held, everything)))


def test_true_from_after_step_stops():
    run, steps = Run(seed=0, batch_size=16), []

    def stop(step):
        steps.append(step)
        return step == 3

    go(net(), count=10, run=run, after_step=stop)
    assert steps == [0, 1, 2, 3]
    assert run.meter.cost().backward == {"retain": 4 * 16}


@pytest.mark.parametrize("clip", [0.01, 0.5])
def test_clipping_caps_the_step(clip):
    model, path = net(), []
    path.append(nn.utils.parameters_to_vector(model.parameters()).detach().clone())
    keep = lambda step: path.append(nn.utils.parameters_to_vector(model.parameters()).detach().clone())  # noqa: E731
    scaled = lambda batch: 1000 * nn.functional.cross_entropy(model(batch.x), batch.y)  # noqa: E731
    go(model, objective=scaled, clip=clip, momentum=0.0, lr=1.0, after_step=keep)
    norms = [float((after - before).norm()) for before, after in itertools.pairwise(path)]
    assert norms == pytest.approx([clip] * 6, rel=1e-3)


def test_a_wide_clip_changes_nothing():
    assert same_weights(go(net(), clip=1e6), go(net()))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"clip": 0.0}, "clip: expected > 0 or None, got 0.0"),
        ({"clip": -1.0}, "clip: expected > 0 or None, got -1.0"),
        ({"schedule": "cosin"}, "schedule: expected one of .*, got 'cosin'"),
        ({"statistics": "batch"}, "statistics: expected one of frozen, running, got 'batch'"),
        ({"optimizer_name": "lion"}, "optimizer: expected one of .*, got 'lion'"),
        ({"lr": 0.0}, "lr: expected > 0, got 0.0"),
    ],
)
def test_bad_values_name_the_argument(settings, text):
    with pytest.raises(ConfigError, match=text):
        go(net(), **settings)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_names_the_step_and_lr(bad):
    model = net()
    path = []

    def objective(batch):
        path.append(state(model))
        return model(batch.x).mean() * (bad if len(path) == 3 else 1.0)

    with pytest.raises(DivergedError, match=r"at step 2; the original model is untouched\nhint: lower lr from 0\.1"):
        go(model, objective=objective)
    assert all(torch.equal(value, path[2][key]) for key, value in model.state_dict().items()), "that step is not taken"


def test_weights_that_are_no_numbers_are_noticed_after_the_last_step():
    model = net()
    huge = lambda batch: model[1].weight.sum() * 1e30  # noqa: E731
    with pytest.raises(DivergedError, match=r"weights are not finite after 1 steps"):
        go(model, objective=huge, lr=1e30, after_step=lambda step: True)


def test_visits_are_counted_exactly_for_each_role():
    run, model = Run(seed=0, batch_size=10), net()
    stream = run.pairs(FLAT, np.arange(5, 48), np.arange(5), epochs=2) + run.epochs(
        "holdout", FLAT, np.arange(7), count=1
    )
    descend(model, stream, loss_of(model), run=run, lr=0.01)
    assert run.meter.cost().backward == {"retain": 86, "forget": 86, "holdout": 7}
    assert run.meter.cost().forward == {}


def spent(schedule, count=4):
    """The weight of a unit slope shows the sum of step sizes after each step."""
    model = nn.Linear(6, 1, bias=False)
    nn.init.zeros_(model.weight)
    path = [0.0]
    run = Run(seed=0, batch_size=48)
    stream = run.epochs("retain", FLAT, np.arange(48), count=count)
    descend(
        model,
        stream,
        lambda batch: -model.weight.sum(),
        run=run,
        lr=2.0,
        momentum=0.0,
        schedule=schedule,
        after_step=lambda step: path.append(float(model.weight.detach()[0, 0])),
    )
    return np.diff(path).round(4).tolist()


def test_a_named_schedule_spans_the_stream():
    assert spent("constant") == pytest.approx([2.0] * 4)
    assert spent("linear") == pytest.approx([1.75, 1.25, 0.75, 0.25])
    assert spent("cosine") == pytest.approx([1 + np.cos(np.pi * (step + 0.5) / 4) for step in range(4)], abs=1e-3)


def test_a_function_of_the_step_is_a_schedule():
    assert spent(lambda step: [1.0, 0.0, 0.5, 0.25][step]) == pytest.approx([2.0, 0.0, 1.0, 0.5])


def test_bf16_computes_coarsely_and_keeps_float32_weights():
    coarse = go(net(), run=Run(seed=0, batch_size=16, precision="bf16"))
    exact = go(net())
    assert all(p.dtype == torch.float32 for p in coarse.parameters())
    assert not same_weights(coarse, exact)
    assert torch.allclose(coarse[1].weight, exact[1].weight, atol=0.05)


def test_dropout_repeats_with_the_seed_and_leaves_the_global_generator_alone():
    def once(seed):
        return go(net("allcnn", (1, 8, 8), channels=2, dropout=0.5), rows=IMAGES, run=Run(seed, 12))

    before = torch.get_rng_state()
    one = once(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(17)
    assert same_weights(one, once(0))


def test_dropout_seeds_differ():
    model = net("allcnn", (1, 8, 8), channels=2, dropout=0.5)
    runs = [Run(seed, 12) for seed in (0, 1)]
    plan = runs[0].epochs("retain", IMAGES, np.arange(24), count=1)
    ours, theirs = (
        descend(copy, plan, loss_of(copy), run=run, lr=0.1)
        for copy, run in zip((deepcopy(model), deepcopy(model)), runs, strict=True)
    )
    assert not same_weights(ours, theirs)


def test_the_global_generator_is_left_alone_after_an_error():
    before = torch.get_rng_state()
    model = net("allcnn", (1, 8, 8), channels=2, dropout=0.5)
    with pytest.raises(DivergedError):
        go(model, rows=IMAGES, objective=lambda batch: model(batch.x).mean() * float("nan"))
    assert torch.equal(torch.get_rng_state(), before)


def test_augmentation_reaches_the_objective_and_repeats_with_the_seed():
    def inputs(seed, *names):
        seen, model = [], net("linear", (1, 8, 8))

        def objective(batch):
            seen.append(batch.x)
            return nn.functional.cross_entropy(model(batch.x), batch.y)

        run = Run(seed, 24)
        plan = Run(0, 24).epochs("retain", IMAGES, np.arange(24), count=2)
        descend(model, plan, objective, run=run, lr=0.1, augmentation=names)
        return torch.cat(seen)

    plain, once = inputs(0), inputs(0, "crop", "flip")
    assert torch.equal(once, inputs(0, "crop", "flip"))
    assert not torch.equal(once, plain)
    assert not torch.equal(once, inputs(1, "crop", "flip"))


def test_an_empty_stream_changes_nothing():
    model = net()
    before = state(model)
    go(model, count=0)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
