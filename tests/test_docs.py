"""The documentation is what the code does: generated parts are fresh, snippets run, commands are described."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate import ROOT, pages
from expunge.cli import COMMANDS
from expunge.methods import METHODS

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_generated_page_is_fresh(path):
    assert path.read_text() == pages()[path], "run `make docs`"


def test_readme_example_prints_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source, output = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.S).groups()
    exec(compile(source, "README.md", "exec"), {"__name__": "readme"})
    assert _words(capsys.readouterr().out) == _words(output)
    assert (tmp_path / "report.html").stat().st_size > 1_000_000


@pytest.mark.slow
def test_readme_shows_the_table_of_the_demo(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "expunge", "demo"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    shown = re.search(r"```text\nexpunge demo\n(.*?)```", README, re.S).group(1)
    ours, theirs = (_cells(text) for text in (ran.stdout, shown))
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert ours[name] == pytest.approx(theirs[name], abs=0.05), name  # accuracies; another processor may round


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command):
    assert f"## expunge {command}\n" in (ROOT / "docs" / "cli.md").read_text()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_stands_in_the_readme(name):
    assert f"| [`{name}`]" in README


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert (ROOT / target).exists(), f"{page.name} links to {target}"


def test_the_project_speaks_only_of_itself():
    kept = [path for path in ROOT.rglob("*") if path.suffix in {".py", ".md", ".toml", ".j2"} and _ours(path)]
    assert len(kept) > 100
    for path in kept:
        assert not re.search(r"/work/|/root/|/home/\w", path.read_text()) or path == Path(__file__), path


def _words(text: str) -> str:
    """The text with every number as #, so that another processor's rounding does not matter."""
    return re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "#", text).strip()


def _cells(text: str) -> dict[str, list[float]]:
    """Name -> accuracies on forget, retain and test, of each line of the table."""
    lines = (re.match(r"\s?(\S.*?)\s{2,}(\d\.\d{3}.*)", line) for line in text.splitlines())
    numbers = {line.group(1): re.findall(r"(?<![\d.+-])\d\.\d{3}", line.group(2)) for line in lines if line}
    return {name: [float(number) for number in found[:3]] for name, found in numbers.items()}


def _ours(path: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
