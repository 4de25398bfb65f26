"""A folder to work in, with a function that writes a recipe there."""

from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a recipe file; it is in the working directory, so messages name it as it is called here."""
    monkeypatch.chdir(tmp_path)

    def write_recipe(text: str, name: str = "x.yaml") -> str:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return name

    return write_recipe
