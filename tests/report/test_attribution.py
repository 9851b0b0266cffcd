"""The page of attribution: every number and picture on it, nothing loaded, nothing from outside obeyed."""

import json
import math

import pytest

from expunge.errors import ConfigError, StoreError
from expunge.report import render, write_page
from expunge.report.attribution import affected_lines, cost_text, how, part_lines, scored, statements
from expunge.report.attribution_result import checked_attribution
from tests.report.attributed import PIXEL, make_attribution
from tests.report.parsed import Page

HOSTILE = "</script><img src=x onerror=alert(1)><b>"
OPTIONAL = [name for name in make_attribution() if name not in ("schema", "kind", "parts", "targets")]


@pytest.fixture(scope="module")
def whole():
    return Page(render(make_attribution()))


def test_every_element_is_closed_and_ids_are_unique(whole):
    assert whole.open == []
    assert len(whole.values("id")) == len(set(whole.values("id")))


def test_nothing_is_loaded(whole):
    assert not {"link", "iframe", "object", "embed", "script"} & set(whole.tags)
    assert set(whole.values("src")) == {PIXEL}
    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
    assert policy in whole.values("content")
    assert "url(" not in next(script for script in whole.scripts if "--paper" in script)


def test_sections_stand_in_order(whole):
    order = ["answer", "parts", "affected", "targets", "cost", "estimator", "glossary", "limits", "again"]
    assert [name for name in whole.values("id") if name in order] == order


def test_sign_unit_and_error_stand_first(whole):
    sentence = "forget rows : +0.80 logits of the true class would be lost if these 20 rows were removed, ±0.30"
    assert sentence in whole.text
    assert whole.text.index(sentence) < whole.text.index("What would change")
    assert "20 of 20 are right as it is, 17 would be" in whole.text


def test_every_number_of_the_tables_appears(whole):
    result = make_attribution()
    for line in part_lines(result):
        assert " ".join(line).replace("-", "\N{MINUS SIGN}") in whole.text
    for name in ("forget", "test"):
        for line in affected_lines(result, name):
            row, *cells = line
            assert " ".join([row, *(cell.replace("-", "\N{MINUS SIGN}") for cell in cells)]) in whole.text
    assert "right, would be wrong" in whole.text


def test_targets_stand_beside_their_training_rows(whole):
    pictures = [value for tag, name, value in whole.attributes if tag == "img" and name == "alt"]
    assert pictures.count("label cat") == 6 + 2  # affected rows and targets
    assert pictures.count("label dog") == 3 * (3 + 3)  # two targets and all together, at both ends
    for one in make_attribution()["targets"]["items"][0]["raises"]:
        assert f"{one['score']:+.3f} label {one['label']} {one['id']}" in whole.text
    assert whole.text.count("forget mean score") == 0
    framed = [value for value in whole.values("class") if value == "gone"]
    assert len(framed) == 2  # of both targets


def test_who_is_a_forget_row_is_said_in_words_too():
    one = {"id": "a", "label": "cat", "score": -0.5}
    assert scored(one | {"role": "retain"}) == ("a", "cat", "-0.500")
    assert scored(one | {"role": "forget"}) == ("a (forget)", "cat", "-0.500")
    assert scored({"id": "a"}) == ("a", "-", "-")


def test_cost_is_a_share_of_a_retraining_and_spread_over_requests(whole):
    assert "held-out models, once 1700% 17,000" in whole.text
    assert "together 1736% 17,360" in whole.text
    assert "a request, over 20 89% 887" in whole.text
    text = cost_text(make_attribution())
    assert text.startswith("cost: 1736% of the row visits of one retraining; spread over 20 requests 89% each; 12.5 s")


def test_the_estimator_its_choice_and_its_warning_are_told(whole):
    assert how(make_attribution()) == [
        "estimator: last_layer (the model has many parameters)",
        "calibrated on 17 held-out models; slope of margins on rows of: forget 0.87 ± 0.08 (R2 0.52), "
        "test 0.87 ± 0.08 (R2 0.52)",
        "warning: close to singular",
    ]
    assert "close to singular" in whole.text
    assert "how well the estimator foretold 17 held-out models" in whole.text
    plain = make_attribution()
    plain["estimator"] = {"name": "trak"}
    for one in plain["parts"].values():
        one["calibration"] = None
    assert how(plain) == ["estimator: trak"]


def test_the_command_and_the_limits_are_there(whole):
    assert "expunge attribute run --rows class:cat:20" in whole.text
    assert "Nothing was retrained." in whole.text


def test_no_promises_and_no_arrows(whole):
    words = whole.text.lower()
    assert not [word for word in ("compliant", "erased", "proven", "↑", "↓") if word in words]


def test_headings_of_tables_have_a_scope(whole):
    headings = [tag for tag in whole.tags if tag == "th"]
    assert len(headings) == len([1 for tag, name, _ in whole.attributes if tag == "th" and name == "scope"])


@pytest.mark.parametrize("absent", OPTIONAL)
def test_optional_parts_may_be_absent_or_null(absent):
    result = make_attribution()
    result[absent] = None
    assert Page(render(result)).open == []
    del result[absent]
    assert Page(render(result)).open == []


def test_a_row_needs_its_id_alone():
    result = make_attribution()
    result["parts"] = {"forget": {"rows": 1}}
    result["affected"] = {"forget": [{"id": "a"}]}
    result["targets"] = {"items": [{"id": "b", "raises": [{"id": "c"}]}]}
    parsed = Page(render(result))
    assert parsed.open == []
    assert all(f" {name} " in parsed.text for name in "abc")
    assert "None does." in parsed.text


def test_an_estimator_that_only_ranks_says_so():
    result = make_attribution() | {"parts": {}, "affected": {}}
    for one in result["targets"]["items"]:
        for key in ("change", "error", "margin_change", "margin_error"):
            del one[key]
    parsed = Page(render(result))
    assert parsed.open == []
    assert "Ranked, nothing predicted" in parsed.text
    assert how(result)[1] == "it ranks training rows and predicts no outputs"
    assert "Predicted, not retrained" not in parsed.text
    assert "margin 4.50 change" not in parsed.text
    assert "margin 4.50 change" in Page(render(make_attribution())).text
    assert not {"parts", "affected"} & set(parsed.values("id"))


def test_rows_that_are_no_pictures_are_named_alone():
    result = make_attribution() | {"images": {}}
    parsed = Page(render(result))
    assert "img" not in parsed.tags
    assert "train-10" in parsed.text


def test_unknown_errors_are_a_dash():
    result = make_attribution()
    for one in (result["parts"]["forget"], *result["affected"]["forget"], *result["targets"]["items"]):
        for key in ("error", "margin_error"):
            one[key] = math.nan
    parsed = Page(render(result))
    assert "nan" not in parsed.text.lower().split()
    assert affected_lines(checked_attribution(result), "forget")[0][5] == "-"


def test_hostile_texts_are_only_shown():
    result = make_attribution()
    result["title"] = result["command"] = result["limits"][0] = result["parts"]["test"]["sentence"] = HOSTILE
    result["problem"]["recipe"] = result["estimator"]["why"] = result["targets"]["chosen"] = HOSTILE
    result["estimator"]["settings"] = result["estimator"]["notes"] = {HOSTILE: HOSTILE}
    result["unit"] = dict.fromkeys(result["unit"], HOSTILE)
    for line in (*result["affected"]["test"], *result["targets"]["items"], *result["targets"]["together"]["raises"]):
        line["label"] = line["id"] = HOSTILE
    text = render(result)
    parsed = Page(text)
    assert "<img src=x" not in text
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    assert parsed.open == []
    assert parsed.text.count(HOSTILE.split("<b>")[0]) > 5


@pytest.mark.parametrize(
    "picture",
    ["https://elsewhere/x.png", "data:image/svg+xml;base64,AAAA", 'data:image/png;base64,AA" onload="x', "", 7],
)
def test_a_picture_that_is_none_is_refused(picture):
    result = make_attribution()
    result["images"]["test-0"] = picture
    with pytest.raises(ConfigError, match="images: expected data:image/png;base64"):
        render(result)


def test_terminal_commands_in_names_are_not_kept():
    result = make_attribution()
    result["affected"]["test"][0]["id"] = result["parts"]["test"]["sentence"] = "a\x1b[2Jb"
    assert all("\x1b" not in text for line in affected_lines(result, "test") for text in line)
    assert all("\x1b" not in text for _, text in statements(result))
    assert "\x1b" not in render(result)


def test_newer_schema_and_missing_parts_are_refused():
    with pytest.raises(StoreError, match="schema 1 or older, got 2"):
        render(make_attribution() | {"schema": 2})
    for name in ("parts", "targets"):
        result = make_attribution()
        del result[name]
        with pytest.raises(ConfigError, match=name):
            render(result)
    with pytest.raises(ConfigError, match=r"targets\.items"):
        render(make_attribution() | {"targets": {"of": "test"}})
    with pytest.raises(ConfigError, match="parts: expected forget, retain, test, got train"):
        render(make_attribution() | {"parts": {"train": {"rows": 3}}})
    with pytest.raises(ConfigError, match="a row has no id"):
        render(make_attribution() | {"affected": {"test": [{"label": "cat"}]}})


def test_input_is_left_as_it_was_and_the_file_is_the_page(tmp_path):
    result = make_attribution()
    copy = json.dumps(result)
    assert write_page(result, tmp_path / "page.html").read_text(encoding="utf-8") == render(result)
    assert json.dumps(result) == copy
