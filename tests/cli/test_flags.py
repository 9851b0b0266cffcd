"""A method's flags, made from its dataclass."""

from dataclasses import fields

import pytest

from expunge.cli import run
from expunge.cli.flags import configured, described
from expunge.errors import ConfigError
from expunge.methods import METHODS

ALL = sorted(METHODS)


@pytest.mark.parametrize("name", ALL)
def test_every_flag_has_a_help_text(name):
    lines = described(METHODS[name])
    assert [flag for flag, _, _ in lines] == [f"--{field.name.replace('_', '-')}" for field in fields(METHODS[name])]
    for flag, _, text in lines:
        assert len(text) > 10, f"{name} {flag}: a string below the field says what it is"


@pytest.mark.parametrize("name", ALL)
def test_the_page_of_a_method_shows_every_flag(name, capsys):
    assert run(["methods", name]) == 0
    page = " ".join(capsys.readouterr().out.split())
    for flag, _, text in described(METHODS[name]):
        assert flag in page
        assert text.split()[0] in page


@pytest.mark.parametrize("name", ALL)
def test_without_flags_a_method_has_its_defaults(name):
    assert configured(METHODS[name], []) == METHODS[name]()


@pytest.mark.parametrize("name", ALL)
def test_every_number_can_be_set_to_its_default_by_flag(name):
    kind = METHODS[name]
    flags = []
    for field in fields(kind):
        if type(field.default) in (int, float, str):
            flags += [f"--{field.name.replace('_', '-')}", str(field.default)]
    assert configured(kind, flags) == kind()


def test_a_flag_reaches_the_method():
    made = configured(METHODS["finetune"], ["--epochs", "3", "--lr=0.125"])
    assert (made.settings()["epochs"], made.settings()["lr"]) == (3, 0.125)


@pytest.mark.parametrize("name", ALL)
def test_a_mistyped_flag_brings_the_right_one(name):
    flag = described(METHODS[name])[0][0]
    with pytest.raises(ConfigError, match=f"{name}: Unknown option") as error:
        configured(METHODS[name], [flag[:-1] + "q", "1"])
    assert flag in error.value.message
    assert error.value.hint == f"`expunge methods {name}` lists its flags"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epochs", "three"], 'finetune: Invalid value for --epochs: unable to convert "three" into int'),
        (["--epochs"], "finetune: .*--epochs.* requires an argument"),
        (["--epochs", "2.5"], "finetune: Invalid value for --epochs: expected a whole number, got 2.5"),
        (["--epochs=2.0"], "finetune: Invalid value for --epochs: expected a whole number, got 2.0"),
        (["--epochs", "-1"], "epochs: expected >= "),
        (["stray"], "finetune: Unused Tokens"),
        (["--help"], "finetune: Unknown option"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(flags, message):
    with pytest.raises(ConfigError, match=message):
        configured(METHODS["finetune"], flags)
