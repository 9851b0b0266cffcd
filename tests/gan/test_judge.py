"""The judge: features are what its last layer receives, or what a person's own function gives."""

import numpy as np
import pytest
import torch
from torch import nn

from expunge.errors import ConfigError, NeedsError, ShapeError
from expunge.gan.judge import Judge, downstream, extractor_of
from expunge.training import predict
from expunge.training.recipes import recipe
from tests.gan.tiny import classifier, digits


def judge(**settings):
    return Judge(classifier(), recipe("digits-mlp"), **settings)


def test_features_are_the_input_of_the_last_layer():
    x = digits().test.x[:9]
    hidden = nn.Sequential(*list(classifier())[:-1])
    assert np.allclose(judge().features(x), hidden(x).detach().numpy(), atol=1e-6)
    assert judge().features(x).shape == (9, 64)
    assert "digits-mlp" in judge().words(64)


def test_features_of_parts_are_features_of_the_whole(monkeypatch):
    x = digits().test.x[:9]
    whole = judge().features(x)
    monkeypatch.setattr("expunge.gan.judge.CUT", 4)
    assert np.allclose(judge().features(x), whole, atol=1e-6)


def test_a_persons_own_features_are_taken_and_named(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("def halves(x):\n    return x.flatten(1)[:, ::2]\n")
    own = judge(extractor=extractor_of(f"{file}:halves"), extractor_name="own.py:halves")
    assert own.features(digits().test.x[:5]).shape == (5, 32)
    assert "own.py:halves; 32 numbers" in own.words(32)


def test_own_features_that_are_none_are_told_apart(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("def flat(x):\n    return x.mean()\nnumber = 3\n")
    with pytest.raises(ShapeError, match=r"expected \[n, d\], got \[\]"):
        judge(extractor=extractor_of(f"{file}:flat"), extractor_name="flat").features(digits().test.x[:5])
    with pytest.raises(ConfigError, match="expected a function called 'number'"):
        extractor_of(f"{file}:number")
    with pytest.raises(NeedsError, match="no file"):
        extractor_of(f"{tmp_path}/gone.py:flat")
    with pytest.raises(ConfigError, match=r"expected path/file.py:NAME"):
        extractor_of("inception")


def test_a_classifier_without_a_dense_layer_has_no_features():
    with pytest.raises(ConfigError, match="expected one that ends in a dense layer"):
        Judge(nn.Flatten(), recipe("digits-mlp")).features(digits().test.x[:2])


def test_downstream_learns_from_drawn_pictures_too():
    splits = digits()
    twos = splits.test.x[splits.test.labels == 2]
    few = np.flatnonzero(splits.train.labels.numpy() != 2)
    labels = torch.full((len(twos),), 2)
    model = downstream(judge(), twos, labels, splits.train, few, seed=0)
    again = downstream(judge(), twos, labels, splits.train, few, seed=0)
    assert (predict(model, splits.test)[splits.test.labels == 2].argmax(1) == 2).float().mean() > 0.9
    assert torch.equal(predict(model, splits.test), predict(again, splits.test))
