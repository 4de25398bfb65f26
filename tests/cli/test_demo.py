"""The demo on a tiny model in place of the chat model; what it says about that one is not tested."""

import re
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner

from alignkit.cli import main

TINY = [
    "model.path=tiny:llama",
    "model.adapter.rank=2",
    "train.max_steps=2",
    "summary.answers=0",
    "data.eval.0.limit=4",
    "data.train.0.limit=8",
]


def invoke(*arguments):
    return CliRunner().invoke(main, ["demo", *arguments])


@pytest.mark.smoke
def test_a_recording_shows_what_was_printed(tmp_path):
    folder, file = tmp_path / "out", tmp_path / "demo.svg"
    result = invoke("--record", str(file), *TINY, f"train.output_dir={folder}")
    assert result.exit_code == 0, result.output
    assert f"terminal: {file}" in result.output
    assert {"summary.html", "curves.png", "README.md", "metrics.jsonl"} <= {path.name for path in folder.iterdir()}
    text = file.read_text(encoding="utf-8")
    shown = "".join(ET.fromstring(text).itertext()).replace("\xa0", " ")
    for words in ("$ alignkit demo", "step 1/2", "step 2/2", "before:", "words per answer", "summary.html"):
        assert words in shown, words
        assert words in result.output, words
    assert len(re.findall("step 1/2", shown)) == 1, "no bar is in it, whose every state would be"
    assert "@font-face" not in text
    assert "url(http" not in text


@pytest.mark.parametrize(
    ("file", "said"),
    [("demo.png", "should end in .svg"), ("nowhere/demo.svg", "no folder"), (".", "directory")],
)
def test_a_recording_that_cannot_be_written_is_refused_before_the_run(tmp_path, monkeypatch, file, said):
    monkeypatch.chdir(tmp_path)
    result = invoke("--record", file)
    assert result.exit_code == 2
    assert said in result.output
