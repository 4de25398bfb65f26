"""What a page says to the browser, whatever is in it."""

import base64
import hashlib
import re
from pathlib import Path

import alignkit
from alignkit.pages import document

SCRIPT = "document.title = 'mine'"


def policy(page: str) -> dict[str, str]:
    (content,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    return dict(rule.split(" ", 1) for rule in content.split("; "))


def test_nothing_runs_and_nothing_is_fetched():
    page = document("<script>", "b { color: red }", "<p>text</p>")
    assert "<title>&lt;script&gt;</title>" in page
    assert policy(page) == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "form-action": "'none'",
        "base-uri": "'none'",
    }


def test_the_page_s_own_script_is_the_one_that_runs():
    page = document("", "", "<script>alert(1)</script>", SCRIPT)
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert policy(page)["script-src"] == f"'sha256-{digest}'"
    assert page.endswith(f"<script>{SCRIPT}</script>\n</body>\n</html>\n")


def test_only_this_module_writes_whole_pages():
    writers = [path.name for path in Path(alignkit.__file__).parent.rglob("*.py") if "<!DOCTYPE" in path.read_text()]
    assert writers == ["pages.py"]
