"""Answers drawn by a recipe's model and chosen by its reward: written as they come, resumed, and trained on."""

import json

import pytest

from alignkit.generation import TransformersSampler
from alignkit.recipe import load, sampling
from alignkit.recipe.sampling import sample
from tests.objectives.properties import assert_refuses
from tests.recipes.runs import train

QUESTIONS = [f"{word}?" for word in ("one", "two", "three", "four", "five")]
RECIPE = """\
objective: nll
model: {path: "tiny:llama"}
data: {train: [{source: rows.jsonl}]}
reward: {members: [{function: taste.letters}, {function: taste.wanted}]}
sample: {n: 3, max_new_tokens: 8, truncated: keep}
"""
TASTE = """\
def letters(prompts, completions, **columns):
    return [sum(c.isalpha() for c in completion[0]["content"]) for completion in completions]


def wanted(prompts, completions, letter, **columns):
    return [completion[0]["content"].count(one) for completion, one in zip(completions, letter, strict=True)]
"""


@pytest.fixture
def recipe(write, model_cache):
    rows = [{"prompt": [{"role": "user", "content": text}], "completion": "a", "letter": text[0]} for text in QUESTIONS]
    write("".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl")
    write(TASTE, "taste.py")
    return write(RECIPE)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(sampling, "PART", 2)


def silent(done, of):
    pass


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_answers_are_scored_with_the_columns_of_their_rows(recipe, tmp_path):
    said = []
    found = sample(load(recipe), tmp_path / "out", lambda *progress: said.append(progress))
    assert said == [(0, 5), (2, 5), (4, 5), (5, 5)]
    rows = lines(tmp_path / "out" / "samples.jsonl")
    assert {row["prompt"][0]["content"] for row in rows} == {*QUESTIONS}
    for row in rows:
        letter = row["prompt"][0]["content"][0]
        assert len({*row["answers"]}) > 1
        assert row["members"]["wanted"] == [answer.count(letter) for answer in row["answers"]]
        both = zip(row["members"]["letters"], row["members"]["wanted"], strict=True)
        assert row["scores"] == [sum(pair) / 2 for pair in both]
    assert (found.counts.prompts, found.counts.answers, found.counts.best) == (5, 15, 5)


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_stopped_run_goes_on_and_ends_with_the_same_file(recipe, tmp_path, kept):
    whole, half = tmp_path / "whole", tmp_path / "half"
    for folder in (whole, half):
        sample(load(recipe), folder, silent)
    samples = half / "samples.jsonl"
    text = samples.read_text()
    samples.write_text("".join(line + "\n" for line in text.splitlines()[:kept]) + '{"prompt": "hal')
    (half / "best.jsonl").unlink()
    sample(load(recipe), half, silent)
    assert samples.read_text() == text == (whole / "samples.jsonl").read_text()
    assert (half / "best.jsonl").read_text() == (whole / "best.jsonl").read_text()


def test_what_is_kept_may_change_and_what_was_drawn_may_not(recipe, tmp_path, monkeypatch):
    sample(load(recipe), tmp_path / "out", silent)
    monkeypatch.setattr(TransformersSampler, "draw", lambda *arguments: pytest.fail("nothing is drawn again"))
    found = sample(load(recipe, ["sample.min_score=1000"]), tmp_path / "out", silent)
    assert (found.counts.best, found.counts.below) == (0, 5)
    for override in ("sample.n=4", "sample.seed=1", "model.path=tiny:gpt2", "reward.combine=worst"):
        with pytest.raises(
            ValueError, match=r"samples.jsonl is of another .*; remove it, or write to another --output$"
        ):
            sample(load(recipe, [override]), tmp_path / "out", silent)


def test_every_seed_is_another_draw(recipe, tmp_path):
    for seed in (0, 1):
        sample(load(recipe, [f"sample.seed={seed}"]), tmp_path / str(seed), silent)
    first, second = ((tmp_path / str(seed) / "samples.jsonl").read_text() for seed in (0, 1))
    assert first != second


def test_another_function_of_the_same_name_does_not_go_on(recipe, tmp_path, write):
    sample(load(recipe), tmp_path / "out", silent)
    write(TASTE.replace("isalpha", "isdigit"), "taste.py")
    with pytest.raises(ValueError, match=r"samples\.jsonl is of another "):
        sample(load(recipe), tmp_path / "out", silent)


def test_prompts_of_either_set_each_once(recipe, tmp_path, write):
    row = json.dumps({"prompt": [{"role": "user", "content": "again?"}], "completion": "a", "letter": "x"})
    write(f"{row}\n{row}\n", "more.jsonl")
    read = load(recipe, ["data.eval=[{source: more.jsonl}]", "sample.prompts=eval"])
    assert sample(read, tmp_path / "out", silent).counts.prompts == 1
    limited = load(recipe, ["sample.limit=2"])
    assert sample(limited, tmp_path / "two", silent).counts.prompts == 2


def test_what_cannot_be_sampled_from_is_refused(recipe, tmp_path, write):
    message = "the recipe has no evaluation data; write data.eval, or sample.prompts: train"
    assert_refuses(message, sample, load(recipe, ["sample.prompts=eval"]), tmp_path, silent)
    bare = write(RECIPE.replace("reward:", "# reward:"), "bare.yaml")
    message = "the recipe has no reward to choose answers by; write reward: {members: [{model: PATH}]}"
    assert_refuses(message, sample, load(bare), tmp_path, silent)
    streaming = load(recipe, ["data.streaming=true", "train.max_steps=1"])
    message = "answers are drawn for a whole data set, which streaming never sees; remove data.streaming"
    assert_refuses(message, sample, streaming, tmp_path, silent)


def test_the_section_is_read_strictly_kept_and_makes_a_reward_meaningful(recipe, write):
    read = load(recipe)
    assert (read.sample.n, read.sample.truncated) == (3, "keep")
    assert read.resolved()["sample"]["max_new_tokens"] == 8
    with pytest.raises(ValueError, match=r"unknown key sample.tempreature; did you mean temperature\?"):
        load(recipe, ["sample.tempreature=1"])
    with pytest.raises(ValueError, match=r"reward has no effect: this objective learns from data, not from rewards"):
        load(write(RECIPE.replace("sample:", "# sample:"), "without.yaml"))


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("method", "data"), [("nll", "best"), ("mmpo", "pairs"), ("dpo", "pairs"), ("bradley_terry", "pairs")]
)
def test_the_sets_train(recipe, tmp_path, method, data):
    found = sample(load(recipe), tmp_path / "out", silent)
    assert found.counts.pairs >= 4, "the model answers differently every time"
    source = f"data.train=[{{source: {tmp_path / 'out' / data}.jsonl}}]"
    few = ["train.max_steps=1", "data.eval=[]", "train.eval_strategy=no", "train.global_batch_size=2"]
    run = train(f"{method}/tiny", tmp_path / "run", source, *few)
    assert len(run.losses) == 1
