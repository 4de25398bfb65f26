"""What a recipe would do, found out without training: batch sizes, steps, tokens."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from datasets import Dataset

from alignkit.data.account import DataReport, SetReport
from alignkit.data.thresholds import check_thresholds
from alignkit.models.precision import compute_dtype, device_type
from alignkit.objectives import GroupObjective, PairObjective, RevisionObjective, RewardObjective
from alignkit.recipe.preview import Preview
from alignkit.recipe.schema import Recipe


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much a training set is. "Rows" are what is batched: examples (pairs, texts, answers), or packed sequences."""

    examples: int  # per epoch, that have something to train on
    rows: int  # per epoch
    tokens: float  # of a row, on average, after truncation
    sequences: int  # of a row: 2 for a pair, 6 for one whose answers are also read as revisions


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run before it runs."""

    objective: str
    model: str
    hardware: str
    examples: str
    batch: str
    steps: int
    epochs: float
    tokens: str

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of every line that `alignkit check` prints."""
        return [
            ("objective", self.objective),
            ("model", self.model),
            ("hardware", self.hardware),
            ("examples an epoch", self.examples),
            ("batch", self.batch),
            ("optimiser steps", f"{self.steps:,} ({self.epochs:.3g} epochs)"),
            ("tokens", self.tokens),
        ]


def plan(recipe: Recipe, seen: Preview, processes: int = 1, report: Callable[[DataReport], None] | None = None) -> Plan:
    """Work out what training would do from its data and tokenizer, without its model.

    `seen` is of a run on so many processes. `report` is called with the data report before it is judged.

    Raises:
        ValueError: streamed data, too few of them, or data that pass a threshold; the message says what to write
            instead.
    """
    args = seen.args
    if not isinstance(seen.data.train, Dataset):
        raise ValueError("check counts rows, and streamed data have no end; write data.streaming=false for the check")
    found = seen.report()
    if report is not None:
        report(found)
    check_thresholds(found, recipe.data)
    groups, revised = (isinstance(recipe.objective, kind) for kind in (GroupObjective, RevisionObjective))
    paired = isinstance(recipe.objective, PairObjective | RevisionObjective | RewardObjective)
    size = size_of(found.sets[0], args, sequences=2 if paired else 1)
    size = sampled(size, args) if groups else size
    if revised:  # the drafts in the prompts come on top
        size = replace(size, sequences=3 * size.sequences, tokens=3 * size.tokens)
    per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * processes
    an_epoch = math.ceil(size.rows / per_step)
    steps = args.max_steps if args.max_steps > 0 else math.ceil(an_epoch * args.num_train_epochs)
    kind = "answers" if groups else "packed sequences" if getattr(args, "packing", False) else "examples"
    about = "at most" if groups else "at least" if revised else "about"
    of = f" to {per_step // args.num_generations} prompts" if groups else f", {per_step * size.sequences} sequences"
    micro = f"{args.per_device_train_batch_size} a device x {args.gradient_accumulation_steps} accumulated"
    packed = f" in about {size.rows:,} packed sequences" if size.rows < size.examples else ""
    return Plan(
        objective=repr(recipe.objective),
        model=recipe.model.path + (f", LoRA of rank {recipe.model.adapter.rank}" if recipe.model.adapter else ""),
        hardware=f"{processes} x {device_type()}, {str(compute_dtype(recipe.model)).removeprefix('torch.')}",
        examples=f"{size.examples:,}{packed}",
        batch=f"{per_step} {kind}{of}, {about} {per_step * size.tokens:,.0f} tokens: {micro} x {processes} processes",
        steps=steps,
        epochs=steps / an_epoch,
        tokens=f"{about} {size.tokens * size.rows:,.0f} an epoch, {size.tokens:,.0f} in each of the {kind}",
    )


def sampled(prompts: Size, args: Any) -> Size:
    """Answers to the prompts, as TRL generates them: whole generations, each trained on `num_iterations` times."""
    a_generation = args.generation_batch_size // args.num_generations
    generations = prompts.examples // a_generation
    if not generations:
        raise ValueError(
            f"{prompts.examples} prompts are fewer than the {a_generation} of one generation; lower "
            f"train.generation_batch_size = {args.generation_batch_size}, or give more prompts"
        )
    rows = generations * args.generation_batch_size * args.num_iterations
    return replace(prompts, rows=rows, tokens=prompts.tokens + args.max_completion_length)


def size_of(part: SetReport, args: Any, sequences: int) -> Size:
    """The training set as it is batched, estimated from the report."""
    kept = 1 - part.mean("dropped")
    examples = round(sum((part.examples or {}).values()) * kept)
    tokens = part.mean("tokens") / kept if kept else 0.0
    if not getattr(args, "packing", False):
        return Size(examples=examples, rows=examples, tokens=tokens, sequences=sequences)
    rows = min(examples, math.ceil(tokens * examples / args.max_length))
    return Size(examples=examples, rows=rows, tokens=tokens * examples / max(rows, 1), sequences=1)
