"""What a secret looks like, and that none is written, logged or printed."""

import logging
import subprocess
import sys

import pytest

from alignkit.recipe import RecipeError, load
from alignkit.redaction import is_secret_name, redact, redact_command, redact_text

KEY = "kept-in-the-environment"


@pytest.mark.parametrize(
    "name", ["token", "hub_token", "HF_TOKEN", "api_key", "apikey", "openai-api-key", "password", "client_secret"]
)
def test_names_of_secrets(name):
    assert is_secret_name(name)
    assert redact({"a": [{name: "x"}]}) == {"a": [{name: "[redacted]"}]}
    assert redact_command([f"train.{name}=x", f"--{name}", "x", f"--{name}=x"]) == [
        f"train.{name}=[redacted]",
        f"--{name}",
        "[redacted]",
        f"--{name}=[redacted]",
    ]


@pytest.mark.parametrize("name", ["eos_token", "pad_token", "num_tokens", "tokenizer", "keyword", "max_length"])
def test_names_of_no_secrets(name):
    assert redact({name: "x"}) == {name: "x"}


def test_secrets_in_values():
    assert redact("https://user:pass@host/x") == "https://[redacted]@host/x"
    assert redact(["key hf_abcdefghijklmnopqrst"]) == ["key [redacted]"]
    assert redact({"token": None}) == {"token": None}
    assert redact("sk-learn") == "sk-learn"
    assert redact("s3: AKIAABCDEFGHIJKLMNOP") == "s3: [redacted]"
    assert redact("Authorization: Bearer abcdefghijklmnopqrstuvwxyz=") == "Authorization: Bearer [redacted]"
    assert redact("http://host/x?model=a&api_key=abc&n=1") == "http://host/x?model=a&api_key=[redacted]&n=1"


def test_what_the_environment_keeps_secret_is_found_in_any_text(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", KEY)
    monkeypatch.setenv("PAD_TOKEN", "endoftext")
    monkeypatch.setenv("SHORT_TOKEN", "true")
    assert redact_text(f"refused: {KEY}!") == "refused: [redacted]!"
    assert redact_text("endoftext is true") == "endoftext is true"


PROGRAM = f"""
import logging, alignkit.cli
logging.basicConfig(format="%(message)s")
log = logging.getLogger("some.library")
log.warning("key %s of %d", "{KEY}", 3)
log.warning("%d", "no number")
try:
    raise RuntimeError("inside: {KEY}")
except RuntimeError:
    log.exception("caught")
raise ValueError("outside: {KEY}")
"""


def test_logs_and_tracebacks_of_any_library(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", KEY)
    plain = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace(", alignkit.cli", "")], capture_output=True, text=True, check=False
    )
    assert plain.stderr.count(KEY) >= 3, "what would be printed"
    clean = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert clean.returncode == 1
    assert KEY not in clean.stderr
    lines = clean.stderr.splitlines()
    assert lines[0] == "key [redacted] of 3"
    assert "RuntimeError: inside: [redacted]" in lines
    assert lines[-1] == "ValueError: outside: [redacted]"
    assert "TypeError: %d format: a real number is required, not str" in lines, "as logging says it"


def test_a_recipe_s_errors_show_no_secret(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "objective: dpo\nmodel: {path: org/m}\ndata: {train: [{source: org/r}]}\n"
        "train:\n  hub_token: my-own-secret\n  learning_rte: 1\n"
    )
    with pytest.raises(RecipeError) as caught:
        load(tmp_path / "x.yaml", ["train.push_to_hub_token=my-own-secret", "report=[hf_abcdefghijklmnopqrst]"])
    said = caught.value.report()
    assert "would put a secret into a file" in said
    assert "learning_rte: 1" in said, "other lines are shown"
    assert "override 'train.push_to_hub_token=[redacted]'" in said
    assert "my-own-secret" not in said


def test_records_without_secrets_are_left_as_they_are(caplog):
    import alignkit.cli  # noqa: F401 - from here on records are looked at

    with caplog.at_level(logging.WARNING):
        logging.getLogger("a").warning("%s and %s", "one", "two")
    (record,) = caplog.records
    assert record.args == ("one", "two")
