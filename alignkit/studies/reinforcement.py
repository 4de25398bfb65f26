"""Reinforcement learning on a task with a verifier: success, entropy and distance from the start, method by method."""

import json
import random
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from alignkit.data.errors import BadRow
from alignkit.data.layouts import OTHERS
from alignkit.data.tasks import Tasks
from alignkit.lab import Claim, Experiment
from alignkit.lab._experiment import Row, above, below
from alignkit.recipe import load
from alignkit.recipe.build import build
from alignkit.trainers import ObjectiveTrainer

KIND, OPTIONS = "spell_backward", {"min_word_len": 3, "max_word_len": 3}
TASK = f"source: reasoning_gym, name: {KIND}, options: {json.dumps(OPTIONS)}"
SHRUG = "?"
HELD_OUT = 100_000  # seed of the first held-out task, far from those that are trained on
LETTERS = 6  # tokens of an answer at most: three letters, the end, and room to be wrong

# What differs between the methods. DisCO and GVPO take four updates on a generation, without which their constraint and
# regulariser do nothing; beta, delta and learning rates are ours.
METHODS: Mapping[str, Sequence[str]] = {
    "grpo": ("objective={name: grpo}", "train.learning_rate=1e-3", "train.generation_batch_size=256"),
    "disco": (
        "objective={name: disco, beta: 10, delta: 0.01}",
        "train.learning_rate=1e-3",
        "train.generation_batch_size=512",
    ),
    "gvpo": ("objective={name: gvpo, beta: 0.3}", "train.learning_rate=1e-3", "train.generation_batch_size=512"),
}
PANELS = {"success": "held-out success", "entropy": "entropy, nats a token", "kl": "KL from the start, nats an answer"}


@dataclass(frozen=True, kw_only=True)
class Reinforcement(Experiment):
    """A small model that can spell words backward, and mostly does not, learns to from its own answers, by each method.

    First it is supervised on words spelled backward, then for a while on answers of which most are a shrug; then it is
    rewarded, 1 for a right answer, else 0. Held-out words are none of those that it was trained on; success is the
    share of right ones among answers sampled at temperature 1. Entropy and KL(policy || start) are exact sums over the
    vocabulary along those answers.
    """

    full: ClassVar = {"seeds": (0, 1, 2, 3, 4), "supervised": 450}

    methods: tuple[str, ...] = tuple(METHODS)
    seeds: tuple[int, ...] = (0,)  # of the words' order and the answers
    supervised: int = 350  # steps on right answers
    shrugging: int = 50  # steps on answers of which a share is right
    right: float = 0.2  # that share
    updates: int = 80
    every: int = 10  # updates between two looks at the held-out words
    tasks: int = 2000  # to train on
    held_out: int = 256

    def __post_init__(self) -> None:
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown:
            raise ValueError(f"methods: {unknown[0]!r} is not among {', '.join(METHODS)}")
        if self.updates % self.every:
            raise ValueError(f"updates = {self.updates} must be a multiple of every = {self.every}")

    def rows(self) -> list[Row]:
        return [row for seed in self.seeds for row in self._of_seed(seed)]

    def _of_seed(self, seed: int) -> Iterator[Row]:
        with tempfile.TemporaryDirectory() as folder:
            able = self._supervised(seed, Path(folder) / "able", "tiny:llama", 1.0, self.supervised)
            start = self._supervised(seed, Path(folder) / "start", able, self.right, self.shrugging)
            for method in self.methods:
                trainer = self._trainer(method, Path(folder) / method, seed, self._sampling(method, start))
                look = Look(trainer.model, trainer.processing_class, self._words(trainer), self.every)
                trainer.add_callback(look)
                trainer.train()
                yield from ({"method": method, "seed": seed, **row} for row in look.rows)

    def _trainer(self, method: str, folder: Path, seed: int, overrides: Sequence[str]) -> ObjectiveTrainer:
        """The shipped tiny recipe of a method, on our task."""
        common = [
            f"train.output_dir={folder}",
            f"train.seed={seed}",
            f"data.seed={seed}",
            "train.eval_strategy=no",
            "train.save_strategy=no",
            "train.disable_tqdm=true",
            "train.logging_steps=1000",
            "summary.answers=0",
        ]
        return build(load(f"{method}/tiny", [*common, *overrides]))

    def _supervised(self, seed: int, folder: Path, model: str | Path, right: float, steps: int) -> Path:
        """Folder of the model after as many steps on the tasks, some answered, the others with a shrug."""
        draw, tasks = random.Random(seed), Tasks(name=KIND, options=OPTIONS, seed=0, count=self.tasks)
        rows = [row for _, row in tasks.rows() if not isinstance(row, BadRow)]
        said = [row["answer"] if draw.random() < right else SHRUG for row in rows]
        answers = folder.with_suffix(".jsonl")
        with answers.open("w", encoding="utf-8") as file:
            for row, completion in zip(rows, said, strict=True):
                file.write(json.dumps({"prompt": row["prompt"], "completion": completion}) + "\n")
        trainer = self._trainer("nll", folder, seed, self._supervising(answers, model, steps))
        trainer.train()
        trainer.save_model(str(folder))
        return folder

    def _supervising(self, answers: Path, model: str | Path, steps: int) -> list[str]:
        return [
            f"model.path={model}",
            f"data.train=[{{source: {answers}}}]",
            "data.eval=[]",
            f"train.max_steps={steps}",
            "train.per_device_train_batch_size=32",
            "train.global_batch_size=32",
            "train.learning_rate=3e-3",
            "train.lr_scheduler_type=constant_with_warmup",
            "train.warmup_steps=20",
        ]

    def _sampling(self, method: str, start: Path) -> list[str]:
        return [
            f"model.path={start}",
            f"data.train=[{{{TASK}, limit: {self.tasks}}}]",
            f"data.eval=[{{{TASK}, limit: {4 * self.held_out}, seed: {HELD_OUT}}}]",
            "reward={members: [{rule: exact_match}]}",
            f"train.max_steps={self.updates}",
            "train.per_device_train_batch_size=128",
            "train.per_device_eval_batch_size=128",
            "train.global_batch_size=128",
            "train.num_generations=8",
            f"train.max_completion_length={LETTERS}",
            "train.lr_scheduler_type=constant",
            *METHODS[method],
        ]

    def _words(self, trainer: Any) -> list[tuple[str, str]]:
        """Held-out (prompt, answer), none of them among those that are trained on, none twice."""
        seen = set(trainer.train_dataset["prompt"])
        found = {row["prompt"]: json.loads(row[OTHERS])["answer"] for row in trainer.eval_dataset}
        return [word for word in found.items() if word[0] not in seen][: self.held_out]

    def claims(self, rows: Sequence[Row]) -> list[Claim]:
        found = []
        for method in self.methods:
            curves = [curve(rows, method, seed, "success") for seed in self.seeds]
            found.append(below(f"{method}: success before, of the best seed", max(c[0] for c in curves), 0.3))
            found.append(above(f"{method}: success after, of the worst seed", min(c[-1] for c in curves), 0.7))
        return found

    def shown(self, rows: Sequence[Row]) -> Sequence[Row]:
        return [row for row in rows if row["update"] in (0, self.updates)]

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        updates = sorted({row["update"] for row in rows})
        for axes, (name, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
            for number, method in enumerate(self.methods):
                curves = [curve(rows, method, seed, name) for seed in self.seeds]
                for one in curves:
                    axes.plot(updates, one, color=f"C{number}", alpha=0.25, linewidth=0.8)
                mean = [statistics.fmean(values) for values in zip(*curves, strict=True)]
                axes.plot(updates, mean, color=f"C{number}", label=method)
            axes.set(xlabel="update", title=title)
        axes.legend()


def curve(rows: Sequence[Row], method: str, seed: int, name: str) -> list[float]:
    return [row[name] for row in rows if row["method"] == method and row["seed"] == seed]


class Look(TrainerCallback):
    """Asks a model every held-out question once, before it trains and every so many updates."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, words: Sequence[tuple[str, str]], every: int
    ) -> None:
        self.start = type(model).from_pretrained(model.config._name_or_path).eval()
        self.tokenizer = tokenizer
        self.words = words
        self.every = every
        self.rows: list[dict[str, float]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.rows.append({"update": 0, **self.look(model)})

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step % self.every == 0:
            self.rows.append({"update": state.global_step, **self.look(model)})

    @torch.no_grad()
    def look(self, model: Any) -> dict[str, float]:
        """Success, entropy and KL of sampled answers; the state of the random numbers is left as it was."""
        training = model.training
        model.eval()
        questions = self.tokenizer([q for q, _ in self.words], padding=True, padding_side="left", return_tensors="pt")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            ids = model.generate(**questions, do_sample=True, top_k=0, max_new_tokens=LETTERS)
        width = questions["input_ids"].shape[1]
        answers = ids[:, width:]
        ended = (answers == self.tokenizer.eos_token_id).cumsum(dim=1)
        mask = (ended - (answers == self.tokenizer.eos_token_id).long()) == 0  # up to the end token, which counts
        attention = torch.cat([questions["attention_mask"], mask.long()], dim=1)
        inputs = {"input_ids": ids, "attention_mask": attention}
        logps, before = (
            logits[:, width - 1 : -1].log_softmax(dim=-1)
            for logits in (model(**inputs).logits, self.start(**inputs).logits)
        )
        model.train(training)
        entropy = -(logps.exp() * logps).sum(dim=-1)[mask].mean()
        kl = ((logps.exp() * (logps - before)).sum(dim=-1) * mask).sum(dim=1).mean()
        said = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        right = [text.strip() == answer for text, (_, answer) in zip(said, self.words, strict=True)]
        return {"success": statistics.fmean(right), "entropy": entropy.item(), "kl": kl.item()}
