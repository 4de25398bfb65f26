"""README.md beside a model: the card that the Hub shows."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import ModelCardData

from alignkit.data.load import SourceReport
from alignkit.objectives import RewardObjective
from alignkit.recipe.summary.facts import Facts, Progress
from alignkit.recipe.summary.method import Method
from alignkit.recipe.summary.results import HEADINGS, results


def card(facts: Facts, progress: Progress) -> str:
    """The card as Markdown behind its YAML head."""
    parts = [
        f"---\n{head(facts, progress)}\n---",
        f"# {plain(progress.name)}",
        introduction(facts, progress),
        "## Use",
        use(facts, progress),
        "## Method",
        method(facts),
        "## Results",
        result_table(progress),
        "## Data",
        data_table(facts),
        "## Training",
        training(facts, progress),
        "## Licence",
        "Not chosen yet. The licences of the base model and of the data bind this model too; write `license:` into the "
        "head of this file once you know.",
    ]
    return "\n\n".join(parts) + "\n"


def head(facts: Facts, progress: Progress) -> str:
    """What the Hub reads. Only what is on the Hub is named: it would link anything else to somebody's repository."""
    data = ModelCardData(
        base_model=facts.base_model,
        library_name="peft" if progress.adapter else "transformers",
        tags=["alignkit", "trl", Method.of(facts.recipe.objective).name, *(["lora"] if progress.adapter else [])],
        datasets=facts.hub_datasets or None,
        pipeline_tag=pipeline(facts, progress),
    )
    return data.to_yaml().strip()


def pipeline(facts: Facts, progress: Progress) -> str | None:
    """What the Hub files the model under."""
    if isinstance(facts.recipe.objective, RewardObjective):
        return "text-classification"
    return None if progress.images else "text-generation"


def introduction(facts: Facts, progress: Progress) -> str:
    kind = "A LoRA adapter for" if progress.adapter else "A fine-tuned version of"
    name = Method.of(facts.recipe.objective).name
    return f"{kind} {code(facts.recipe.model.path)}, trained with {code(name)} by alignkit."


def use(facts: Facts, progress: Progress) -> str:
    """Code that loads the model, and asks it something where it was trained on conversations."""
    rewards = isinstance(facts.recipe.objective, RewardObjective)
    kind = "SequenceClassification" if rewards else "CausalLM"
    model = "AutoModelForImageTextToText" if progress.images else f"AutoModelFor{kind}"
    library = "transformers"
    if progress.adapter and not progress.images:
        library, model = "peft", f"AutoPeftModelFor{kind}"
    location = json.dumps(progress.location)
    tokenizer = "AutoProcessor" if progress.images else "AutoTokenizer"
    lines = [
        f"from transformers import {', '.join(sorted({tokenizer, model}))}"
        if library == "transformers"
        else f"from peft import {model}\nfrom transformers import {tokenizer}",
        "",
        f"tokenizer = {tokenizer}.from_pretrained({location})",
        f"model = {model}.from_pretrained({location}{', num_labels=1' if rewards else ''})",
    ]
    if rewards:
        lines += [
            'chat = [{"role": "user", "content": "Why is the sky blue?"}, {"role": "assistant", "content": "..."}]',
            'inputs = tokenizer.apply_chat_template(chat, return_dict=True, return_tensors="pt")',
            "print(model(**inputs).logits[0, 0])  # the reward of the last answer",
        ]
    elif not progress.images and any(source.conversational for source in facts.data.report):
        lines += [
            'chat = [{"role": "user", "content": "Why is the sky blue?"}]',
            'kinds = {"return_dict": True, "return_tensors": "pt"}',
            "inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, **kinds)",
            'answer = model.generate(**inputs, max_new_tokens=128)[0, inputs["input_ids"].shape[1] :]',
            "print(tokenizer.decode(answer, skip_special_tokens=True))",
        ]
    return fenced("\n".join(lines), "python")


def method(facts: Facts) -> str:
    about = Method.of(facts.recipe.objective)
    parts = [
        plain(about.title) + ".",
        fenced(about.formula, "text") if about.formula else "",
        f"Source: {plain(about.source)}" if about.source else "",
        f"Settings: {code(repr(facts.recipe.objective))}",
    ]
    return "\n\n".join(filter(None, parts))


def result_table(progress: Progress) -> str:
    rows = [one.cells() for one in results(progress.history)]
    return table(HEADINGS, rows) if rows else "No figures were logged."


def data_table(facts: Facts) -> str:
    rows = [
        (source.use, code(source_name(source, facts)), count(source.used), code(facts.data.fingerprints[source.source]))
        for source in facts.data.report
    ]
    return table(("use", "source", "examples", "fingerprint"), rows)


def source_name(source: SourceReport, facts: Facts) -> str:
    """As the recipe has it; of a local file the name alone, since a card is for others."""
    return source.source if source.source.split("[")[0] in facts.hub_datasets else Path(source.source).name


def training(facts: Facts, progress: Progress) -> str:
    size = "\n".join(f"- {name}: {plain(value)}" for name, value in progress.headline())
    versions = ", ".join(f"{name} {version}" for name, version in facts.provenance["versions"].items() if version)
    git = facts.provenance["git"]
    state = f"\n\nCode: git commit {git['commit']}{', with changes' if git['dirty'] else ''}." if git else ""
    return (
        f"{size}\n\nVersions: {plain(versions)}.{state}\n\n"
        f"The resolved recipe; `alignkit train recipe.yaml` repeats the run:\n\n{fenced(facts.recipe_yaml, 'yaml')}"
    )


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def plain(text: str) -> str:
    """Text on one line that Markdown does not read as its own."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Text as it is, between backticks that it does not hold itself."""
    text = " ".join(text.split())
    ticks = "`" * (longest_ticks(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def fenced(text: str, language: str) -> str:
    fence = "`" * max(3, longest_ticks(text) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def count(value: int | None) -> str:
    return "not counted" if value is None else f"{value:,}"
