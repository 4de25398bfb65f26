"""The page shows everything, as text, filters it, and needs nothing from elsewhere."""

import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from alignkit.evaluation import write_report
from alignkit.evaluation.charts import bars, radar
from alignkit.evaluation.statistics import Interval
from tests.evaluation.scripted import judged
from tests.pages import Read

HOSTILE = (
    "</pre></style></script><script>document.title='owned'</script><img src=https://example.org/x onerror=alert(1)>"
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The page of an evaluation whose answers and judge are hostile."""
    path = tmp_path_factory.mktemp("evaluation")
    models = {"a": lambda one, turn: f"plain {one.id} {HOSTILE}", "b": lambda one, turn: f"b{one.id} longer"}

    def say(text):
        if "b2" in text:
            return "no rating"
        return f"{HOSTILE} I say\nRating: [[{8 if 'longer' in text else 3}]]"

    judged(path, say, **models)
    folder, _ = judged(path, lambda text: f"{HOSTILE}\n[[A]]", pairs=[("a", "b")], **models)
    write_report(folder, f"test {HOSTILE}", [f"careful {HOSTILE}"])
    return path / "report.html"


def test_what_a_reader_sees(file):
    read = Read(file.read_text())
    for words in ("3 questions", "ask 1", "and 3", "plain 2", "I say", "Rating: [[3]]", "not graded", "a shown first"):
        assert words in read.words, words
    assert "the judge prefers the answer shown first in 100% of its verdicts" in read.words
    assert "b is better than a" in read.words or "cannot be told" in read.words
    assert read.elements.count("article") == 3
    assert read.elements.count("svg") >= 2
    assert "polygon" in read.elements


def test_hostile_text_is_text(file):
    read = Read(file.read_text())
    assert read.elements.count("script") == 1
    assert "img" not in read.elements
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert read.words.count(HOSTILE) > 20


def test_nothing_comes_from_elsewhere(file):
    text = file.read_text()
    assert not [value for name, value in Read(text).attributes if name in ("src", "href", "action", "xlink:href")]
    assert "default-src 'none'" in text
    assert "@import" not in text


def test_charts_are_drawn_to_scale():
    drawn = bars([("<m>", Interval(mean=5.0, low=4.0, high=6.0, values=9, questions=3))])
    assert 'width="190.0"' in drawn
    assert "&lt;m&gt;: 5.00 [4.00, 6.00]" in drawn
    assert "<m>" not in drawn
    circle = radar({"m": {"a": 10.0, "b": 5.0, "c": 0.0, "d": 10.0}})
    assert 'points="230.0,80.0 305.0,230.0 230.0,230.0 80.0,230.0"' in circle
    assert radar({"m": {"a": 1.0, "b": 2.0}}) == ""


def opened(chromium, url, folder):
    """What a browser's console says about a page, and the page as it stands once its script has run."""
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}", "--dump-dom", url]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [line for line in run.stderr.splitlines() if "CONSOLE" in line], run.stdout


class Shown(HTMLParser):
    """Categories of the articles, and models of the columns, that are not hidden."""

    def __init__(self, text):
        super().__init__()
        self.articles, self.columns = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "article" and "hidden" not in found:
            self.articles.append(found["data-category"])
        if "data-model" in found and "hidden" not in found:
            self.columns.add(found["data-model"])


@pytest.mark.smoke
def test_a_browser_opens_and_filters_it(file, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    said, document = opened(chromium, file.as_uri(), tmp_path)
    assert said == []
    assert "<title>owned" not in document
    assert "3 of 3 questions" in document
    assert (Shown(document).articles, Shown(document).columns) == (["writing", "math", "stem"], {"a", "b"})
    for hash_, articles, columns in (
        ("category=math&model=b", ["math"], {"b"}),
        ("search=B3+LONGER", ["stem"], {"a", "b"}),
        ("ungraded=on", ["math"], {"a", "b"}),
        ("below=2", [], {"a", "b"}),
    ):
        said, document = opened(chromium, f"{file.as_uri()}#{hash_}", tmp_path)
        assert said == []
        assert (Shown(document).articles, Shown(document).columns) == (articles, columns), hash_
    bad = tmp_path / "bad.html"
    bad.write_text(file.read_text().replace("</body>", "<img src='https://example.org/x'><script>1</script></body>"))
    assert len(opened(chromium, bad.as_uri(), tmp_path)[0]) == 2, "guards the assertions above"
