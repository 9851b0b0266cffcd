"""Suites: what a TOML file may say, and what is said about one that is wrong."""

import pytest

from expunge.audit.policy import policies, policy
from expunge.bench.gan_suite import GanSuite, gan_suite
from expunge.bench.suite import EXAMPLES, KEYS, load_suite, parse_suite, suites
from expunge.errors import ConfigError, NeedsError
from expunge.training.recipes import recipe

LEAST = """
recipe = "digits-mlp"
forget = ["class:8:80"]
originals = 4
gold = 6
[[methods]]
name = "finetune"
"""


def refused(text, message):
    with pytest.raises(ConfigError, match=message) as error:
        parse_suite("mine", text)
    return error.value


def test_defaults():
    suite = parse_suite("mine", LEAST)
    assert (suite.name, suite.seed, suite.forget[0].seed) == ("mine", 0, 0)
    assert [entry.label for entry in suite.entries] == ["finetune"]
    assert suite.entries[0].method == type(suite.entries[0].method)()
    assert (suite.shadows, suite.policy) == (0, policy("standard"))


def test_everything_that_is_said_is_heard():
    text = LEAST.replace("originals = 4", "originals = 5\nseed = 3\nforget_seed = 2") + 'label = "mild"\nlr = 0.002\n'
    suite = parse_suite("mine", text.replace('["class:8:80"]', '["class:8:80", "random:50"]'))
    assert (suite.originals, suite.gold, suite.seed) == (5, 6, 3)
    assert [(str(part), part.seed) for part in suite.forget] == [("class:8:80", 2), ("random:50", 2)]
    assert (suite.entries[0].label, suite.entries[0].method.settings()["lr"]) == ("mild", 0.002)


def test_a_forget_set_may_be_drawn_several_times():
    text = LEAST.replace('["class:8:80"]', '["class:8:80", "random:50"]')
    sets = parse_suite("mine", f"forget_seed = 2\ndraws = 2\n{text}").forget
    assert [(str(part), part.seed) for part in sets] == [
        ("class:8:80", 2),
        ("class:8:80", 3),
        ("random:50", 2),
        ("random:50", 3),
    ]
    refused(f"draws = 0\n{LEAST}", "draws: expected >= 1, got 0")


@pytest.mark.parametrize("fixed", ["class:8", "ids:mine.txt", "subject:7", "indices:mine.npy"])
def test_what_no_seed_draws_is_drawn_once(fixed):
    text = LEAST.replace("class:8:80", fixed)
    refused(f"draws = 2\n{text}", f"draws: expected 1 for {fixed}, which is no random draw, got 2")
    assert len(parse_suite("mine", f"draws = 1\n{text}").forget) == 1


def test_a_suite_may_name_another_data_set_than_its_recipe():
    assert parse_suite("mine", LEAST).on_data(recipe("digits-mlp")) == recipe("digits-mlp")
    other = parse_suite("mine", f'data = "digits@500"\n{LEAST}').on_data(recipe("digits-mlp"))
    assert other.data == "digits@500"
    assert other.fingerprint() == recipe("digits-mlp").fingerprint()


@pytest.mark.parametrize("count", [0, 4, 64])
def test_shadows_are_none_or_even(count):
    assert parse_suite("mine", f"shadows = {count}\n{LEAST}").shadows == count


@pytest.mark.parametrize("name", policies())
def test_the_policy_is_found_by_name(name):
    assert parse_suite("mine", f'policy = "{name}"\n{LEAST}').policy == policy(name)


def test_the_policy_may_be_a_file_of_one_s_own(tmp_path):
    (tmp_path / "lax.toml").write_text("gold = 30\n")
    suite = parse_suite("mine", f'policy = "{tmp_path / "lax.toml"}"\n{LEAST}')
    assert (suite.policy.name, suite.policy.gold) == ("lax", 30)
    (tmp_path / "lax.toml").write_text("golds = 30\n")
    refused(f'policy = "{tmp_path / "lax.toml"}"\n{LEAST}', "policy lax: unknown key 'golds'")
    with pytest.raises(NeedsError, match=r"policy: no file .*gone\.toml"):
        parse_suite("mine", f'policy = "{tmp_path / "gone.toml"}"\n{LEAST}')


def test_an_unknown_policy_brings_close_matches():
    assert refused(f'policy = "strickt"\n{LEAST}', "unknown policy 'strickt'").hint.startswith("did you mean strict")


def test_a_method_may_come_twice_under_two_labels():
    more = '[[methods]]\nname = "finetune"\nlabel = "long"\nepochs = 9\n'
    assert [entry.label for entry in parse_suite("mine", LEAST + more).entries] == ["finetune", "long"]
    refused(LEAST + more.replace('label = "long"\n', ""), "methods: expected a different label for each")


def test_an_unknown_key_is_named_beside_the_known_ones():
    assert (
        "data, draws, forget, forget_seed, gold, methods, methods_of, originals, policy, recipe, seed, shadows"
        in refused("golds = 3\n" + LEAST, "suite mine: unknown key 'golds'").hint
    )


@pytest.mark.parametrize("key", ["recipe", "forget", "originals", "gold", "methods"])
def test_a_missing_key_is_named_with_an_example(key):
    lines = LEAST.splitlines()
    text = "\n".join(lines[:-2] if key == "methods" else [line for line in lines if not line.startswith(key)])
    assert EXAMPLES[key] in refused(text, f"suite mine: the key '{key}' is missing").hint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gold = 6", 'gold = "6"'),
        ("gold = 6", "gold = 6.0"),
        ("originals = 4", "originals = true"),
        ('forget = ["class:8:80"]', 'forget = "class:8:80"'),
        ('forget = ["class:8:80"]', "forget = [8]"),
        ('recipe = "digits-mlp"', "recipe = 1"),
        ("gold = 6", 'gold = 6\nseed = "0"'),
        ("gold = 6", "gold = 6\nforget_seed = 0.5"),
        ("gold = 6", "gold = 6\ndraws = true"),
        ("gold = 6", 'gold = 6\nshadows = "8"'),
        ("gold = 6", "gold = 6\nshadows = true"),
        ("gold = 6", "gold = 6\npolicy = 3"),
        ('[[methods]]\nname = "finetune"', 'methods = ["finetune"]'),
        ('[[methods]]\nname = "finetune"', 'methods = "finetune"'),
    ],
)
def test_a_value_of_the_wrong_type_is_shown_beside_an_example(old, new):
    error = refused(LEAST.replace(old, new), r"suite mine: \w+ cannot be ")
    assert error.hint.startswith("for example: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("originals = 4", "originals = 1", "originals: expected >= 2, got 1"),
        ("gold = 6", "gold = 3", "gold: expected >= 4, got 3"),
        ("gold = 6", "gold = 6\nshadows = 2", "shadows: expected 0, or an even number >= 4, got 2"),
        ("gold = 6", "gold = 6\nshadows = 7", "shadows: expected 0, or an even number >= 4, got 7"),
        ("gold = 6", "gold = 6\nshadows = -4", "shadows: expected 0, or an even number >= 4, got -4"),
        ('["class:8:80"]', "[]", "forget: expected at least one forget set"),
        ('["class:8:80"]', '["klass:8"]', "forget set: expected one of random:N"),
        ('[[methods]]\nname = "finetune"', "methods = []", "methods: expected at least one method"),
        ('name = "finetune"', 'name = "finetune"\nepochs = -1', "epochs: expected >= "),
    ],
)
def test_a_value_out_of_range_is_refused(old, new, message):
    assert old in LEAST
    refused(LEAST.replace(old, new), message)


def test_the_methods_of_another_suite_come_before_ones_own():
    own = '[[methods]]\nname = "finetune"'
    mine = parse_suite("mine", LEAST.replace(own, f'methods_of = "demo"\n{own}\nlabel = "mine"'))
    assert mine.entries[:-1] == load_suite("demo").entries
    assert mine.entries[-1].label == "mine"
    assert parse_suite("mine", LEAST.replace(own, 'methods_of = "demo"')).entries == load_suite("demo").entries
    refused(LEAST.replace(own, 'methods_of = "dem"'), "unknown suite 'dem'")


def test_an_unknown_method_brings_close_matches():
    error = refused(LEAST.replace('"finetune"', '"finetun"'), "unknown method 'finetun'")
    assert error.hint == "did you mean finetune or reset_finetune? `expunge methods` lists every method"


def test_an_unknown_setting_brings_the_known_ones():
    error = refused(LEAST + "epoch = 3\n", "suite mine: finetune has no setting 'epoch'")
    assert error.hint.startswith("it has epochs")


def test_text_where_a_number_belongs_is_refused():
    error = refused(LEAST + 'epochs = "3"\n', "suite mine: finetune: a setting of the wrong type")
    assert error.hint == "`expunge methods finetune` shows each setting"


def test_a_method_without_a_name_is_refused():
    refused(LEAST.replace('name = "finetune"', "epochs = 3"), "a method without a name: {'epochs': 3}")


def test_what_is_not_toml_is_refused():
    refused("recipe = ", "suite mine: not TOML")


def test_a_file_is_read_and_named_by_its_stem(tmp_path):
    (tmp_path / "own.toml").write_text(LEAST)
    assert load_suite(str(tmp_path / "own.toml")).name == "own"


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"suite: no file .*own\.toml"):
        load_suite(str(tmp_path / "own.toml"))
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"own\.toml: cannot be read"):
        load_suite(str(tmp_path / "own.toml"))


def test_an_unknown_suite_brings_close_matches():
    with pytest.raises(ConfigError, match="unknown suite 'dem'") as error:
        load_suite("dem")
    assert error.value.hint.startswith("did you mean demo")


@pytest.mark.parametrize("name", sorted(suites()))
def test_every_suite_that_ships_is_sound(name):
    pairs = gan_suite(name)
    suite = pairs or load_suite(name)
    assert (pairs.trained() if pairs else suite.on_data(recipe(suite.recipe))).data
    assert pairs is None or GanSuite.from_dict(pairs.to_dict()) == pairs
    assert suites()[name].endswith(".")


def test_every_key_has_an_example():
    assert KEYS.keys() == EXAMPLES.keys()
