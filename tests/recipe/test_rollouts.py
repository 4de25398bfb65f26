import json
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from alignkit.recipe import RecipeError, load
from alignkit.recipe.build import build, training_arguments
from alignkit.recipe.plan import plan
from alignkit.recipe.preview import preview
from alignkit.recipe.rollouts import FILE, RolloutReward, columns_of, refuse_absent_server, refuse_absent_vllm
from alignkit.rewards import make
from alignkit.rewards import rules as shipped
from alignkit.rewards.ensemble import Ensemble, Member

RECIPE = """
objective: {objective}
model: {{path: "tiny:llama"}}
data: {{train: [{{source: rows.jsonl}}]}}
reward: {{members: [{{rule: exact_match}}]}}
train: {{output_dir: runs, max_steps: 1, per_device_train_batch_size: 4, num_generations: 4, max_completion_length: 6}}
"""
ROWS = [{"prompt": f"{number} + 1 =", "answer": str(number + 1)} for number in range(4)]


@pytest.fixture
def recipe(write):
    """A recipe on sums, with overrides."""

    def recipe(*overrides, objective="grpo", rows=ROWS):
        write("".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl")
        return load(write(RECIPE.format(objective=objective)), list(overrides))

    return recipe


def test_columns_are_read_whatever_their_types():
    rows = [json.dumps(row) for row in ({"answer": "4", "tags": ["a"]}, {"answer": 5, "prompts": "hidden"})]
    assert columns_of(rows) == {"answer": ["4", 5], "tags": [["a"], None]}


def rewarded(members, folder=None, first=True):
    """What the members say of two answers, and what was logged."""
    logged = {}
    reward = RolloutReward(Ensemble(members=members, combine=make("worst")), folder)
    scores = reward(
        ["1 + 1 =", "1 + 2 ="],
        ["2", "x"],
        columns=['{"answer": "2"}', '{"answer": "3"}'],
        place=["a", "b"],
        completion_ids=[[1], [2]],
        trainer_state=SimpleNamespace(is_world_process_zero=first, global_step=7),
        log_metric=logged.__setitem__,
        log_extra=None,
    )
    return reward, scores, logged


EXACT = Member(name="exact", reward=shipped.make("exact_match"))
SHORT = Member(name="short", reward=shipped.make("length", limit=2, buffer=2, unit="characters"))


def test_one_member_is_logged_by_trl_under_its_name():
    reward, scores, logged = rewarded([EXACT])
    assert (reward.__name__, scores, logged) == ("exact", [1, 0], {})


def test_several_members_are_logged_with_their_disagreement(tmp_path):
    reward, scores, logged = rewarded([EXACT, SHORT], tmp_path / "out")
    assert (reward.__name__, scores) == ("combined", [-0.5, -0.5])
    assert logged["rewards/exact/mean"] == 0.5
    assert logged["rewards/disagreement/range"] == 1
    first, second = map(json.loads, (tmp_path / "out" / FILE).read_text().splitlines())
    assert first == {"step": 7, "prompt": "1 + 1 =", "completion": "2", "reward": -0.5, "exact": 1, "short": -0.5}
    assert second["completion"] == "x"


def test_answers_are_written_by_the_first_process_and_not_where_they_would_be_published(tmp_path, recipe):
    rewarded([EXACT], tmp_path / "out", first=False)
    assert not (tmp_path / "out").exists()


def test_a_generation_is_as_large_on_any_number_of_processes(recipe):
    found = recipe("train.global_batch_size=16", "train.generation_batch_size=32")
    for processes, accumulated, micro_batches in ((1, 4, 8), (2, 2, 8)):
        args = training_arguments(found, processes)
        assert args.gradient_accumulation_steps == accumulated
        assert args.steps_per_generation == micro_batches  # of this one process, on which the test runs
    assert training_arguments(recipe("train.global_batch_size=16"), 1).generation_batch_size == 16


def test_check_counts_prompts_and_answers(recipe):
    read = recipe("train.global_batch_size=8", "train.max_steps=-1", "train.num_iterations=2")
    found = dict(plan(read, preview(read)).rows())
    assert found["examples an epoch"] == "4"
    assert found["batch"] == "8 answers to 2 prompts, at most 104 tokens: 4 a device x 2 accumulated x 1 processes"
    assert found["optimiser steps"] == "12 (3 epochs)"
    read = recipe("train.global_batch_size=32")
    with pytest.raises(ValueError, match=r"^4 prompts are fewer than the 8 of one generation; lower train\."):
        plan(read, preview(read))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.num_generations=1",
            "train.num_generations = 1: an answer is compared with others to the same prompt, and there would be none; "
            "write 2 or more; 8 is usual",
        ),
        (
            "train.per_device_train_batch_size=6",
            "train.per_device_train_batch_size = 6 cannot hold whole groups of train.num_generations = 4 answers; use "
            "a multiple of 4",
        ),
        ("train.epsilon=0.1", "train.epsilon belongs to the objective; write objective.epsilon"),
        (
            "train.scale_rewards=none",
            "train.scale_rewards belongs to the objective; write objective: {name: grpo, scaling: none}",
        ),
        (
            "train.reward_weights=[1]",
            "train.reward_weights belongs to the objective; write reward.combine, the rule that makes one reward of "
            "several",
        ),
        ("reward=null", "reward is missing; write reward: {members: [{rule: exact_match}]}"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_loaded(recipe, override, message):
    with pytest.raises(RecipeError) as caught:
        recipe(override)
    assert message in str(caught.value)


def test_a_generation_is_whole_updates(recipe):
    with pytest.raises(RecipeError, match=r"train\.generation_batch_size = 24 answers are no whole number of updates"):
        recipe("train.global_batch_size=16", "train.generation_batch_size=24")


def test_options_of_trl_for_other_methods_keep_their_advice(write):
    text = RECIPE.format(objective="dpo").replace("reward: {members: [{rule: exact_match}]}\n", "")
    with pytest.raises(
        RecipeError, match=r"train\.max_completion_length is not the name here; write train\.max_length"
    ):
        load(write(text.replace("num_generations: 4, ", "")))


def test_a_server_that_is_not_there_is_an_error_before_the_model_loads(recipe):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        there = SimpleNamespace(
            use_vllm=True,
            vllm_mode="server",
            vllm_server_base_url=None,
            vllm_server_host="127.0.0.1",
            vllm_server_port=port,
        )
        refuse_absent_server(there)
    run = recipe("train.use_vllm=true", "train.vllm_mode=server", f"train.vllm_server_base_url=http://127.0.0.1:{port}")
    message = rf"^no vLLM server at http://127\.0\.0\.1:{port} \(Connection refused\); start it first, or write train"
    with pytest.raises(ValueError, match=message):
        build(run)


def test_an_empty_dataset_and_long_prompts_are_errors_before_the_first_step(recipe):
    with pytest.raises(ValueError, match=r"rows\.jsonl is empty; give a file that holds at least one row$"):
        build(recipe(rows=[]))
    with pytest.raises(ValueError, match=r"has 4093 tokens; with max_completion_length = 6 it needs more than"):
        build(recipe(rows=[*ROWS, {"prompt": "1" * 4093, "answer": ""}]))


@pytest.mark.smoke
def test_disco_refuses_other_rewards_than_0_and_1_before_the_first_step(recipe):
    members = "reward={members: [{rule: length, limit: 8, buffer: 8, unit: characters}]}"
    trainer = build(recipe(members, objective="disco"))
    with pytest.raises(ValueError, match=r"^DisCO tells right from wrong answers: rewards must be 0 or 1; got"):
        trainer.train()
    assert trainer.state.global_step == 0


@pytest.mark.smoke
def test_a_reward_that_fails_is_named_with_its_example(recipe):
    trainer = build(recipe(rows=[{"prompt": "1 + 1 =", "result": "2"}] * 2))
    with pytest.raises(ValueError, match="ExactMatch reads the column 'answer'; the data have result"):
        trainer.train()


def test_recorded_answers_take_the_place_of_a_reward_and_of_a_generator(recipe, write):
    samples = write(json.dumps({"prompt": "0 + 1 =", "answers": ["1"] * 4, "scores": [1, 0, 0, 1]}), "samples.jsonl")
    read = recipe("reward=null", "rl={samples: samples.jsonl}")
    assert read.resolved()["rl"] == {"samples": str(Path(samples).resolve()), "record": False}
    with pytest.raises(ValueError, match=r"^prompt \d, '\d \+ 1 =', has 0 answers in .*samples\.jsonl; train"):
        build(recipe("reward=null", "rl={samples: samples.jsonl}", "train.max_steps=-1"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["rl={samples: rows.jsonl, record: true}"],
            "rl.record = True has nothing to write where samples are read; keep one of the two",
        ),
        (["rl={samples: none.jsonl}"], "rl.samples = 'none.jsonl' does not exist"),
        (
            ["rl={samples: rows.jsonl}", "train.use_vllm=true"],
            "train.use_vllm has no effect: rl.samples holds the answers; remove it",
        ),
        (
            ["rl={record: true}", "train.push_to_hub=true"],
            "rl.record would publish every answer with train.push_to_hub; remove one of the two",
        ),
    ],
)
def test_what_cannot_be_read_or_written(recipe, overrides, message):
    with pytest.raises(RecipeError) as caught:
        recipe(*overrides)
    assert message in str(caught.value)


def test_a_vllm_that_is_not_installed_is_an_error_before_the_model_loads(recipe, monkeypatch):
    refuse_absent_vllm(SimpleNamespace(use_vllm=False))
    monkeypatch.setitem(sys.modules, "vllm", None)
    said = (
        r"^train\.use_vllm needs vLLM, which is not installed; install it \(docker/Dockerfile\.cuda says which\), or "
    )
    with pytest.raises(ValueError, match=said):
        build(recipe("train.use_vllm=true", "train.vllm_mode=colocate"))
