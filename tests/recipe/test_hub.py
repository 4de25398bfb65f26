"""Nothing is pushed unless it is asked for; then it is our card, and no text of the data."""

import json
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from huggingface_hub import HfApi

from alignkit.cli import main
from alignkit.recipe import RecipeError, hub, load


@pytest.fixture
def calls(monkeypatch):
    """What the Hub was asked for: repositories made, and uploads with the files as they were then."""
    made, uploads = [], []

    def create_repo(self, repo_id, **options):
        made.append((repo_id, options["private"]))
        return SimpleNamespace(repo_id=repo_id if "/" in repo_id else f"me/{repo_id}")

    def upload_folder(self, repo_id, folder_path, run_as_future=False, **options):
        files = {path.name: path.read_bytes() for path in Path(folder_path).iterdir() if path.is_file()}
        uploads.append((repo_id, files))
        done: Future = Future()
        done.set_result(None)
        return done if run_as_future else None

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    monkeypatch.setenv("HF_TOKEN", "hf_for_tests")
    return SimpleNamespace(made=made, uploads=uploads)


def train(folder, *overrides):
    arguments = ["train", "dpo/tiny", f"train.output_dir={folder}", "summary.max_new_tokens=4", *overrides]
    return CliRunner().invoke(main, arguments)


def texts_of(eval_or_train):
    data = Path(__file__).parents[2] / "recipes" / "demo" / f"pairs_{eval_or_train}.jsonl"
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    return [row[part][-1]["content"].encode() for row in rows[:16] for part in ("prompt", "chosen", "rejected")]


@pytest.mark.smoke
def test_nothing_is_pushed_unless_asked(calls, tmp_path):
    result = train(tmp_path, "train.hub_model_id=me/mine")
    assert result.exit_code == 0, result.output
    assert (calls.made, calls.uploads) == ([], [])


@pytest.mark.smoke
def test_a_push_carries_our_card_and_no_text_of_the_data(calls, tmp_path):
    (tmp_path / "summary.html").write_bytes(texts_of("test")[0])  # left by a run that was not to be pushed
    result = train(tmp_path, "train.push_to_hub=true", "train.hub_model_id=me/mine", "train.hub_private_repo=true")
    assert result.exit_code == 0, result.output
    assert set(calls.made) == {("me/mine", True)}
    assert {repository for repository, _ in calls.uploads} == {"me/mine"}
    _, files = calls.uploads[-1]
    card = files["README.md"].decode()
    assert "by alignkit" in card
    assert 'from_pretrained("me/mine")' in card
    assert {"model.safetensors", "summary.html", "recipe.yaml", "metrics.jsonl", "data_report.json"} <= {*files}
    for _, files in calls.uploads:
        for name, content in files.items():
            assert not [text for text in texts_of("train") + texts_of("test") if text in content], name
            assert b"hf_for_tests" not in content, name
    assert "hub:   me/mine" in result.output


@pytest.mark.smoke
def test_answers_are_pushed_where_somebody_asked_for_them(calls, tmp_path):
    result = train(tmp_path, "train.push_to_hub=true", "summary.answers=1", "train.save_strategy=no")
    assert result.exit_code == 0, result.output
    repository, files = calls.uploads[-1]
    assert repository == f"me/{tmp_path.name}"
    assert b"<h3>Prompt 1</h3>" in files["summary.html"]


def test_without_a_login_nothing_starts(calls, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "get_token", lambda: None)
    result = train(tmp_path, "train.push_to_hub=true")
    assert result.exit_code == 2
    assert "train.push_to_hub needs a login; run hf auth login, set HF_TOKEN, or remove push_to_hub" in result.output
    assert calls.made == []


def test_what_the_hub_says_against_it_is_a_message(calls, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("403 Forbidden")

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    result = train(tmp_path, "train.push_to_hub=true", "train.hub_model_id=you/yours")
    assert result.exit_code == 2
    assert "the Hub does not give you/yours: 403 Forbidden\nCheck train.hub_model_id" in result.output


def test_a_token_in_a_recipe_is_refused():
    with pytest.raises(RecipeError, match="would put a secret into a file"):
        load("dpo/tiny", ["train.push_to_hub=true", "train.hub_token=hf_abcdefghijklmnop"])
