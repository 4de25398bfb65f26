"""RevisionTrainer against SRPO written out by hand, from plain logits."""

import json

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig

from alignkit.data.revision import RevisionPrompt
from alignkit.models.sources import resolve
from alignkit.objectives import make
from alignkit.trainers import RevisionTrainer
from tests.trainers.runs import LORA, ROWS

PAIRS = [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in ROWS]
CHATS = [
    {"prompt": [{"role": "user", "content": row["prompt"]}]}
    | {name: [{"role": "assistant", "content": row[name]}] for name in ("chosen", "rejected")}
    for row in PAIRS
]
TEMPLATE = "{prompt}? Not: {draft}. Better:"
ALPHA, BETA, SCALE = 0.3, 0.05, 0.5


def build(tmp_path, rows=PAIRS, **options):
    fixed = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
    args = {"per_device_train_batch_size": 4, "max_steps": 4, "learning_rate": 1e-3, "logging_steps": 1, **fixed}
    path = resolve("tiny:llama")
    options.setdefault("objective", make("srpo", alpha=ALPHA, beta=BETA, gen_scale=SCALE))
    return RevisionTrainer(
        options.pop("model", path),
        args=DPOConfig(output_dir=str(tmp_path), **{**args, **options.pop("args", {})}),
        processing_class=AutoTokenizer.from_pretrained(path),
        revision_prompt=RevisionPrompt(template=TEMPLATE),
        train_dataset=Dataset.from_list(rows),
        **{"eval_dataset": Dataset.from_list(rows[:3]), **options},
    )


def logged(run):
    run.train()
    skipped = ("runtime", "per_second", "epoch", "flos", "accuracies")  # at the reference accuracies are ties
    return [
        {name: value for name, value in entry.items() if not any(word in name for word in skipped)}
        for entry in run.state.log_history
    ]


def by_hand(model, tokenizer, prompt, answer):
    """log pi(answer | prompt), from the whole softmax."""
    if isinstance(prompt, list):
        asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        whole = tokenizer.apply_chat_template(prompt + answer, return_dict=True)["input_ids"]
    else:
        asked = tokenizer(prompt)["input_ids"]
        whole = tokenizer(prompt + answer + tokenizer.eos_token)["input_ids"]
    ids = torch.tensor([whole])
    logps = model(input_ids=ids).logits[0, :-1].log_softmax(dim=-1)
    return logps.gather(1, ids[0, 1:, None])[len(asked) - 1 :].sum()


def asked_to_revise(prompt, draft):
    if isinstance(prompt, str):
        return f"{prompt}? Not: {draft}. Better:"
    return [{"role": "user", "content": f"{prompt[0]['content']}? Not: {draft[0]['content']}. Better:"}]


def srpo(policy, reference, tokenizer, row):
    def ratio(prompt, answer):
        with torch.no_grad():
            known = by_hand(reference, tokenizer, prompt, answer)
        return by_hand(policy, tokenizer, prompt, answer) - known

    prompt, w, l = row["prompt"], row["chosen"], row["rejected"]  # noqa: E741
    on_w, on_l = asked_to_revise(prompt, w), asked_to_revise(prompt, l)
    revision = (0.5 - BETA * (ratio(on_l, w) - ratio(on_l, l))) ** 2 + (
        0.5 - BETA * (ratio(on_w, w) - ratio(on_w, l))
    ) ** 2
    generation = (1 - BETA * (ratio(on_l, w) + ratio(prompt, w) - ratio(on_w, l) - ratio(prompt, l))) ** 2
    return (1 - ALPHA) * SCALE * generation + ALPHA * revision


@pytest.mark.parametrize("rows", [PAIRS[:4], CHATS[:4]], ids=["text", "chat"])
def test_loss_and_gradient_are_those_written_by_hand(tmp_path, rows):
    run = build(tmp_path, rows)
    path = resolve("tiny:llama")
    policy, reference = (AutoModelForCausalLM.from_pretrained(path) for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    for ours, theirs in zip(run.model.parameters(), policy.parameters(), strict=True):
        shift = 0.05 * torch.randn(ours.shape, generator=generator)
        ours.data += shift
        theirs.data += shift
    tokenizer = AutoTokenizer.from_pretrained(path)
    expected = sum(srpo(policy, reference, tokenizer, row) for row in rows) / len(rows)
    expected.backward()
    [inputs] = list(run.get_train_dataloader())
    loss = run.compute_loss(run.model, inputs)
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    for ours, theirs in zip(run.model.parameters(), policy.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4 * float(theirs.grad.abs().max()))
    assert abs(float(loss.detach()) - ((1 - ALPHA) * SCALE + ALPHA / 2)) > 0.01  # it is away from the reference


@pytest.mark.parametrize("peft", [None, LORA], ids=["full", "lora"])
def test_a_reference_computed_before_training_is_the_same(tmp_path, peft):
    args = {"eval_strategy": "steps", "eval_steps": 2}
    online, before = (
        logged(build(tmp_path, args={**args, "precompute_ref_log_probs": precompute}, peft_config=peft))
        for precompute in (False, True)
    )
    for one, other in zip(online, before, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5)
    assert online[0]["loss"] == pytest.approx((1 - ALPHA) * SCALE + ALPHA / 2)  # at the reference all ratios are 1
    losses = [entry["loss"] for entry in online if "loss" in entry]
    assert losses[-1] < losses[0]
    assert "eval_loss" in online[2]


def test_the_split_into_micro_batches_never_matters(tmp_path):
    whole, split = (
        logged(build(tmp_path, args={"per_device_train_batch_size": size, "gradient_accumulation_steps": 4 // size}))
        for size in (4, 1)
    )
    for name in ("loss", "grad_norm"):
        runs = [[entry[name] for entry in history if name in entry] for history in (whole, split)]
        assert runs[0] == pytest.approx(runs[1], rel=1e-4)
        assert len(runs[0]) == 4


def test_the_revision_prompt_is_saved_with_every_checkpoint(tmp_path):
    run = build(tmp_path, args={"max_steps": 2, "save_strategy": "steps", "save_steps": 2})
    run.train()
    run.save_model()
    for folder in (tmp_path, tmp_path / "checkpoint-2"):
        assert RevisionPrompt.load(folder).template == TEMPLATE


def test_new_evaluation_data_are_prepared_too(tmp_path):
    run = build(tmp_path)
    assert run.evaluate(eval_dataset=Dataset.from_list(PAIRS[:3]))["eval_loss"] == run.evaluate()["eval_loss"]


@pytest.mark.parametrize("column", ["prompt", "rejected"])
def test_rows_without_pairs_are_refused(tmp_path, column):
    rows = [{name: value for name, value in row.items() if name != column} for row in PAIRS]
    with pytest.raises(ValueError, match=f"learns from pairs of prompt, chosen and rejected; missing: {column}"):
        build(tmp_path, rows)


def test_an_answer_of_several_turns_is_no_draft(tmp_path):
    turns = [{"role": "assistant", "content": "Yes"}, {"role": "user", "content": "?"}]
    rows = [*CHATS[:2], {**CHATS[2], "chosen": turns + CHATS[2]["chosen"]}]
    rows = [{**row, "place": f"chats.jsonl:{i}"} for i, row in enumerate(rows, start=1)]
    with pytest.raises(ValueError, match=r"chats.jsonl:3: an answer of 3 messages cannot be a draft"):
        build(tmp_path, rows)


def test_pairs_cut_by_their_draft_are_counted_and_lost_ones_dropped(tmp_path, caplog):
    rows = [{"prompt": "a" * size, "chosen": "b" * 6, "rejected": "c" * 3} for size in (4, 10, 20)]
    with caplog.at_level("WARNING"):  # 18 bytes come with the template
        run = build(tmp_path, rows, args={"max_length": 36})
    assert "train: 2 of 3 pairs are longer than max_length = 36 with a draft in the prompt" in caplog.text
    assert len(run.train_dataset) == 2


def test_a_recipe_s_prompt_reaches_the_checkpoint(tmp_path, monkeypatch):
    from alignkit.recipe import load
    from alignkit.recipe.build import build as build_recipe

    monkeypatch.chdir(tmp_path)
    recipe = load("srpo/tiny", ["data.revision_prompt='{prompt} <- {draft}'", "train.max_steps=1"])
    run = build_recipe(recipe)
    run.train()
    run.save_model()
    assert (tmp_path / "runs/srpo-tiny/revision_prompt.txt").read_text() == "{prompt} <- {draft}"
    assert load("runs/srpo-tiny/recipe.yaml").data.revision_prompt == "{prompt} <- {draft}"
    assert json.loads((tmp_path / "runs/srpo-tiny/provenance.json").read_text())["datasets"]
