"""One loss and its gradients: TRL's forward, ours on the rows as they are, and ours with every shared token once.

All in one process and in turns, so that a machine that is busy is busy for each; medians over rounds, and ratios within
a round. TRL's forward is the call that its trainer of the method makes, `model(..., labels=labels, fused_lm_head=True)`
on a model patched for what that trainer logs; the others compute the same for their answers.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from alignkit.models.forward import answer_logps
from alignkit.models.fused_head import with_fused_head
from alignkit.models.load import load_model
from alignkit.models.spec import ModelSpec
from alignkit.studies import flops
from alignkit.studies.memory import peak_bytes

Batch = dict[str, Tensor]
WAYS = ("TRL", "rows", "shared")
SIZES = {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 6}
VOCABULARY = 49152  # of SmolLM2
VOCABULARIES = (16384, 49152, 147456)
GROWING = ("seconds", "megabytes")
LOGGED = {  # besides log-probs, of TRL's trainers: DPO's, GRPO's, KTO's, SFT's
    "pair": ("entropy", "mean_logits", "is_top1"),
    "group": ("entropy",),
    "kto": ("entropy", "mean_logits"),
    "sft": ("entropy", "is_top1"),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A batch of one shape."""

    shape: str  # pair, group, kto or sft
    prompt: int  # tokens
    answer: int  # tokens
    answers: int = 2  # to one prompt; of kto and sft: rows

    def batches(self, vocabulary: int, device: str) -> list[tuple[Batch, bool]]:
        """What the method's step reads, and whether it is trained on it. The tokens are drawn at random."""
        generator = torch.Generator().manual_seed(0)
        own = self.shape in ("kto", "sft")
        prompts = torch.randint(vocabulary, (self.answers if own else 1, self.prompt), generator=generator)
        answers = torch.randint(vocabulary, (self.answers, self.answer), generator=generator)
        lengths = [self.answer] * self.answers
        if self.shape == "sft":  # texts differ in length
            lengths = [self.answer - i * self.answer // (2 * self.answers) for i in range(self.answers)]
        batches = [(_rows(prompts.expand(self.answers, -1), answers, lengths, device), True)]
        if self.shape == "kto":  # each prompt also with another one's answer
            batches.append((_rows(prompts, answers.roll(1, 0), lengths, device), False))
        return batches

    def __str__(self) -> str:
        return f"{self.shape} {self.prompt} + {self.answers} x {self.answer}"


QUICK = (
    Case(shape="pair", prompt=256, answer=64),
    Case(shape="pair", prompt=64, answer=256),
    Case(shape="group", prompt=512, answer=64, answers=8),
    Case(shape="kto", prompt=256, answer=64, answers=4),
    Case(shape="sft", prompt=64, answer=256, answers=4),
)
FULL = (
    *QUICK,
    *(Case(shape="pair", prompt=prompt, answer=128) for prompt in (64, 512, 2048)),
    *(Case(shape="group", prompt=prompt, answer=64, answers=8) for prompt in (64, 1024)),
    *(Case(shape="group", prompt=512, answer=64, answers=answers) for answers in (2, 4, 16)),
    *(Case(shape="group", prompt=512, answer=answer, answers=8) for answer in (32, 512)),
)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One way through one case."""

    case: Case
    way: str
    seconds: float  # median over rounds, of a loss and its gradients
    faster: float  # than TRL, median over rounds
    than_rows: float  # faster than our forward on the rows as they are
    megabytes: float  # at the peak, beyond what was there before: the GPU's count, or on a CPU that of live tensors
    tokens_per_second: float  # of the rows, padding apart
    flops: float  # of the backbone's forward
    over_fewest: float  # these by the fewest possible
    head: float  # operations of the head's forward, which a trained head repeats in its backward


def small_model(vocabulary: int) -> nn.Module:
    """A random Llama of 8 layers, whose head weighs as much as the rest."""
    config = AutoConfig.for_model("llama", vocab_size=vocabulary, **SIZES, max_position_embeddings=8192)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def model_named(path: str, vocabulary: int = VOCABULARY) -> nn.Module:
    """`small`, or a path as in a recipe's model.path."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return (small_model(vocabulary) if path == "small" else load_model(ModelSpec(path=path))).train().to(device)


def measure(model: nn.Module, cases: Sequence[Case], rounds: int = 3) -> Iterator[Timing]:
    """All ways through each case, the cases one after another. A first round warms up and is left out."""
    for case in cases:
        yield from _measured(model, case, rounds)


def _measured(model: Any, case: Case, rounds: int) -> Iterator[Timing]:
    model = with_fused_head(copy.deepcopy(model), LOGGED[case.shape])
    device = next(model.parameters()).device.type
    batches = case.batches(model.config.vocab_size, device)
    steps = {way: partial(_step, model, batches, way) for way in WAYS}
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds + 1):
        for way, step in steps.items():
            times[way].append(_seconds(step))
    tokens = sum(int(batch["attention_mask"].sum()) for batch, _ in batches)
    fewest = sum(flops.fewest(model, batch) for batch, _ in batches)
    for way, step in steps.items():
        seconds = statistics.median(times[way][1:])
        ways = [_way(batch, way) for batch, _ in batches]
        run = sum(flops.run(model, rows, **options) for rows, options in ways)
        yield Timing(
            case=case,
            way=way,
            seconds=seconds,
            faster=_ratio(times["TRL"], times[way]),
            than_rows=_ratio(times["rows"], times[way]),
            megabytes=_peak(step, device) / 2**20,
            tokens_per_second=tokens / seconds,
            flops=run,
            over_fewest=run / fewest,
            head=sum(flops.head(model, rows, **options) for rows, options in ways),
        )


def table(timings: Sequence[Timing]) -> str:
    """Markdown."""
    head = (
        "| batch | way | seconds | x TRL | x rows | peak MB | tokens/s | backbone GFLOP | of the fewest | head GFLOP |"
    )
    rows = [
        f"| {one.case} | {one.way} | {one.seconds:.2f} | {one.faster:.2f} | {one.than_rows:.2f} | {one.megabytes:.0f} "
        f"| {one.tokens_per_second:.0f} | {one.flops / 1e9:.1f} | {one.over_fewest:.3f} | {one.head / 1e9:.1f} |"
        for one in timings
    ]
    return "\n".join([head, "|---|---" + "|---:" * 8 + "|", *rows])


def growth(timings: Sequence[Timing]) -> str:
    """Markdown: with which power of a number of tokens or answers time and memory grow, all else being equal."""
    rows = ["| batches | grows | way | time | memory |", "|---|---|---|---:|---:|"]
    for dimension in ("prompt", "answer", "answers"):
        series: dict[tuple[str, str], list[Timing]] = {}
        for one in timings:
            fixed = {**asdict(one.case), dimension: "n"}
            label = "{shape} {prompt} + {answers} x {answer}".format(**fixed)
            series.setdefault((label, one.way), []).append(one)
        for (label, way), points in series.items():
            if len(points) > 1:
                sizes = np.log([getattr(one.case, dimension) for one in points])
                powers = [np.polyfit(sizes, np.log([getattr(one, of) for one in points]), 1)[0] for of in GROWING]
                rows.append(f"| {label} | {dimension} | {way} | {powers[0]:.2f} | {powers[1]:.2f} |")
    return "\n".join(rows)


def by_vocabulary(case: Case, vocabularies: Sequence[int] = VOCABULARIES) -> str:
    """Markdown: peak memory of the small model in MB, beside what the gradients of its weights take."""
    rows = ["| vocabulary | gradients | " + " | ".join(WAYS) + " |", "|---:" * (2 + len(WAYS)) + "|"]
    for vocabulary in vocabularies:
        model = model_named("small", vocabulary)
        device = next(model.parameters()).device.type
        batches = case.batches(vocabulary, device)
        own = sum(weight.numel() * weight.element_size() for weight in model.parameters())
        sizes = [own, *(_peak(partial(_step, model, batches, way), device) for way in WAYS)]
        rows.append(f"| {vocabulary} | " + " | ".join(f"{size / 2**20:.0f}" for size in sizes) + " |")
    return "\n".join(rows)


def plot(timings: Sequence[Timing], path: Path, title: str) -> None:
    """How much faster than TRL, a pair of bars for each case."""
    cases = list(dict.fromkeys(one.case for one in timings))
    figure = Figure(figsize=(8, 0.6 * len(cases) + 1.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for offset, (way, label) in enumerate((("rows", "same rows, our head"), ("shared", "every shared token once"))):
        bars = [one.faster for one in timings if one.way == way]
        drawn = axes.barh([place + 0.4 * offset for place in range(len(cases))], bars, height=0.38, label=label)
        axes.bar_label(drawn, fmt="%.1f", padding=2, fontsize=8)
    axes.set_yticks([place + 0.2 for place in range(len(cases))], [str(case) for case in cases], fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as TRL: a loss and its gradients")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def _rows(prompts: Tensor, answers: Tensor, lengths: Sequence[int], device: str) -> Batch:
    ids = torch.cat((prompts, answers), dim=1)
    places = torch.arange(ids.size(1))
    mask = (places < prompts.size(1) + torch.tensor(lengths)[:, None]).long()
    batch = {"input_ids": ids, "attention_mask": mask, "completion_mask": mask * (places >= prompts.size(1))}
    return {name: values.to(device) for name, values in batch.items()}


def _way(batch: Batch, way: str) -> tuple[Batch, dict[str, Any]]:
    """Batch and options of `answer_logps`."""
    if way == "rows":  # positions beside an attention mask are not understood, so the rows run as they are
        batch = {
            **batch,
            "position_ids": torch.arange(batch["input_ids"].size(1), device=batch["input_ids"].device)[None],
        }
    return batch, {"shared_prefix": way != "TRL"}


def _step(model: nn.Module, batches: Sequence[tuple[Batch, bool]], way: str) -> None:
    for batch, trained in batches:
        rows, options = _way(batch, way)
        with torch.set_grad_enabled(trained):
            loss = answer_logps(model, rows, **options).logps.sum()
        if trained:
            loss.backward()
    model.zero_grad()


def _seconds(step: Callable[[], None]) -> float:
    wait = torch.cuda.synchronize if torch.cuda.is_available() else int
    wait()
    start = time.perf_counter()
    step()
    wait()
    return time.perf_counter() - start


def _ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    return statistics.median(their / our for their, our in zip(theirs[1:], ours[1:], strict=True))


def _peak(step: Callable[[], None], device: str) -> int:
    """Bytes beyond what was there before."""
    if device != "cuda":
        return peak_bytes(step)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return torch.cuda.max_memory_allocated() - before
