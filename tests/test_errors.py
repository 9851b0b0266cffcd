"""The error tree: what is said, and which exit code goes with it."""

import inspect

import pytest

from expunge import errors
from expunge.errors import ConfigError, ExpungeError, NeedsError, StoreError, check, unknown

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", TREE)
def test_every_error_is_an_expunge_error_and_stands_in_the_drawing(kind):
    assert issubclass(kind, ExpungeError)
    line = next(line for line in errors.__doc__.splitlines() if kind.__name__ in line)
    assert kind is ExpungeError or line.rstrip().endswith(f"exit {kind.exit_code}")


def test_exit_codes_tell_wrong_from_absent():
    absent = {kind for kind in TREE if kind.exit_code == 4}
    assert absent == {NeedsError, StoreError}
    assert {kind.exit_code for kind in TREE} == {2, 4}


def test_the_hint_stands_on_its_own_line():
    assert str(ConfigError("what came", hint="what mends it")) == "what came\nhint: what mends it"


def test_no_hint_no_line():
    error = ConfigError("what came")
    assert str(error) == "what came"
    assert (error.message, error.hint) == ("what came", "")


def test_check_names_argument_range_and_value():
    with pytest.raises(ConfigError, match=r"^lr: expected > 0, got -1\.5$"):
        check("lr", -1.5, "> 0", ok=False)


def test_check_shows_text_in_quotes():
    with pytest.raises(ConfigError, match="got 'cosin'"):
        check("schedule", "cosin", "one of cosine", ok=False)


def test_check_is_silent_where_all_is_well():
    assert check("lr", 1.0, "> 0", ok=True) is None


def test_an_unknown_name_gets_close_matches_and_the_listing_command():
    error = unknown("method", "scrubb", ["scrub", "retrain", "ssd"], "expunge methods")
    assert isinstance(error, ConfigError)
    assert str(error) == "unknown method 'scrubb'\nhint: did you mean scrub? `expunge methods` lists every method"


def test_a_name_like_nothing_gets_only_the_listing_command():
    assert unknown("method", "qqqq", ["scrub"], "expunge methods").hint == "`expunge methods` lists every method"


def test_several_close_matches_are_joined():
    error = unknown("method", "u_k", ["cf_k", "eu_k", "scrub"], "expunge methods")
    assert error.hint == "did you mean eu_k or cf_k? `expunge methods` lists every method"
