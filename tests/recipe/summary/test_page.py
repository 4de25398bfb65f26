"""The page shows everything, as text, and needs nothing from elsewhere."""

import shutil
import subprocess
from dataclasses import replace

import pytest

from alignkit.recipe.summary.answers import Answers, NoAnswers
from alignkit.recipe.summary.facts import without_texts
from alignkit.recipe.summary.page import page
from tests.pages import Read

HOSTILE = (
    "</pre></style><script>document.title='owned'</script><img src=https://example.org/x onerror=alert(1)>&lt;\x1b[2J"
)
CHATS = [[{"role": "user", "content": f"Why? {HOSTILE}"}]]
MOMENTS = [Answers(step=0, texts=(HOSTILE,), seconds=1.0), Answers(step=2, texts=("Because.",), seconds=0.5)]


@pytest.fixture
def hostile(facts, progress):
    """A page with hostile text in every place that a user's text comes to."""
    recipe = replace(facts.recipe, train={**facts.recipe.train, "run_name": HOSTILE})
    example = replace(facts.report.example, place=HOSTILE)
    provenance = {**facts.provenance, "command": ["alignkit", HOSTILE]}
    changed = replace(facts, recipe=recipe, report=replace(facts.report, example=example), provenance=provenance)
    return page(changed, replace(progress, name=HOSTILE, hardware=HOSTILE), CHATS, MOMENTS)


def test_what_a_reader_sees(facts, progress):
    read = Read(page(facts, progress, CHATS, MOMENTS))
    for words in (
        "out: a run of dpo",
        "-log sigmoid(beta * (log pi(w)/ref(w)",
        "1 min 5 s",
        "4,000",
        "rewards/accuracies",
        "Before (step 0)",
        "After (step 2)",
        "Because.",
        "They took 1.5 s.",
        "path: tiny:llama",
        "pairs_train.jsonl",
        '"trl": "1.16.',
    ):
        assert words in read.words, words
    assert {"svg", "table", "mark"} <= {*read.elements}


def test_hostile_text_is_text(hostile):
    read = Read(hostile)
    assert "script" not in read.elements
    assert "img" not in read.elements
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    written_out = HOSTILE.replace("\x1b", "\\x1b")
    assert read.words.count(written_out) == 5, "title twice, hardware, prompt, answer"
    assert read.words.count("document.title=") == 8, "and, in their own spelling, recipe, example and command"


def test_nothing_comes_from_elsewhere(hostile):
    sources = [value for name, value in Read(hostile).attributes if name in ("src", "href", "xlink:href", "action")]
    assert all(value.startswith("#") for value in sources)
    assert "default-src 'none'" in hostile
    assert "@import" not in hostile


def test_missing_answers_and_figures_are_explained(facts, progress):
    text = page(facts, replace(progress, history=[]), [], [NoAnswers(reason="the model is <split>")])
    assert "Not generated: the model is &lt;split&gt;." in text
    assert "No figures were logged." in text
    assert "nothing to draw" in text
    failed = page(facts, progress, CHATS, [MOMENTS[0], NoAnswers(reason="out of memory")])
    assert "Not generated: out of memory." in failed


def test_a_published_page_holds_no_example(facts, progress):
    shown = page(facts, progress, [], [NoAnswers(reason="published")])
    said = max((span.text for span in facts.report.example.sequences[0].spans), key=len).split("\n")[0]
    assert len(said) > 20
    assert said in Read(shown).words
    hidden = replace(facts, report=without_texts(facts.report))
    assert said not in Read(page(hidden, progress, [], [NoAnswers(reason="published")])).words


def complaints(chromium, file, folder):
    """What a browser's console says about a page, and the page as it stands after loading."""
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}", "--dump-dom", file.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [line for line in run.stderr.splitlines() if "CONSOLE" in line], run.stdout


@pytest.mark.smoke
def test_a_browser_opens_it_without_complaint(hostile, tmp_path):
    """The page's policy forbids requests and scripts, so that each attempt is a complaint."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    good, bad = tmp_path / "good.html", tmp_path / "bad.html"
    good.write_text(hostile, encoding="utf-8")
    bad.write_text(hostile.replace("</body>", "<img src='https://example.org/x'><script>1</script></body>"))
    said, document = complaints(chromium, good, tmp_path / "profile")
    assert said == []
    assert "Because." in document
    assert "<title>owned" not in document
    said, _ = complaints(chromium, bad, tmp_path / "profile")
    assert len(said) == 2, "guards the assertion above: what the page may not do is complained about"
