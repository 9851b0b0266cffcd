"""Built-in architectures, timm and a person's own file."""

import sys
import types

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from expunge.errors import ConfigError, NeedsError
from expunge.models import MODELS, build
from expunge.seeds import generator, lent

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]
SMALL = {
    "linear": {},
    "mlp": {"hidden": (8, 4)},
    "cnn": {"widths": (4, 8), "hidden": 8},
    "resnet9": {"channels": 4},
    "resnet18": {"channels": 4},
    "allcnn": {"channels": 4, "dropout": 0.1},
    "vit": {"size": 16, "depth": 2, "heads": 2},
}
WITHOUT_NORM = ["linear", "mlp", "cnn", "vit"]


def small(name, shape=(1, 8, 8), width=5, **arguments):
    with lent(generator(0, "init")):
        return build(name, shape=shape, width=width, **{**SMALL[name], **arguments})


def inputs(shape, rows=3):
    return torch.randn(rows, *shape, generator=generator(1, "inputs"))


def parameters_of(model):
    return sum(p.numel() for p in model.parameters())


def layers(model):
    """Leaf modules with parameters in order of registration: what methods call layers."""
    return [m for m in model.modules() if not list(m.children()) and list(m.parameters())]


def test_every_model_is_tested():
    assert SMALL.keys() == MODELS.keys()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_gradients(name, shape):
    model = small(name, shape)
    outputs = model(inputs(shape))
    assert outputs.shape == (3, 5)
    outputs.square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert bool(parameter.grad.isfinite().all()), key
        assert bool(parameter.grad.ne(0).any()), key


@pytest.mark.parametrize("name", MODELS)
def test_layers_are_registered_in_the_order_of_the_forward_pass(name):
    model, called = small(name), []
    for layer in layers(model):
        layer.register_forward_hook(lambda module, *_: called.append(module))
    model(inputs((1, 8, 8)))
    assert called == layers(model)


@pytest.mark.parametrize("name", MODELS)
def test_the_classifier_is_the_last_layer_and_no_parameter_is_outside_a_layer(name):
    model = small(name)
    last = layers(model)[-1]
    assert isinstance(last, nn.Linear)
    assert last.out_features == 5
    assert sum(map(parameters_of, layers(model))) == parameters_of(model)


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("linear", (1, 8, 8), 650),
        ("mlp", (1, 8, 8), 4_810),
        ("cnn", (1, 28, 28), 105_866),
        ("cnn", (3, 32, 32), 136_874),
        ("resnet9", (3, 32, 32), 6_573_130),
        ("resnet18", (3, 32, 32), 11_173_962),
        ("allcnn", (3, 32, 32), 1_370_986),
        ("vit", (3, 32, 32), 1_205_642),
    ],
)
def test_parameter_counts(name, shape, count):
    with torch.device("meta"):
        assert parameters_of(build(name, shape=shape, width=10)) == count


@pytest.mark.parametrize("name", MODELS)
def test_weights_come_from_the_lent_generator(name):
    before = torch.get_rng_state()
    one, other = small(name), small(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", WITHOUT_NORM)
def test_per_row_gradients_by_vmap_equal_a_loop(name):
    model, x = small(name), inputs((1, 8, 8))
    weights = {key: value.detach() for key, value in model.named_parameters()}

    def loss(weights, row):
        return functional_call(model, weights, (row[None],)).square().sum()

    together = vmap(grad(loss), (None, 0))(weights, x)
    for i, row in enumerate(x):
        alone = grad(loss)(weights, row)
        for key in weights:
            assert torch.allclose(together[key][i], alone[key], atol=1e-5), key


@pytest.mark.parametrize("name", MODELS)
def test_a_second_derivative_exists(name):
    model = small(name).eval()
    weights = list(model.parameters())
    first = torch.autograd.grad(model(inputs((1, 8, 8))).logsumexp(-1).sum(), weights, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), weights, allow_unused=True)
    assert all(bool(s.isfinite().all()) for s in second if s is not None)


def test_vit_attention_is_that_of_torch():
    attend = small("vit")[3].attend[1]
    x = torch.randn(2, 4, 16, generator=generator(0, "x"))
    query, key, value = attend.joint(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
    mixed = nn.functional.scaled_dot_product_attention(query, key, value)
    assert torch.allclose(attend(x), attend.out(mixed.transpose(1, 2).reshape(2, 4, 16)), atol=1e-6)


def test_vit_with_a_class_token():
    model = small("vit", pooling="cls", patch=2)
    assert model[2].positions.shape == (17, 16)
    assert model(inputs((1, 8, 8))).shape == (3, 5)
    model(inputs((1, 8, 8))).sum().backward()
    assert bool(model[2].cls.grad.ne(0).any())


def test_lists_serve_as_well_as_tuples():
    assert parameters_of(build("mlp", shape=(6,), width=3, hidden=[4])) == 6 * 4 + 4 + 4 * 3 + 3
    assert parameters_of(build("mlp", shape=[6], width=3, hidden=[])) == 6 * 3 + 3


@pytest.mark.parametrize(
    ("name", "arguments", "complaint"),
    [
        ("mlp", {"hidden": (0,)}, r"hidden: expected a list of whole numbers >= 1, got \(0,\)"),
        ("mlp", {"hidden": 64}, "hidden: expected a list of whole numbers >= 1, got 64"),
        ("mlp", {"depth": 3}, "model mlp: unknown argument 'depth', expected hidden"),
        ("linear", {"hidden": (3,)}, "model linear: unknown argument 'hidden', expected none"),
        ("cnn", {"widths": (4, 4, 4, 4)}, "widths: expected at most so many blocks as 8 x 8 pixels"),
        ("cnn", {"hidden": 0}, "hidden: expected a whole number >= 1, got 0"),
        ("resnet9", {"channels": 1.5}, "channels: expected a whole number"),
        ("resnet9", {"shape": (1, 7, 8)}, "expected at least 8 x 8 pixels"),
        ("allcnn", {"dropout": 1.0}, r"dropout: expected in \[0, 1\), got 1\.0"),
        ("vit", {"patch": 3}, "patch: expected a divisor of 8 and 8 pixels, got 3"),
        ("vit", {"heads": 3}, "size: expected a multiple of 3 heads, got 16"),
        ("vit", {"pooling": "max"}, 'pooling: expected "mean" or "cls"'),
        ("mlp", {"width": 0}, "width: expected a whole number >= 1, got 0"),
        ("mlp", {"shape": (0, 3)}, "shape: expected a list of whole numbers"),
    ],
)
def test_wrong_arguments(name, arguments, complaint):
    with pytest.raises(ConfigError, match=complaint):
        small(name, **arguments)


@pytest.mark.parametrize("name", ["cnn", "resnet9", "resnet18", "allcnn", "vit"])
def test_tables_are_no_images(name):
    with pytest.raises(ConfigError, match=rf"{name}: expected rows of shape .*, got \(14,\)\nhint: use mlp"):
        small(name, shape=(14,))


@pytest.mark.parametrize("name", ["resnet", "timm:", "file.txt:net", "net.py"])
def test_unknown_names(name):
    with pytest.raises(ConfigError, match=rf"unknown model '{name}'\nhint: .*`expunge recipes`"):
        build(name, shape=(1, 8, 8), width=3)


# timm


@pytest.fixture
def timm(monkeypatch):
    """The three functions of timm that are used, with one model."""
    fake = types.ModuleType("timm")
    fake.is_model = lambda name: name == "convnext_tiny"
    fake.list_models = lambda: ["convnext_tiny"]

    def create_model(name, *, pretrained, num_classes, in_chans, depth=1):
        assert not pretrained
        return nn.Sequential(nn.Conv2d(in_chans, depth, 8), nn.Flatten(), nn.Linear(depth, num_classes))

    fake.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", fake)


@pytest.mark.usefixtures("timm")
def test_timm_models():
    model = build("timm:convnext_tiny", shape=(3, 8, 8), width=4, depth=2)
    assert model(inputs((3, 8, 8))).shape == (3, 4)
    with pytest.raises(ConfigError, match="unknown timm model 'convnext'\nhint: did you mean convnext_tiny"):
        build("timm:convnext", shape=(3, 8, 8), width=4)
    with pytest.raises(ConfigError, match="pretrained is not an argument"):
        build("timm:convnext_tiny", shape=(3, 8, 8), width=4, pretrained=True)
    with pytest.raises(ConfigError, match="unexpected keyword argument 'colour'"):
        build("timm:convnext_tiny", shape=(3, 8, 8), width=4, colour=1)


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(NeedsError, match=r'timm is not installed\nhint: pip install "expunge\[vision\]"'):
        build("timm:resnet18", shape=(3, 32, 32), width=4)


# a person's own file

OWN = """
from __future__ import annotations
from dataclasses import dataclass
from torch import nn

@dataclass
class Size:
    hidden: int

def net(shape, width, hidden=4):
    return nn.Sequential(nn.Linear(shape[0], Size(hidden).hidden), nn.Linear(hidden, width))

def number(shape, width):
    return 3

constant = 3
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


def test_a_function_in_a_file(own):
    model = build(f"{own}:net", shape=(6,), width=3, hidden=2)
    assert model(torch.zeros(5, 6)).shape == (5, 3)
    assert model[0].out_features == 2


def test_a_changed_file_is_read_again(own):
    build(f"{own}:net", shape=(6,), width=3)
    own.write_text(OWN.replace("hidden=4", "hidden=9"))
    assert build(f"{own}:net", shape=(6,), width=3)[0].out_features == 9


@pytest.mark.parametrize(
    ("function", "arguments", "complaint"),
    [
        ("nett", {}, r"own\.py:nett: no function 'nett'"),
        ("constant", {}, "no function 'constant'"),
        ("number", {}, r"own\.py:number: expected a torch\.nn\.Module, got int"),
        ("net", {"depth": 1}, r"unexpected keyword argument 'depth'\nhint: def net\(shape, width"),
    ],
)
def test_functions_that_are_none(own, function, arguments, complaint):
    with pytest.raises(ConfigError, match=complaint):
        build(f"{own}:{function}", shape=(6,), width=3, **arguments)


def test_files_that_are_missing_or_broken(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.py: no such file"):
        build(f"{tmp_path}/nowhere.py:net", shape=(6,), width=3)
    (tmp_path / "broken.py").write_text("def net(:\n")
    with pytest.raises(ConfigError, match=r"broken\.py: failed with SyntaxError"):
        build(f"{tmp_path}/broken.py:net", shape=(6,), width=3)
