"""What a recipe would do, found out without training: batch sizes, steps, tokens."""

import math
from dataclasses import dataclass

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from alignkit.models.precision import compute_dtype, device_type
from alignkit.objectives import PairObjective
from alignkit.recipe.build import load_recipe_data, load_recipe_tokenizer, training_arguments
from alignkit.recipe.schema import Recipe

SAMPLE = 200  # rows tokenised for the estimate of tokens


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run before it runs. "Examples" are what the objective counts as rows: pairs, texts, answers."""

    objective: str
    model: str
    hardware: str
    sources: tuple[str, ...]
    examples: int  # per epoch
    batch: str
    steps: int
    epochs: float
    tokens: str
    longest: int  # tokens of the longest sequence in the sample
    max_length: int | None
    too_long: float  # share of the sampled examples that max_length would cut

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of every line that `alignkit check` prints."""
        cut = f"{self.too_long:.1%} of the sample is longer than max_length = {self.max_length} and will be cut"
        return [
            ("objective", self.objective),
            ("model", self.model),
            ("hardware", self.hardware),
            *(("data", source) for source in self.sources),
            ("examples an epoch", f"{self.examples:,}"),
            ("batch", self.batch),
            ("optimiser steps", f"{self.steps:,} ({self.epochs:.3g} epochs)"),
            ("tokens", self.tokens),
            ("longest sequence", f"{self.longest:,} tokens" + (f"; {cut}" if self.too_long else "")),
        ]


def plan(recipe: Recipe, processes: int = 1) -> Plan:
    """Load the data and the tokenizer, not the model, and work out what training would do.

    Raises:
        ValueError: data, tokenizer or options that cannot be used; the message says what to write instead.
    """
    args = training_arguments(recipe, processes)
    data = load_recipe_data(recipe)
    if not isinstance(data.train, Dataset):
        raise ValueError("check counts rows, and streamed data have no end; write data.streaming=false for the check")
    tokenizer = load_recipe_tokenizer(recipe, data)
    lengths = [example_lengths(row, tokenizer) for row in sample(data.train)]
    per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * processes
    an_epoch = math.ceil(len(data.train) / per_step)
    steps = args.max_steps if args.max_steps > 0 else math.ceil(an_epoch * args.num_train_epochs)
    mean = sum(sum(sizes) for sizes in lengths) / len(lengths)
    sequences = 2 if isinstance(recipe.objective, PairObjective) else 1
    longest = [max(sizes) for sizes in lengths]
    return Plan(
        objective=repr(recipe.objective),
        model=recipe.model.path + (f", LoRA of rank {recipe.model.adapter.rank}" if recipe.model.adapter else ""),
        hardware=f"{processes} x {device_type()}, {str(compute_dtype(recipe.model)).removeprefix('torch.')}",
        sources=tuple(f"{one.source} ({one.use}): {one.kept} rows, {one.format}" for one in data.report),
        examples=len(data.train),
        batch=(
            f"{per_step} examples, {per_step * sequences} sequences, about {per_step * mean:,.0f} tokens: "
            f"{args.per_device_train_batch_size} a device x {args.gradient_accumulation_steps} accumulated "
            f"x {processes} processes"
        ),
        steps=steps,
        epochs=steps / an_epoch,
        tokens=f"about {mean * len(data.train):,.0f} an epoch, {mean:,.0f} an example (from {len(lengths)} rows)",
        longest=max(longest),
        max_length=args.max_length,
        too_long=sum(size > (args.max_length or math.inf) for size in longest) / len(longest),
    )


def sample(dataset: Dataset) -> Dataset:
    """Rows spread evenly over a dataset."""
    stride = max(1, len(dataset) // SAMPLE)
    return dataset.select(range(0, len(dataset), stride)[:SAMPLE])


def example_lengths(row: dict, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens of every sequence that a row becomes: two for a pair, one otherwise."""
    answers = [name for name in ("chosen", "rejected", "completion") if name in row]
    if not answers:
        return [token_count(row["messages"] if "messages" in row else row["text"], tokenizer)]
    return [token_count(row["prompt"] + row[name], tokenizer) for name in answers]


def token_count(text: str | list, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of a text, or of a conversation in its template."""
    if isinstance(text, str):
        return len(tokenizer(text)["input_ids"]) + 1  # TRL appends the end token to plain text
    return len(tokenizer.apply_chat_template(text, return_dict=True)["input_ids"])
