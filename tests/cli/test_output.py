"""What is printed is what was meant: text with colons is no picture."""

import pytest

from expunge.cli.output import complain, out, table


@pytest.mark.parametrize("text", ["class:cat:20", "ids:heart:x", "targets class:nine: no such class"])
def test_names_between_colons_stay_as_they_are(text, capsys):
    out().print(text, markup=False)
    table(["rows"], [[text]])
    complain(text, text)
    words = capsys.readouterr()
    assert words.out.count(text) == 2
    assert words.err.count(text) == 2
