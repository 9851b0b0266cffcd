"""The documentation; pages with a generated part are written by `python -m docs.generate`."""
