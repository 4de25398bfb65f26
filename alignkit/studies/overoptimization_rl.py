"""Over-optimisation by a policy gradient: what becomes of a known reward when `grpo` is paid by its proxies."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from datasets import Dataset
from matplotlib.figure import Figure
from torch import Tensor
from transformers import TrainerCallback

from alignkit.generation import Chat, TransformersSampler
from alignkit.lab import Claim, Experiment
from alignkit.lab._experiment import Row, above
from alignkit.objectives import GroupObjective
from alignkit.recipe import load
from alignkit.recipe.build import training_arguments
from alignkit.rewards import Combine
from alignkit.studies._text import BATCH, END, MAX_NEW_TOKENS, Text
from alignkit.studies.overoptimization import SINGLE, Overoptimization, Setting
from alignkit.trainers import GroupTrainer

MEASURED = ("kl", "gold", "proxy")


@dataclass(frozen=True, kw_only=True)
class OveroptimizationRL(Experiment):
    """GRPO paid by one reward model of noisy labels loses true reward; conservative ensembles lose less of it.

    The text world, proxies and rules of the study `overoptimization`, whose best-of-n only chooses among the policy's
    answers; here the policy itself moves, without a KL penalty. Every so many updates it answers anew: gold and proxy
    reward are in standard deviations of the untouched policy's answers, and KL(policy || start) is the exact sum over
    the vocabulary along those answers. "Single" is the first member.
    """

    full: ClassVar = {"seeds": 3}

    flips: tuple[float, ...] = (0.25,)  # share of labels turned round
    coefficients: tuple[float, ...] = (8.0,)  # of uncertainty_weighted
    members: int = 5
    pairs: int = 400
    prompts: int = 8
    answers: int = 16  # to each prompt, of one generation, which is one update
    updates: int = 40
    every: int = 4  # updates between two looks
    looked_at: int = 64  # answers to each prompt at a look
    learning_rate: float = 1e-3
    seeds: int = 2  # gold rewards, pairs, proxies and draws: 0, 1, ...

    def __post_init__(self) -> None:
        self.source()
        if self.answers < 2:
            raise ValueError(f"answers = {self.answers} leave nothing to compare; write 2 or more")
        if self.updates < 1 or self.updates % self.every:
            raise ValueError(f"updates = {self.updates} must be a multiple of every = {self.every}")

    def source(self) -> Overoptimization:
        """The study that proxies, gold rewards and rules are taken from."""
        names = ("flips", "coefficients", "members", "pairs", "prompts", "seeds")
        return Overoptimization(worlds=("text",), answers=16, **{name: getattr(self, name) for name in names})

    def rows(self) -> list[Row]:
        """A row for each rule, seed and look."""
        source = self.source()
        world = source.world("text")
        assert isinstance(world, Text)
        found: list[Row] = []
        for share in self.flips:
            for seed in range(self.seeds):
                setting = source.setting(world, seed, share)
                for rule, combine in source.rules().items():
                    where = {"flips": share, "rule": rule, "seed": seed}
                    found += [{**where, **look} for look in self.curve(world, setting, combine, seed)]
        return found

    def curve(self, world: Text, setting: Setting, combine: Combine | None, seed: int) -> list[dict[str, float]]:
        """KL, gold and proxy reward of a policy before it trains and at every look."""

        def proxy(chats: Sequence[Chat], texts: Sequence[str]) -> Tensor:
            with torch.no_grad():
                scores = setting.proxies(world.features(chats, texts))
            return scores[0] if combine is None else combine(scores)

        def reward(prompts: Sequence[Chat], completions: Sequence[Chat], **others: Any) -> list[float]:
            return proxy(prompts, [str(completion[-1]["content"]) for completion in completions]).tolist()

        with tempfile.TemporaryDirectory() as folder:
            recipe = load("grpo/tiny", self._settings(folder, seed))
            assert isinstance(recipe.objective, GroupObjective)
            trainer = GroupTrainer(
                world.policy(),
                args=training_arguments(recipe),
                objective=recipe.objective,
                reward_funcs=reward,
                train_dataset=Dataset.from_list([{"prompt": chat} for chat in world.chats]),
                processing_class=world.tokenizer,
            )
            look = Look(world=world, setting=setting, seed=seed, proxy=proxy, answers=self.looked_at, every=self.every)
            trainer.add_callback(look)
            trainer.train()
        return look.found

    def _settings(self, folder: str, seed: int) -> list[str]:
        """The shipped tiny recipe of GRPO, with a generation to all prompts for each update."""
        batch = self.prompts * self.answers
        return [
            f"train.output_dir={folder}",
            f"train.seed={seed}",
            f"train.max_steps={self.updates}",
            f"train.per_device_train_batch_size={batch}",
            f"train.global_batch_size={batch}",
            f"train.num_generations={self.answers}",
            f"train.max_completion_length={MAX_NEW_TOKENS}",
            f"train.learning_rate={self.learning_rate}",
            "train.lr_scheduler_type=constant",
            "train.activation_checkpointing=false",
            "train.eval_strategy=no",
            "train.save_strategy=no",
            "train.logging_strategy=no",
            "train.disable_tqdm=true",
        ]

    def shown(self, rows: Sequence[Row]) -> list[Row]:
        """One row a rule: its peak, its end, what was lost between them, and gold at a KL that all rules reach."""
        return [row for share in self.flips for row in summary(of_rules(rows, share), {"flips": share})]

    def claims(self, rows: Sequence[Row]) -> list[Claim]:
        """On the noisiest labels."""
        noisiest, strongest = max(self.flips), list(self.source().rules())[-1]
        curves = of_rules(rows, noisiest)
        lost = {row["rule"]: row["lost"] for row in summary(curves, {})}
        proxy = curves[SINGLE]["proxy"].mean(dim=0)
        return [
            above("rise of the single proxy from the start to the end", (proxy[-1] - proxy[0]).item(), 0.5),
            above("gold reward that the single proxy loses from its peak on", lost[SINGLE], 0.05),
            above("of that, worst keeps", lost[SINGLE] - lost["worst"], 0),
            above(f"of that, {strongest} keeps", lost[SINGLE] - lost[strongest], 0),
        ]

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        figure.set_size_inches(5.5 * len(self.flips), 4)
        panels = figure.subplots(1, len(self.flips), sharey=True, squeeze=False)[0]
        for axes, share in zip(panels, self.flips, strict=True):
            for rule, curve in of_rules(rows, share).items():
                kl, gold, proxy = (curve[name].mean(dim=0).tolist() for name in MEASURED)
                line = axes.errorbar(kl, gold, error(curve["gold"]).tolist(), marker=".", capsize=2, label=rule)
                axes.plot(kl, proxy, "--", color=line[0].get_color(), linewidth=0.8)
            axes.set_title(f"GRPO, {share:.0%} of labels flipped", fontsize=10)
            axes.set_xlabel("KL from the start, nats an answer")
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("gold reward; dashed: proxy")
        panels[0].legend(fontsize=8)


@dataclass(kw_only=True)
class Look(TrainerCallback):
    """Takes answers of the policy before it trains and every so many updates: their mean KL, gold and proxy reward."""

    world: Text
    setting: Setting
    seed: int
    proxy: Any  # (chats, texts) -> (N,)
    answers: int
    every: int
    found: list[dict[str, float]] = field(default_factory=list)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.found.append({"update": 0, **self.look(model)})

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step % self.every == 0:
            self.found.append({"update": state.global_step, **self.look(model)})

    def look(self, model: Any) -> dict[str, float]:
        sampler = TransformersSampler(
            model=model,
            tokenizer=self.world.tokenizer,
            max_new_tokens=MAX_NEW_TOKENS,
            temperature=1.0,
            batch_size=BATCH,
            seed=self.seed,
        )
        written = sampler(self.world.chats, n=self.answers)
        chats = [chat for chat in self.world.chats for _ in range(self.answers)]
        texts = [text for texts in written for text in texts]
        gold = self.setting.standardized(self.world.gold(texts, self.seed))
        values = (self.kl(model, chats, texts), gold, self.proxy(chats, texts))
        return {name: value.mean().item() for name, value in zip(MEASURED, values, strict=True)}

    @torch.no_grad()
    def kl(self, model: Any, chats: Sequence[Chat], texts: Sequence[str]) -> Tensor:
        """Sum over the tokens of each answer of KL(policy || start) of the next one, (N,)."""
        batch = self.world.tokenizer(
            [f"{chat[-1]['content']}{text}{END}" for chat, text in zip(chats, texts, strict=True)],
            padding=True,
            return_tensors="pt",
        )
        drawn = batch["attention_mask"][:, 1:][:, :MAX_NEW_TOKENS]  # an answer without an end has one letter for it
        width = drawn.shape[1]
        policy, start = (
            one(**batch).logits[:, :width].log_softmax(dim=-1) for one in (model.eval(), self.world.policy())
        )
        model.train()
        return ((policy.exp() * (policy - start)).sum(dim=-1) * drawn).sum(dim=1)


def of_rules(rows: Sequence[Row], share: float) -> dict[str, dict[str, Tensor]]:
    """What was measured at one share of flips, by rule: (seeds, looks) of each."""
    found: dict[str, dict[int, list[list[float]]]] = {}
    for row in rows:
        if row["flips"] == share:
            found.setdefault(row["rule"], {}).setdefault(row["seed"], []).append([row[name] for name in MEASURED])
    tables = {rule: torch.tensor([*seeds.values()]).unbind(dim=-1) for rule, seeds in found.items()}
    return {rule: dict(zip(MEASURED, table, strict=True)) for rule, table in tables.items()}


def summary(curves: Mapping[str, Mapping[str, Tensor]], where: Row) -> list[Row]:
    """A row for each rule: means over the seeds, differences from single seed by seed."""
    common = min(curve["kl"].amax(dim=1).min().item() for curve in curves.values())
    single = gold_at(curves[SINGLE], common)
    return [{**where, "rule": rule, **_of_rule(curve, common, single)} for rule, curve in curves.items()]


def _of_rule(curve: Mapping[str, Tensor], common: float, single: Tensor) -> Row:
    gold, kl, there = curve["gold"].mean(dim=0), curve["kl"].mean(dim=0), gold_at(curve, common)
    return {
        "peak_kl": kl[gold.argmax()].item(),
        "peak": gold.max().item(),
        "end_kl": kl[-1].item(),
        "proxy": curve["proxy"][:, -1].mean().item(),
        "gold": gold[-1].item(),
        "error": error(curve["gold"])[-1].item(),
        "lost": (gold.max() - gold[-1]).item(),
        "common_kl": common,
        "gold_there": there.mean().item(),
        "over_single": (there - single).mean().item(),
        "over_single_error": error(there - single).item(),
    }


def gold_at(curve: Mapping[str, Tensor], kl: float) -> Tensor:
    """Gold reward of each seed where it first is so far from the start, between two looks on a line; (seeds,)."""
    found = []
    for distances, gold in zip(curve["kl"], curve["gold"], strict=True):
        after = max(int((distances >= kl).nonzero()[0]), 1)
        before, beyond = distances[after - 1], distances[after]
        found.append(torch.lerp(gold[after - 1], gold[after], (kl - before) / (beyond - before)))
    return torch.stack(found)


def error(values: Tensor) -> Tensor:
    """Standard error of the mean over the first dimension."""
    return values.std(dim=0) / len(values) ** 0.5
