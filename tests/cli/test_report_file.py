"""`expunge report` on a file of plain JSON: a benchmark of tuning, and nothing else."""

import json

import pytest

from expunge.cli import run
from tests.report.fixture import make_result
from tests.report.tuning_fixture import make_tuning


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_lies_beside_the_file(place, capsys):
    (place / "tuning.json").write_text(json.dumps(make_tuning()))
    assert run(["report", "tuning.json"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("report: tuning.html")
    assert "Tuning on twins" in (place / "tuning.html").read_text(encoding="utf-8")
    assert run(["report", "tuning.json", "-o", "other.html"]) == 0
    assert (place / "other.html").is_file()


def test_as_plain_data(place, capsys):
    (place / "tuning.json").write_text(json.dumps(make_tuning()))
    assert run(["report", "tuning.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "tuning"
    assert not (place / "tuning.html").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not json", "expected a result in JSON, got JSONDecodeError"),
        (b"\xff\xfe", "expected a result in JSON, got UnicodeDecodeError"),
        (b"[" * 100_000, "expected a result in JSON, got RecursionError"),
        (b"[]", "expected a result of kind 'tuning', got 'list'"),
        (json.dumps(make_result()).encode(), "expected a result of kind 'tuning', got 'method'"),
    ],
)
def test_another_file_is_refused(place, content, says, capsys):
    (place / "file.json").write_bytes(content)
    assert run(["report", "file.json"]) == 4
    assert says in capsys.readouterr().err.replace("\n", " ")
    assert not (place / "file.html").exists()
