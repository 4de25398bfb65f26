"""Models that see: rows with images against TRL's own trainers, and from a recipe."""

import json

import numpy as np
import pytest
from peft import LoraConfig
from PIL import Image
from transformers import AutoProcessor
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from alignkit.data.errors import DataError
from alignkit.objectives import make
from alignkit.recipe import load
from alignkit.recipe.build import build
from alignkit.trainers import PairTrainer, TokenTrainer
from tests.models.llava import CHAT_TEMPLATE, save_llava
from tests.trainers.runs import differences, train

LORA = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"])
ROUNDED = {"logits/chosen", "logits/rejected", "eval_logits/chosen", "eval_logits/rejected"}


def picture(number):
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8))


def said(text):
    return [{"role": "assistant", "content": text}]


PAIRS = [
    {
        "prompt": [{"role": "user", "content": f"What is in picture {i}?"}],
        "chosen": said("A cat" * (1 + i % 3)),
        "rejected": said("I do not know" * (1 + i % 2)),
        "images": [picture(i)] * (1 + i % 2),
    }
    for i in range(8)
]
CHATS = [{"messages": row["prompt"] + row["chosen"], "images": row["images"]} for row in PAIRS]
ANSWERS = [{"prompt": row["prompt"], "completion": row["chosen"], "images": row["images"]} for row in PAIRS]


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return save_llava(tmp_path_factory.mktemp("llava"), CHAT_TEMPLATE)


def run(trainer, config, tmp_path, rows, llava, args=None, **options):
    """Log history of a short run; every run has a processor of its own."""
    args = {"max_steps": 2, "gradient_checkpointing": False, **(args or {})}
    processor = AutoProcessor.from_pretrained(llava)
    return train(trainer, config, tmp_path, rows, model=llava, processing_class=processor, args=args, **options)


@pytest.mark.parametrize("peft", [None, LORA], ids=["full", "lora"])
def test_dpo_with_images_is_trl_to_the_last_bit(tmp_path, llava, peft):
    args = {"gradient_accumulation_steps": 2}
    theirs = run(DPOTrainer, DPOConfig, tmp_path, PAIRS, llava, args, peft_config=peft)
    ours = run(PairTrainer, DPOConfig, tmp_path, PAIRS, llava, args, peft_config=peft, objective=make("dpo"))
    gaps = differences(ours, theirs)
    assert {"loss", "grad_norm", "rewards/chosen", "eval_loss", "num_tokens"} <= set(gaps)
    assert {name: gap for name, gap in gaps.items() if gap > (1e-7 if name in ROUNDED else 0)} == {}
    assert ours[-1]["train_loss"] < 0.6931


@pytest.mark.parametrize("rows", [CHATS, ANSWERS], ids=["messages", "answers"])
def test_nll_with_images_is_trl(tmp_path, llava, rows):
    theirs = run(SFTTrainer, SFTConfig, tmp_path, rows, llava)
    ours = run(TokenTrainer, SFTConfig, tmp_path, rows, llava, objective=make("nll"))
    gaps = differences(ours, theirs)
    assert max(gaps["loss"], gaps["grad_norm"], gaps["eval_loss"]) <= 1e-6


def test_the_images_matter(tmp_path, llava):
    blind = [{**row, "images": [Image.new("RGB", (16, 16))] * len(row["images"])} for row in PAIRS]
    seen, unseen = (
        run(PairTrainer, DPOConfig, tmp_path, rows, llava, objective=make("dpo")) for rows in (PAIRS, blind)
    )
    assert seen[0]["logps/chosen"] != unseen[0]["logps/chosen"]


RECIPE = """
objective: {{name: {name}}}
model: {{path: {model}}}
data: {{train: [{{source: rows.jsonl}}]}}
train: {{output_dir: runs, max_steps: 1, per_device_train_batch_size: 2, gradient_checkpointing: false,
         save_strategy: "no"}}
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch, llava):
    """Writes rows whose images are files, and a recipe."""
    monkeypatch.chdir(tmp_path)

    def recipe(name="dpo", rows=PAIRS, model=llava):
        lines = []
        for number, row in enumerate(rows):
            row["images"][0].save(f"{number}.png")
            lines.append(json.dumps({**row, "images": [f"{number}.png"] * len(row["images"])}))
        (tmp_path / "rows.jsonl").write_text("\n".join(lines))
        (tmp_path / "x.yaml").write_text(RECIPE.format(name=name, model=model))
        return "x.yaml"

    return recipe


@pytest.mark.parametrize(("name", "rows"), [("dpo", PAIRS), ("nll", CHATS)], ids=["dpo", "nll"])
def test_a_recipe_trains_on_images_from_files(recipe, name, rows):
    seen = []
    trainer = build(load(recipe(name, rows)), report=seen.append)
    trainer.train()
    assert trainer.state.log_history[-1]["train_loss"] > 0
    [part] = seen[0].sets
    assert (part.report.total.examples, part.report.total.lost_end, part.report.total.cut_images) == (8, 0, 0)
    assert any("<image> × " in span.text for span in seen[0].example.sequences[0].spans)


@pytest.mark.parametrize(
    ("name", "rows", "override", "message"),
    [
        (
            "dpo",
            PAIRS,
            "train.precompute_ref_log_probs=true",
            r"train.precompute_ref_log_probs needs every row before .*",
        ),
        ("dpo", PAIRS, "train.pad_to_multiple_of=8", r"train.pad_to_multiple_of pads text, and images .*; remove it"),
        (
            "nll",
            CHATS,
            "train.packing=true",
            r"train.packing joins rows .*, and images are prepared while training; rem",
        ),
        ("nll", CHATS, "train.completion_only_loss=true", r"completion_only_loss with images needs rows of prompt and"),
        ("nll", ANSWERS, "train.assistant_only_loss=true", r"assistant_only_loss has no effect on rows of prompt and"),
    ],
)
def test_what_cannot_be_done_with_images_is_refused_before_the_model_loads(
    recipe, monkeypatch, name, rows, override, message
):
    monkeypatch.setattr("alignkit.recipe.build.load_model", None)
    with pytest.raises(ValueError, match=message):
        build(load(recipe(name, rows), [override]))


def test_a_model_that_reads_text_only_is_refused(recipe):
    with pytest.raises(
        ValueError, match=r"the data hold images, and .*tiny:llama reads text only; write the path of a model"
    ):
        build(load(recipe(model='"tiny:llama"')))


def test_images_are_not_cut_in_two(recipe):
    with pytest.raises(DataError, match=r"train.max_length = 8 cuts through the images of 8 of 8 training examples"):
        build(load(recipe(), ["train.max_length=8", "data.on_bad_rows=drop"]))
