"""alignkit reward score: a reward model is trained by a recipe, and scores what it was trained for."""

import json

import pytest
from click.testing import CliRunner

from alignkit.cli import main
from alignkit.models.spec import ModelSpec
from alignkit.recipe import load, reward_scores
from alignkit.recipe.build import load_recipe_data
from alignkit.rewards.model import ModelReward
from tests.recipes.runs import RECIPES, train

pytestmark = pytest.mark.smoke  # a reward model is trained first

PAIRS = RECIPES / "demo" / "pairs_test.jsonl"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, request):
    """Folders of a reward model and of one that is an adapter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIGNKIT_CACHE", str(request.config.cache.mkdir("alignkit")))
        folder = tmp_path_factory.mktemp("models")
        whole = train("bradley_terry/tiny", folder / "whole", "model.head_only=true").folder
        return whole, train("plackett_luce/tiny", folder / "lora", "model.adapter={rank: 4}").folder


def score(*args):
    return CliRunner().invoke(main, ["reward", "score", *map(str, args)])


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("which", [0, 1], ids=["whole", "adapter"])
def test_pairs_are_scored_as_the_model_scores_them(trained, tmp_path, which):
    output = tmp_path / "scored.jsonl"
    result = score(trained[which], PAIRS, "--limit", 5, "-o", output, "--name", "reward")
    assert result.exit_code == 0, result.output
    assert "5 rows, 10 answers" in result.output
    reward = ModelReward.load(ModelSpec(path=str(trained[which])))
    for row, original in zip(rows(output), rows(PAIRS), strict=False):
        assert {**row, **original} == row
        prompt = original["prompt"]
        expected = reward([prompt, prompt], [original["chosen"], original["rejected"]]).tolist()
        assert [row["reward_chosen"], row["reward_rejected"]] == pytest.approx(expected, abs=1e-5)
        assert row["truncated"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["scored.jsonl"]


def test_mmpo_learns_from_them(trained, tmp_path):
    output = tmp_path / "scored.jsonl"
    assert score(trained[0], PAIRS, "--limit", 4, "-o", output, "--name", "reward").exit_code == 0
    columns = "{score_chosen: reward_chosen, score_rejected: reward_rejected}"
    changes = [f"data.train=[{{source: {output}, columns: {columns}}}]", "data.eval=[]", "train.eval_strategy=no"]
    data = load_recipe_data(load("mmpo/tiny", changes)).train
    for name in ("chosen", "rejected"):
        assert sorted(data[f"score_{name}"][:]) == sorted(row[f"reward_{name}"] for row in rows(output))
    assert len(train("mmpo/tiny", tmp_path / "mmpo", *changes).losses) == 2


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ({"prompt": "q", "answers": ["a", "b", "c"]}, {"scores"}),
        ({"prompt": "q", "completion": "a"}, {"score"}),
        ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, {"score"}),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, {"score_chosen", "score_rejected"}),
    ],
)
def test_every_kind_of_row_is_scored(trained, tmp_path, monkeypatch, row, names):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    result = score(trained[0], "a.jsonl", "--max-length", 3)
    assert result.exit_code == 0, result.output
    [scored] = rows(tmp_path / "a.scored.jsonl")
    assert {*scored} == {*row, *names, "truncated"}
    if "answers" in row:
        assert len(scored["scores"]) == scored["truncated"] + 3 == 3
    if "messages" in row:
        assert "1 answers are too long for the model" in result.output


def test_a_stopped_run_goes_on_where_it_was(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(reward_scores, "PART", 2)
    output, read = tmp_path / "out.jsonl", []
    scored = ModelReward.scored

    def counted(self, prompts, completions):
        read.append(len(completions))
        if len(read) == 3:
            raise KeyboardInterrupt
        return scored(self, prompts, completions)

    monkeypatch.setattr(ModelReward, "scored", counted)
    assert score(trained[0], PAIRS, "--limit", 7, "-o", output, "--name", "r").exit_code != 0
    partial = tmp_path / "out.jsonl.partial"
    assert len(rows(partial)) == 4
    partial.write_text(partial.read_text() + '{"prompt": "hal')
    assert score(trained[1], PAIRS, "--limit", 7, "-o", output, "--name", "r").exit_code == 2  # another model
    assert score(trained[0], PAIRS, "--limit", 7, "-o", output, "--name", "r").exit_code == 0
    assert sum(read) == 4 + 4 + 4 + 4 + 2  # the third was lost
    again = tmp_path / "again.jsonl"
    score(trained[0], PAIRS, "--limit", 7, "-o", again, "--name", "r")
    assert [row["prompt"] for row in rows(output)] == [row["prompt"] for row in rows(again)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"text": "a"}', "a.jsonl holds plain texts; an answer is scored behind its prompt: prompt and completion"),
        ('{"prompt": "q", "completion": "a"}\n{"prompt": "q"}', "a.jsonl:2: missing field: completion"),
        (
            '{"prompt": "q", "completion": "a", "score": 1}',
            "a.jsonl:1 has score already, which would be lost; write --name OTHER",
        ),
        ("{", "a.jsonl has no rows that can be read"),
    ],
)
def test_bad_data_end_with_their_place(trained, tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text(text)
    result = score(trained[0], "a.jsonl")
    assert result.exit_code == 2
    assert message in result.output


def test_a_model_without_a_trained_head_is_refused():
    result = score("tiny:llama", PAIRS)
    assert result.exit_code == 2
    assert "tiny:llama is no reward model" in result.output
