"""Recorded runs replayed, the order of prompts over epochs, and files of answers that cannot be used."""

import json
from pathlib import Path

import pytest

from alignkit.objectives import make
from alignkit.trainers import _generation
from alignkit.trainers._prompt_order import PromptOrder
from alignkit.trainers._samples import Recorder
from tests.objectives.properties import assert_refuses
from tests.trainers.runs import group_trainer

ONE_UPDATE = {"generation_batch_size": 8, "gradient_accumulation_steps": 2}
SEVERAL = {"steps_per_generation": 2, "num_iterations": 2}
ROWS = [{"prompt": f"The cat sat on mat {number}"} for number in range(3)]


def logged(run):
    run.train()
    kept = ("loss", "grad_norm", "reward", "entropy", "rewards/answer_reward/std")
    return [{name: entry.get(name) for name in kept} for entry in run.state.log_history if "loss" in entry]


def rows_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("name", "args"), [("grpo", ONE_UPDATE), ("gvpo", SEVERAL)], ids=["grpo, one update", "gvpo, several"]
)
def test_a_recorded_run_replayed_has_the_same_losses(tmp_path, name, args):
    """To the bit; also with its rewards left out of the file and asked for again."""
    options = {"objective": make(name), "args": {**args, "max_steps": 3}}
    drawn = logged(group_trainer(tmp_path / "drawn", record=True, **options))
    file = tmp_path / "drawn" / "samples.jsonl"
    rows = rows_of(file)
    assert len(rows) == {"grpo": 6, "gvpo": 2}[name]
    assert {len(row[key]) for row in rows for key in ("answers", "scores", "logps", "answer_ids", "truncated")} == {4}
    scores = [score for row in rows for score in row["scores"]]
    assert len(set(scores)) == 2
    run = group_trainer(tmp_path / "read", samples=file, reward_funcs=None, **options)
    assert [{**entry, "rewards/answer_reward/std": None} for entry in drawn] == logged(run)
    assert not (tmp_path / "read" / "samples.jsonl").exists()
    if name == "grpo":
        file.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "scores"}) + "\n" for row in rows))
        assert logged(group_trainer(tmp_path / "again", samples=file, **options)) == drawn


@pytest.mark.parametrize("split", [False, True])
def test_processes_ask_each_other_about_prompts_only_where_they_hold_parts_of_the_weights(tmp_path, monkeypatch, split):
    """Between two turns of a tool one may be alone in generating, and would wait for an answer without end."""
    asked = []
    monkeypatch.setattr(_generation, "on_all_ranks", lambda accelerator, here: asked.append(here) or here)
    run = group_trainer(tmp_path, args={"max_steps": 1})
    assert not run.is_sharded
    run.is_sharded = split
    run.model.eval()
    run._generate_single_turn([[1, 2, 3]] * 2, None, {}, num_generations=2)
    assert bool(asked) is split


@pytest.mark.smoke
def test_answers_of_another_sampler_are_weighted_where_the_method_asks(tmp_path):
    """Log-probs one nat a token higher than the policy's: a ratio of exp(-1) for each token, and a smaller step."""
    args = {"max_steps": 1, "vllm_importance_sampling_mode": "token_truncate"}
    (drawn,) = logged(group_trainer(tmp_path / "drawn", record=True, args=args))
    file = tmp_path / "drawn" / "samples.jsonl"
    rows = rows_of(file)
    for row in rows:
        row["logps"] = [[value + 1 for value in each] for each in row["logps"]]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = group_trainer(tmp_path / "read", samples=file, args=args)
    (read,) = logged(run)
    assert read["grad_norm"] == pytest.approx(drawn["grad_norm"] * 0.36788, rel=1e-3)
    history = run.state.log_history[0]
    assert history["sampling/importance_sampling_ratio/mean"] == pytest.approx(0.36788, rel=1e-3)
    assert logged(group_trainer(tmp_path / "gvpo", objective=make("gvpo"), samples=file, args=args))[0]["loss"] > 0


@pytest.mark.smoke
def test_a_run_is_resumed_in_its_second_epoch(tmp_path):
    """Also where its answers are read, each prompt's groups in turn, and where they are recorded."""
    args = {"max_steps": 6, "save_strategy": "steps", "save_steps": 4}
    run = group_trainer(tmp_path / "drawn", record=True, rows=ROWS, args=args)
    whole = logged(run)
    file = tmp_path / "drawn" / "samples.jsonl"
    recorded = file.read_text()
    again = group_trainer(tmp_path / "drawn", record=True, rows=ROWS, args=args)
    again.train(resume_from_checkpoint=str(tmp_path / "drawn" / "checkpoint-4"))
    assert [entry["loss"] for entry in again.state.log_history if "loss" in entry] == [one["loss"] for one in whole]
    assert file.read_text() == recorded
    assert [row["prompt"] for row in rows_of(file)[:3]] != [row["prompt"] for row in rows_of(file)[3:]]
    read = group_trainer(tmp_path / "read", samples=file, rows=ROWS, args=args)
    assert logged(read) == whole
    again = group_trainer(tmp_path / "read", samples=file, rows=ROWS, args=args)
    again.train(resume_from_checkpoint=str(tmp_path / "read" / "checkpoint-4"))
    assert again.samples.visits == read.samples.visits
    assert [entry["loss"] for entry in again.state.log_history if "loss" in entry] == [one["loss"] for one in whole]


def test_an_epoch_has_an_order_of_its_own_that_is_trls():
    from trl.trainer.utils import RepeatSampler

    options = {"data_source": range(7), "mini_repeat_count": 2, "batch_size": 2, "repeat_count": 3, "seed": 5}
    theirs = RepeatSampler(**options)
    epochs = [list(theirs) for _ in range(3)]
    assert epochs[0] != epochs[1]
    for number, order in enumerate(epochs):
        assert list(PromptOrder(**options, epoch=lambda number=number: number)) == order


def test_rows_from_after_a_checkpoint_are_written_again(tmp_path):
    recorder = Recorder(tmp_path / "samples.jsonl")
    recorder([{"prompt": "a"}])
    place = recorder.size
    recorder([{"prompt": "b"}])
    resumed = Recorder(tmp_path / "samples.jsonl")
    resumed.size = place
    resumed([{"prompt": "ç"}])
    assert rows_of(tmp_path / "samples.jsonl") == [{"prompt": "a"}, {"prompt": "ç"}]


ROW = {"prompt": ROWS[0]["prompt"], "answers": ["a", "b", "c", "d"], "scores": [0, 1, 0, 1]}


def bad(**changed):
    return {key: value for key, value in {**ROW, **changed}.items() if value is not None}


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            [ROW],
            {"rows": ROWS[:2]},
            "prompt 1, 'The cat sat on mat 1', has 0 answers in FILE; train.num_generations = 4 needs as many at "
            "least: lower it, or draw more with alignkit sample",
        ),
        (
            [bad(scores=None)],
            {"reward_funcs": None},
            "FILE has no scores, and there is no reward that gives them; write reward",
        ),
        (
            [ROW],
            {"reward_funcs": None, "args": {"eval_strategy": "steps", "eval_steps": 1}, "eval_dataset": True},
            "answers in evaluations are drawn, and there is no reward for them; write reward, or "
            "train.eval_strategy: no",
        ),
        (
            [bad(prompt_ids=[1, 2])],
            {},
            "FILE:1: the tokens of its prompt are of another tokenizer; remove prompt_ids, answer_ids and logps to "
            "have the texts tokenised",
        ),
        (
            [bad(answer_ids=[[64], [64], [66], [67]])],
            {},
            "FILE:1: the tokens of answer 1 are of another tokenizer: they read 'a', and the text is 'b'; remove "
            "prompt_ids, answer_ids and logps to have the texts tokenised",
        ),
        (
            [ROW, bad(scores=None)],
            {},
            "FILE: lines 1 and 2 differ in whether they have scores and logps; give all rows the same keys",
        ),
        ([bad(scores=[1])], {}, "FILE:1 has 1 scores for 4 answers; give one each"),
        ([bad(logps=[[0.0]] * 4)], {}, "FILE:1 has logps without the tokens they are of; add answer_ids"),
        (
            [bad(answers=["too long to be had", "b", "c", "d"])],
            {},
            "FILE:1: answer 0 has 19 tokens; train.max_completion_length allows 1 to 6",
        ),
        ([{"prompt": "a"}], {}, "FILE:1 is no row of samples; write {prompt: ..., answers: [...]}"),
        ([], {}, "FILE is empty; give a file that holds at least one row"),
    ],
)
def test_samples_that_cannot_be_used_are_refused_before_the_first_step(tmp_path, rows, options, message):
    from datasets import Dataset

    file = tmp_path / "samples.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if options.get("eval_dataset"):
        options = {**options, "eval_dataset": Dataset.from_list(ROWS[:1])}
    options = {"rows": ROWS[:1], **options}
    assert_refuses(message.replace("FILE", str(file)), group_trainer, tmp_path, samples=Path(file), **options)
