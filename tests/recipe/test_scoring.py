"""`score_teachers`, from a recipe to the file that training reads."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from alignkit.cli import main
from alignkit.data.errors import DataError
from alignkit.data.teachers import COLUMN, TeacherScores
from alignkit.recipe import RecipeError, json_schema, load, scoring
from alignkit.recipe.build import build, load_recipe_data

RECIPE = """
objective: {name: poft}
model: {path: "tiny:llama"}
data: {train: [{source: rows.jsonl}], teacher_scores: out/scores.parquet}
teachers: [{path: "tiny:llama"}]
train: {output_dir: run, max_steps: 1, per_device_train_batch_size: 4, max_length: 96, logging_steps: 1}
"""
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def chat(i):
    return {
        "prompt": [{"role": "user", "content": f"What is {i} + 1?"}],
        "completion": [{"role": "assistant", "content": f"It is {i + 1}, " * (1 + i % 4)}],
    }


@pytest.fixture
def recipe(write, monkeypatch, tmp_path):
    """Write RECIPE, changed, and eight chats, in a folder with a cache of teachers' scores of its own."""
    monkeypatch.setattr(scoring, "cache_folder", lambda: tmp_path / "cache")
    write("\n".join(json.dumps(chat(i)) for i in range(8)), "rows.jsonl")

    def written(*changes, text=RECIPE):
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return load(write(text))

    return written


def score(recipe, seen=None):
    def progress(teacher, done, rows):
        if seen is not None:
            seen.append((teacher, done, rows))

    return scoring.score_teachers(recipe, recipe_scores(recipe), batch_tokens=256, progress=progress)


def recipe_scores(recipe):
    return Path(recipe.data.teacher_scores)


def test_a_model_likes_an_answer_exactly_as_it_does_itself(recipe):
    """Scores are of the very tokens that training averages over, so the first loss is log 2."""
    asked = recipe()
    score(asked)
    run = build(asked)
    run.train()
    first = run.state.log_history[0]
    assert first["aligned_gap"] == pytest.approx(0, abs=1e-5)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert load("run/recipe.yaml").teachers == asked.teachers
    assert "scores.parquet" in json.loads(Path("run/provenance.json").read_text())["datasets"]


def test_teachers_are_averaged_each_in_its_own_tokens_and_template(recipe, write):
    write(TEMPLATE, "plain.jinja")
    one = score(recipe())
    both = score(
        recipe(('[{path: "tiny:llama"}]', '[{path: "tiny:llama"}, {path: "tiny:qwen2", chat_template: plain.jinja}]'))
    )
    table = pq.read_table(both.path)
    columns = [table.column(f"teacher_{number}").to_pylist() for number in (1, 2)]
    assert columns[0] == pytest.approx(list(one.scores.values()))
    assert columns[1] != pytest.approx(columns[0], abs=1e-4)
    assert table.column(COLUMN).to_pylist() == pytest.approx([(a + b) / 2 for a, b in zip(*columns, strict=True)])
    assert both.teachers[0].template != both.teachers[1].template


def test_answers_to_one_prompt_are_read_together(recipe, write, monkeypatch):
    """Whatever their lengths, so that a teacher reads the prompt once."""
    rows = [{**chat(i % 2), "completion": chat(i // 2)["completion"]} for i in range(8)]
    write("\n".join(map(json.dumps, rows)), "rows.jsonl")
    prompts = []
    real = scoring.mean_logps

    def noted(model, texts, padding):
        prompts.extend(tuple(ids[:32]) for ids, _ in texts)
        return real(model, texts, padding)

    monkeypatch.setattr(scoring, "mean_logps", noted)
    score(recipe())
    assert len(prompts) == 8
    assert sum(one != other for one, other in pairwise(prompts)) == 1


def test_a_killed_run_goes_on_where_it_was(recipe, monkeypatch):
    monkeypatch.setattr(scoring, "WRITTEN", 2)
    counted = []
    real = scoring.mean_logps
    monkeypatch.setattr(
        scoring, "mean_logps", lambda model, texts, padding: counted.append(len(texts)) or real(model, texts, padding)
    )
    asked = recipe()

    class Killed(Exception):
        pass

    def die(teacher, done, rows):
        if done >= 4:
            raise Killed

    with pytest.raises(Killed):
        scoring.score_teachers(asked, recipe_scores(asked), batch_tokens=128, progress=die)
    assert not recipe_scores(asked).exists()
    before = sum(counted)
    assert 4 <= before < 8
    seen = []
    resumed = score(asked, seen)
    assert sum(counted) == 8
    assert seen[0] == ("tiny:llama", before, 8)
    counted.clear()
    assert score(asked).scores == resumed.scores
    assert not counted


def test_scores_are_kept_by_row_whatever_data_they_are_in(recipe, write):
    score(recipe())
    write("\n".join(json.dumps(chat(i)) for i in range(4, 10)), "rows.jsonl")
    seen = []
    assert len(score(recipe(), seen).scores) == 6
    assert seen[0] == ("tiny:llama", 4, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("max_length: 96", "max_length: 64"), "was made with max_length = 96, training has 64"),
        (
            ('{path: "tiny:llama"}]', '{path: "tiny:llama", chat_template: plain.jinja}]'),
            "another template of tiny:llama",
        ),
        (('[{path: "tiny:llama"}]', '[{path: "tiny:qwen2"}]'), "another path of tiny:llama"),
        (
            ('teachers: [{path: "tiny:llama"}]', 'teachers: [{path: "tiny:llama", tokenizer: "tiny:qwen2"}]'),
            "another tokenizer of tiny:llama",
        ),
        (("scores.parquet", "none.parquet"), "none.parquet does not exist"),
    ],
)
def test_scores_of_something_else_are_an_error_before_the_model_loads(recipe, write, monkeypatch, change, message):
    write(TEMPLATE, "plain.jinja")
    score(recipe())
    monkeypatch.setattr("alignkit.recipe.build.load_model", lambda spec: pytest.fail("the model was loaded"))
    with pytest.raises(DataError, match=message):
        build(recipe(change))


def test_other_rows_are_an_error(recipe, write):
    score(recipe())
    write("\n".join(json.dumps(chat(i)) for i in range(3, 10)), "rows.jsonl")
    with pytest.raises(
        DataError, match=r"no score for 2 of 7 rows: .*rows\.jsonl:6, .*rows\.jsonl:7|rows\.jsonl:7, .*rows\.jsonl:6"
    ):
        load_recipe_data(recipe())


def test_a_teacher_that_gives_no_number_names_the_row(recipe, monkeypatch):
    monkeypatch.setattr(scoring, "mean_logps", lambda model, texts, padding: [math.nan] * len(texts))
    with pytest.raises(DataError, match=r"rows\.jsonl:\d: tiny:llama gives it the score nan"):
        score(recipe())


def test_answers_beyond_max_length_are_named(recipe):
    with pytest.raises(
        DataError, match=r"tiny:llama reads no token of the answer in 8 rows within max_length = 20: .*rows"
    ):
        score(recipe(("max_length: 96", "max_length: 20")))


def test_the_authors_target_is_an_option_of_training(recipe):
    """They average the model over prompt and answer, the teachers over answers: the same file serves both."""
    score(recipe())
    gaps = []
    for option in ("{", "{completion_only_loss: false, "):
        run = build(recipe(("train: {", f"train: {option}")))
        run.train()
        gaps.append(run.state.log_history[0]["aligned_gap"])
    assert gaps[0] == pytest.approx(0, abs=1e-5)
    assert abs(gaps[1]) > 1e-3


def test_conversations_say_which_turns_they_compare(recipe, write):
    rows = [{"messages": chat(i)["prompt"] + chat(i)["completion"]} for i in range(8)]
    write("\n".join(map(json.dumps, rows)), "rows.jsonl")
    score(recipe())
    with pytest.raises(
        ValueError, match=r"write train\.assistant_only_loss: true to average over the assistant's turns"
    ):
        build(recipe())
    run = build(recipe(("train: {", "train: {assistant_only_loss: true, ")))
    run.train()
    assert run.state.log_history[0]["aligned_gap"] == pytest.approx(0, abs=1e-5)
    build(recipe(("train: {", "train: {assistant_only_loss: false, ")))


def test_a_template_without_marks_is_read_by_its_turns(recipe, write):
    """TEMPLATE has no end of a turn: the tokens are those of the answers, after the start of each."""
    turns = [{"messages": [*chat(i)["prompt"], *chat(i)["completion"]] * 2} for i in range(4)]
    write("\n".join(map(json.dumps, turns)), "rows.jsonl")
    write(TEMPLATE, "plain.jinja")
    asked = recipe(('{path: "tiny:llama"}]', '{path: "tiny:llama", chat_template: plain.jinja}]'), ("96", "400"))
    data = scoring.load_unscored(asked)
    treatment = scoring.scored_treatment(asked, data)
    reads = scoring.Scoring(spec=asked.teachers[0], rows={}, treatment=treatment, conversational=True)
    for row in data.train:
        found = scoring.answer_tokens(row, reads.tokenizer, treatment)
        spoken = [id for id, trained in zip(found.ids, found.trained, strict=True) if trained]
        assert reads.tokenizer.decode(spoken) == "".join(m["content"] for m in row["messages"][1::2])
    assert len(score(asked).scores) == 4


def test_a_source_may_bring_the_scores_itself(recipe, write):
    write("\n".join(json.dumps({**chat(i), "score": -1.5}) for i in range(8)), "rows.jsonl")
    asked = recipe(
        ('teachers: [{path: "tiny:llama"}]\n', ""),
        (
            "{source: rows.jsonl}], teacher_scores: out/scores.parquet",
            "{source: rows.jsonl, columns: {aligned_logps: score}}]",
        ),
    )
    assert set(load_recipe_data(asked).train[COLUMN]) == {-1.5}
    write("\n".join(json.dumps({**chat(i), "score": float("nan") if i == 4 else 0}) for i in range(8)), "rows.jsonl")
    with pytest.raises(DataError, match=r"rows\.jsonl:5: not a finite number: aligned_logps is nan"):
        load_recipe_data(asked)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("{name: poft}", "{name: nll}")], "teachers have no effect: this objective reads no scores of theirs"),
        ([("{name: poft}", "{name: nll}")], "data.teacher_scores has no effect"),
        (
            [('{path: "tiny:llama"}]', '{path: "tiny:llama", adapter: {rank: 2}}]')],
            "teachers.0.adapter would be trained",
        ),
        ([('[{path: "tiny:llama"}]', "[{path: x}, {path: x}]")], "teachers.1: x is there twice"),
        ([('[{path: "tiny:llama"}]', "[{pth: x}]")], "unknown key teachers.0.pth"),
        (
            [("teacher_scores: out/scores.parquet}", "teacher_scores: s, streaming: true}")],
            "teacher_scores needs the whole",
        ),
        (
            [("max_length: 96", "packing: true")],
            "train.packing joins texts, and this objective reads aligned_logps of each",
        ),
    ],
)
def test_recipes_that_make_no_sense_are_refused(recipe, changes, message):
    with pytest.raises(RecipeError) as caught:
        recipe(*changes)
    assert message in str(caught.value)


def test_teachers_without_their_scores_are_asked_for_them(recipe):
    with pytest.raises(ValueError, match=r"names teachers and not their scores; write data\.teacher_scores"):
        load_recipe_data(recipe((", teacher_scores: out/scores.parquet", "")))


def test_the_schema_knows_teachers():
    schema = json_schema()["properties"]
    assert set(schema["teachers"]["items"]["properties"]) >= {"path", "tokenizer", "chat_template", "precision"}
    assert "teacher_scores" in schema["data"]["properties"]


def test_the_command_writes_the_file_and_says_what_to_do(recipe, tmp_path):
    recipe()
    result = CliRunner().invoke(main, ["score-teachers", "x.yaml"])
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path / 'out/scores.parquet'}: 8 rows, 1 teachers" in result.stdout
    assert "next:" not in result.stdout
    result = CliRunner().invoke(main, ["score-teachers", "x.yaml", "--output", "mine.parquet"])
    assert "next: alignkit train x.yaml data.teacher_scores=mine.parquet" in result.stdout
    assert TeacherScores.read("mine.parquet").scores == TeacherScores.read("out/scores.parquet").scores


@pytest.mark.parametrize(
    ("override", "message"),
    [("objective=nll", "teachers have no effect"), ("teachers=[]", "names no teachers; write teachers: [{path:")],
)
def test_what_cannot_be_scored_ends_with_a_message(recipe, override, message):
    recipe()
    result = CliRunner().invoke(main, ["score-teachers", "x.yaml", override])
    assert result.exit_code == 2
    assert message in result.stderr
