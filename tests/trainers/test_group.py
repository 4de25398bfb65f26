"""GroupTrainer against GRPOTrainer step by step, and what it refuses, warns of, logs and resumes."""

import json
import logging

import pytest
import torch
from trl import GRPOTrainer

from alignkit.objectives import make
from alignkit.trainers._groups import check_prompts, fold, why_nothing_is_learned
from tests.objectives.properties import assert_refuses
from tests.trainers.runs import LORA, differences, group_trainer

pytestmark = pytest.mark.smoke

ABSENT = {"clip_ratio/low_min", "clip_ratio/high_max", "policy_loss", "entropy_coef"}  # TRL logs them, we do not
ONE_UPDATE = {"gradient_accumulation_steps": 2}
SEVERAL = {"gradient_accumulation_steps": 1, "steps_per_generation": 2, "num_iterations": 2}
PART = {"gradient_accumulation_steps": 4, "steps_per_generation": 2}  # an update learns from two generations
VARIANTS = {
    "defaults": ({}, {}, ONE_UPDATE),
    "grpo": ({"reduction": "grpo", "beta": 0.1}, {"loss_type": "grpo", "beta": 0.1}, SEVERAL),
    "bnpo": ({"reduction": "bnpo", "scaling": "batch"}, {"loss_type": "bnpo", "scale_rewards": "batch"}, SEVERAL),
    "dr_grpo": (
        {"reduction": "dr_grpo", "scaling": "none", "ratio": "sequence", "beta": 0.05, "kl": "k3"},
        {
            "loss_type": "dr_grpo",
            "scale_rewards": "none",
            "importance_sampling_level": "sequence",
            "beta": 0.05,
            "use_bias_correction_kl": False,
        },
        PART,
    ),
    "cispo": (
        {"surrogate": "cispo", "epsilon_high": 5.0, "entropy_coef": 0.01, "top_entropy_quantile": 0.5},
        {"loss_type": "cispo", "epsilon_high": 5.0, "entropy_coef": 0.01, "top_entropy_quantile": 0.5},
        {"num_iterations": 2},
    ),
    "dapo, part": ({"epsilon_high": 0.28}, {"epsilon_high": 0.28}, PART),
}


def logged(run):
    run.train()
    return [
        {name: value for name, value in entry.items() if not any(word in name for word in ("time", "per_second"))}
        for entry in run.state.log_history
    ]


def in_order(monkeypatch):
    """Both trainers get the same micro-batches: TRL shuffles answers, we prompts, and here nothing moves."""
    monkeypatch.setattr("trl.trainer.grpo_trainer.shuffle_sequence_dict", lambda rows: rows)


@pytest.mark.parametrize(("ours", "theirs", "args"), VARIANTS.values(), ids=VARIANTS)
def test_grpo_is_trl_step_by_step(tmp_path, monkeypatch, ours, theirs, args):
    in_order(monkeypatch)
    objective = make("grpo", **ours)
    trl = logged(group_trainer(tmp_path, GRPOTrainer, args={**args, **theirs}))
    gaps = differences(logged(group_trainer(tmp_path, objective=objective, shared_prefix=False, args=args)), trl)
    assert {name for name, gap in gaps.items() if gap > 1e-5} <= ABSENT
    assert {"loss", "grad_norm", "entropy", "reward", "frac_reward_zero_std"} <= set(gaps)
    assert any(entry.get("grad_norm", 0) > 0.1 for entry in trl)
    assert "kl" in gaps or not objective.beta


def test_an_adapter_and_its_reference(tmp_path, monkeypatch):
    in_order(monkeypatch)
    options = {"peft_config": LORA, "args": SEVERAL}
    trl = logged(group_trainer(tmp_path, GRPOTrainer, **{**options, "args": {**SEVERAL, "beta": 0.1}}))
    run = group_trainer(tmp_path, objective=make("grpo", beta=0.1), shared_prefix=False, **options)
    assert run.ref_model is None
    gaps = differences(logged(run), trl)
    assert {name for name, gap in gaps.items() if gap > 1e-5} <= ABSENT


@pytest.mark.parametrize("name", ["grpo", "disco", "gvpo", "reinforce"])
def test_every_method_trains_through_our_forward(tmp_path, name):
    """Accumulation, several updates per generation, and answers of different lengths."""
    args = {"gradient_accumulation_steps": 2, "steps_per_generation": 4, "num_iterations": 2}
    run = group_trainer(tmp_path, objective=make(name), args=args)
    history = logged(run)
    assert all(torch.isfinite(torch.tensor(entry["loss"])) for entry in history[:-1])
    extra = {"grpo": "clip_ratio/region_mean", "disco": "kl_excess", "gvpo": "residual", "reinforce": "entropy"}
    assert extra[name] in history[0]
    logged_always = {"reward", "reward_std", "rewards/answer_reward/mean", "rewards/answer_reward/std", "kl_old"}
    logged_always |= {"frac_reward_zero_std", "entropy", "completions/mean_length", "completions/clipped_ratio"}
    assert logged_always <= set(history[0])
    assert history[0]["kl_old"] == pytest.approx(0, abs=1e-6)
    assert history[-2]["kl_old"] != 0
    assert run.ref_model is None


def test_a_prompt_is_read_once_for_all_its_answers(tmp_path, monkeypatch):
    """All but its last token, with which every answer begins. The answers are those of TRL's generation."""
    rows = [{"prompt": f"The cat sat on mat {i}, and then"} for i in range(8)]
    found = {}
    for shared in (True, False):
        sizes, answers = [], []

        def reward(completion_ids, answers=answers, **_):
            answers.append(completion_ids)
            return [float(len(ids) % 2) for ids in completion_ids]

        run = group_trainer(
            tmp_path,
            shared_prefix=shared,
            rows=rows,
            reward_funcs=reward,
            args={"max_steps": 1, "generation_batch_size": 8},
        )
        run.model.register_forward_pre_hook(
            lambda _, args, kwargs, sizes=sizes: sizes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
        )
        run.train()
        found[shared] = sizes[:2], answers
    length = len(rows[0]["prompt"])
    assert found[False][0] == [(8, length), (8, 1)]
    assert found[True][0] == [(2, length - 1), (8, 1)]
    assert found[True][1] == found[False][1]


def test_the_split_into_micro_batches_does_not_matter(tmp_path, monkeypatch):
    in_order(monkeypatch)
    losses = [
        [entry["loss"] for entry in logged(group_trainer(tmp_path, objective=make("gvpo"), args=args))[:-1]]
        for args in (
            {"per_device_train_batch_size": 8},
            {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
        )
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_prompts_move_with_all_their_answers(tmp_path):
    run = group_trainer(tmp_path, args={"steps_per_generation": 4, "num_iterations": 2})
    seen = []
    compute = run.compute_loss
    run.compute_loss = lambda model, inputs, **rest: seen.append(inputs["prompt_ids"]) or compute(model, inputs, **rest)
    run.train()
    assert len(seen) == 4
    for prompts in seen:
        assert prompts.shape[:2] == (1, 4)
        assert (prompts == prompts[:, :1]).all()
    assert len({tuple(prompts[0, 0].tolist()) for prompts in seen}) == 4


def test_a_reference_is_loaded_where_the_objective_needs_one(tmp_path):
    with_one = group_trainer(tmp_path, objective=make("gvpo", anchor="reference"))
    assert with_one.ref_model is not None
    assert group_trainer(tmp_path, objective=make("gvpo")).ref_model is None


@pytest.mark.parametrize("when", [1, 3], ids=["within a generation", "at another place"])
def test_resuming_continues_the_run(tmp_path, when):
    """Also where a checkpoint lies between two updates on the same answers."""
    args = {
        "steps_per_generation": 2,
        "num_iterations": 2,
        "max_steps": 6,
        "save_strategy": "steps",
        "save_steps": when,
    }
    whole = logged(group_trainer(tmp_path / "whole", args=args))
    again = group_trainer(tmp_path / "whole", args=args)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{when}"))
    rest = [entry["loss"] for entry in again.state.log_history if "loss" in entry]
    assert rest == pytest.approx([entry["loss"] for entry in whole if "loss" in entry], abs=0)
    assert len(rest) == 6


def test_refusals(tmp_path):
    def build(**args):
        return group_trainer(tmp_path, args=args)

    assert_refuses(
        "per_device_train_batch_size = 6 cannot hold whole groups of 4 answers; use a multiple of 4",
        build,
        per_device_train_batch_size=6,
        gradient_accumulation_steps=2,
    )
    assert_refuses("beta = 0.1 belongs to the objective; write objective.beta", build, beta=0.1)
    assert_refuses(
        "loss_type = 'sapo' belongs to the objective; write objective.reduction or surrogate", build, loss_type="sapo"
    )
    masks = "off_policy_mask_threshold = 0.5 belongs to the objective; it is not here"
    assert_refuses(masks, build, off_policy_mask_threshold=0.5)
    with pytest.raises(ValueError, match=r"prompt 0 has .* tokens; with max_completion_length = 100000 it needs more"):
        build(max_completion_length=100000)
    empty = "there are no prompts to train on: the dataset is empty"
    assert_refuses(empty, group_trainer, tmp_path, rows=[])
    with pytest.raises(TypeError, match="GroupTrainer takes a GroupObjective"):
        group_trainer(tmp_path, objective=make("dpo"))


@pytest.mark.parametrize(
    ("name", "strange", "message"),
    [
        ("disco", 0.5, "DisCO tells right from wrong answers: rewards must be 0 or 1; got 0.5 for "),
        ("gvpo", None, "rewards must be finite numbers; got nan for "),
        ("reinforce", float("nan"), "rewards must be finite numbers; got nan for "),
        ("grpo", float("inf"), "rewards must be finite, or NaN where nobody scored an answer; got inf for "),
    ],
)
def test_a_reward_that_a_method_cannot_read_is_named_before_the_first_step(tmp_path, name, strange, message):
    """The third of four, with its answer."""
    said = []

    def reward(completions, **_):
        said.extend(completions)
        return [0.0, 1.0, strange, 1.0]

    run = group_trainer(tmp_path, objective=make(name), reward_funcs=reward)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared below
        run.train()
    assert str(caught.value) == message + repr(said[2])
    assert run.state.global_step == 0


def test_recorded_rewards_are_read_before_the_first_step(tmp_path):
    file = tmp_path / "samples.jsonl"
    row = {"prompt": "The cat", "answers": ["a", "b", "c", "d"], "scores": [0, 0.5, 1, 1]}
    file.write_text(json.dumps(row) + "\n")
    what = f"DisCO tells right from wrong answers: rewards must be 0 or 1; {file} holds 0.5"
    assert_refuses(what, group_trainer, tmp_path, objective=make("disco"), samples=file, rows=[{"prompt": "The cat"}])


@pytest.mark.parametrize("name", ["grpo", "disco", "gvpo", "reinforce"])
@pytest.mark.parametrize("right", [0.0, 1.0], ids=["all wrong", "all right"])
def test_groups_without_a_better_answer_give_no_gradient(tmp_path, name, right):
    run = group_trainer(
        tmp_path,
        objective=make(name),
        reward_funcs=lambda completions, **_: [right] * len(completions),
        args={"max_steps": 1},
    )
    before = [weight.clone() for weight in run.model.parameters()]
    (step, _) = logged(run)
    assert step["frac_reward_zero_std"] == 1
    assert step["grad_norm"] == 0
    assert all(torch.equal(old, new) for old, new in zip(before, run.model.parameters(), strict=True))


def test_a_regulariser_that_does_nothing_is_named(tmp_path, caplog):
    group_trainer(tmp_path, objective=make("disco"))
    (record,) = [record for record in caplog.records if record.name == "alignkit.trainers.group"]
    assert record.getMessage() == (
        "one update per generation: the policy still is the one that answered, so DisCO's KL constraint does nothing; "
        "raise train.num_iterations or train.steps_per_generation"
    )
    caplog.clear()
    group_trainer(tmp_path, objective=make("disco"), args={"num_iterations": 2})
    assert not [record for record in caplog.records if record.name == "alignkit.trainers.group"]


def test_a_run_that_cannot_learn_says_why_once(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "alignkit")
    group_trainer(tmp_path, reward_funcs=lambda completions, **_: [1.0] * len(completions)).train()
    records = [record.getMessage() for record in caplog.records if record.name == "alignkit.trainers.group"]
    assert len(records) == 1
    assert records[0].startswith("nothing can be learned from this generation: every answer")


def test_reasons():
    mixed = torch.tensor([1.0, 0, 1, 1])
    assert why_nothing_is_learned(mixed, 2, truncated=1.0) == ""
    assert why_nothing_is_learned(mixed, 2, truncated=0.9, masked=True) == ""
    assert why_nothing_is_learned(mixed, 2, truncated=1.0, masked=True) == (
        "every answer was cut off at max_completion_length and mask_truncated_completions leaves such answers out; "
        "raise the one or remove the other"
    )
    apart = why_nothing_is_learned(torch.tensor([1.0, 1, 0, 0]), 2, truncated=0.5)
    assert apart == (
        "no prompt has answers with two different rewards; raise num_generations or mix in easier or harder prompts"
    )
    same = why_nothing_is_learned(torch.zeros(4), 2, truncated=0.5)
    assert same == "every answer has the reward 0; the task is too hard or too easy"
    cut = why_nothing_is_learned(torch.zeros(4), 2, truncated=1.0)
    assert cut == "every answer was cut off at max_completion_length; raise it, or teach the model to end its answers"


def test_folding():
    rows = fold({"ids": torch.arange(12).view(6, 2), "total": torch.tensor(3), "none": None}, answers=3)
    assert rows["ids"].tolist() == [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]
    assert rows["total"] == 3
    assert rows["none"] is None


def test_windows():
    check_prompts([3, 5], window=8, answer=3)
    check_prompts([3, 5], window=None, answer=3)
    assert_refuses("there are no prompts to train on: the dataset is empty", check_prompts, [], 8, 3)
    window = (
        "prompt 1 has 6 tokens; with max_completion_length = 3 it needs more than the model's window of 8: drop or "
        "shorten it, or lower train.max_completion_length"
    )
    assert_refuses(window, check_prompts, [3, 6], 8, 3)
