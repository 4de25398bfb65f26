"""Over-optimisation: what becomes of a reward that is known when its proxies are optimised."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, get_args

import torch
from matplotlib.figure import Figure
from torch import Tensor

from alignkit.lab import Claim, Experiment
from alignkit.lab._experiment import Row, above
from alignkit.rewards import Combine, best_of_each, kl_bound, make
from alignkit.studies._features import Features
from alignkit.studies._text import LETTERS, Text
from alignkit.studies._worlds import Answers, Proxies, World, train

WorldName = Literal["features", "text"]
WORLDS: Mapping[WorldName, Callable[..., World]] = {"features": Features, "text": Text}
CALIBRATION = 64  # answers to each prompt by which proxies are put on one scale
HELD_OUT = 64  # answers to each prompt by which the proxies' accuracy is measured, in pairs
SINGLE = "single"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One seed: proxies and answers that they have not seen; rewards on the scale of the policy's answers."""

    proxies: Proxies
    answers: Answers  # (P, N), gold with mean 0 and standard deviation 1 over calibration answers
    accuracy: float  # of the proxies, on labels that are right
    mean: float = 0.0  # of gold over calibration answers, as the world gives it
    deviation: float = 1.0

    def standardized(self, gold: Tensor) -> Tensor:
        """A gold reward as the world gives it, on the scale of `answers`."""
        return (gold - self.mean) / self.deviation


@dataclass(frozen=True, kw_only=True)
class Overoptimization(Experiment):
    """Best-of-n by reward models trained on noisy labels loses true reward; conservative ensembles lose less of it.

    The gold reward is known. Proxies learn from its labels, of which a share is flipped, and are optimised alone or
    under a rule by best-of-n, whose KL divergence from the policy is bounded by log n - (n - 1) / n. Rewards are in
    standard deviations of the untouched policy's answers. "Single" is the mean over the members, each by itself.
    """

    full: ClassVar = {"seeds": 10, "answers": 4096}

    worlds: tuple[WorldName, ...] = get_args(WorldName)  # points with reward networks; letters of a language model
    flips: tuple[float, ...] = (0.0, 0.25)  # share of labels turned round
    coefficients: tuple[float, ...] = (0.5, 2.0, 8.0)  # of uncertainty_weighted
    members: int = 5
    pairs: int = 400
    prompts: int = 8  # over which answers are compared
    answers: int = 2048  # to each; n goes up to a quarter of it, beyond which few subsets are left
    seeds: int = 3  # gold rewards, pairs and proxies: 0, 1, ...

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise ValueError(f"seeds = {self.seeds} gives no error bar; write 2 or more")
        if self.members < 2:
            raise ValueError(f"members = {self.members} are no ensemble; write 2 or more")
        if self.answers < 16:
            raise ValueError(f"answers = {self.answers} leave no n beyond 1; write 16 or more")
        if self.pairs < self.prompts or self.pairs % self.prompts:
            raise ValueError(f"pairs = {self.pairs} must be a multiple of prompts = {self.prompts}")
        if "text" in self.worlds and self.prompts > len(LETTERS):
            raise ValueError(f"prompts = {self.prompts} are more than the {len(LETTERS)} letters of the text world")
        if any(not 0 <= share < 0.5 for share in self.flips):
            raise ValueError(f"flips = {list(self.flips)} must be shares from 0 up to, not including, 0.5")
        if any(not coefficient > 0 for coefficient in self.coefficients):
            raise ValueError(f"coefficients = {list(self.coefficients)} must be above 0; 0 is mean")

    @property
    def sizes(self) -> list[int]:
        """The n of best-of-n: powers of two."""
        return [2**power for power in range((self.answers // 4).bit_length())]

    def rules(self) -> dict[str, Combine | None]:
        """What proxies are optimised under, by name; None for each by itself."""
        weighted = {
            f"uncertainty_weighted {c:g}": make("uncertainty_weighted", coefficient=c) for c in self.coefficients
        }
        return {SINGLE: None, "mean": make("mean"), "worst": make("worst"), **weighted}

    def world(self, name: WorldName) -> World:
        """With as many answers to each prompt as pairs, calibration, accuracy and best-of-n need."""
        count = 2 * self.pairs // self.prompts + CALIBRATION + HELD_OUT + self.answers
        return WORLDS[name](prompts=self.prompts, count=count)

    def setting(self, world: World, seed: int, flips: float) -> Setting:
        """Train the proxies of one seed on labels with a share of flips."""
        drawn = world(seed)
        parts = (2 * self.pairs // self.prompts, CALIBRATION, HELD_OUT, self.answers)
        split = zip(drawn.features.split(parts, dim=1), drawn.gold.split(parts, dim=1), strict=True)
        pairs, calibration, held_out, answers = (Answers(features=features, gold=gold) for features, gold in split)
        proxies = train(pairs.in_pairs(), flips, self.members, torch.Generator().manual_seed(seed))
        proxies.calibrate(calibration.features.flatten(0, 1))
        deviation, mean = torch.std_mean(calibration.gold)
        with torch.no_grad():
            first, second = proxies(held_out.in_pairs().features.flatten(0, 1)).unflatten(1, (-1, 2)).unbind(-1)
        right = (first > second) == (held_out.in_pairs().gold[:, 0] > held_out.in_pairs().gold[:, 1])
        return Setting(
            proxies=proxies,
            answers=Answers(features=answers.features, gold=(answers.gold - mean) / deviation),
            accuracy=right.float().mean().item(),
            mean=mean.item(),
            deviation=deviation.item(),
        )

    def rows(self) -> list[Row]:
        worlds = {name: self.world(name) for name in self.worlds}
        return [row for name in worlds for share in self.flips for row in self._rows(name, worlds[name], share)]

    def _rows(self, name: str, world: World, share: float) -> Iterator[Row]:
        """A row for each rule and n: means over the seeds, with standard errors."""
        settings = [self.setting(world, seed, share) for seed in range(self.seeds)]
        curves = {
            rule: torch.stack([best_of(setting, combine, self.sizes) for setting in settings])
            for rule, combine in self.rules().items()
        }
        for rule, curve in curves.items():  # (seeds, 2, sizes)
            gain = curve - curves[SINGLE]
            for place, n in enumerate(self.sizes):
                yield {
                    "world": name,
                    "flips": share,
                    "rule": rule,
                    "accuracy": statistics.fmean(setting.accuracy for setting in settings),
                    "n": n,
                    "kl": kl_bound(n),
                    **_mean_and_error("gold", curve[:, 0, place]),
                    **_mean_and_error("proxy", curve[:, 1, place]),
                    **_mean_and_error("over_single", gain[:, 0, place]),
                }

    def shown(self, rows: Sequence[Row]) -> list[Row]:
        """One row a curve: its peak, its end, and what was lost between them."""
        return [_summary(curve) for curve in _curves(rows).values()]

    def claims(self, rows: Sequence[Row]) -> list[Claim]:
        """On the noisiest labels, in every world."""
        found = []
        noisiest, strongest = max(self.flips), list(self.rules())[-1]
        for world in self.worlds:
            curves = {rule: curve for (*where, rule), curve in _curves(rows).items() if where == [world, noisiest]}
            rises = min(after["proxy"] - before["proxy"] for before, after in pairwise(curves[SINGLE]))
            lost = {rule: _summary(curve)["lost"] for rule, curve in curves.items()}
            found += [
                above(f"{world}: least rise of the single proxy from one n to the next", rises, 0),
                above(f"{world}: gold reward that the single proxy loses from its peak on", lost[SINGLE], 0.05),
                above(f"{world}: of that, worst keeps", lost[SINGLE] - lost["worst"], 0),
                above(f"{world}: of that, {strongest} keeps", lost[SINGLE] - lost[strongest], 0),
            ]
        return found

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        curves = _curves(rows)
        figure.set_size_inches(4.5 * len(self.flips), 3.6 * len(self.worlds))
        panels = figure.subplots(len(self.worlds), len(self.flips), sharex=True, sharey="row", squeeze=False)
        for (world, share, rule), curve in curves.items():
            axes = panels[self.worlds.index(world), self.flips.index(share)]
            kl, gold, error, proxy = ([row[name] for row in curve] for name in ("kl", "gold", "gold_error", "proxy"))
            line = axes.errorbar(kl, gold, error, marker=".", capsize=2, label=rule, linewidth=1.2)
            axes.plot(kl, proxy, "--", color=line[0].get_color(), linewidth=0.8)
            axes.set_title(f"{world}, {share:.0%} of labels flipped", fontsize=10)
            axes.grid(alpha=0.3)
        for axes in panels[-1]:
            axes.set_xlabel("KL from the policy, nats (bound)")
        panels[0, 0].set_ylabel("gold reward; dashed: proxy")
        panels[0, 0].legend(fontsize=8)


def best_of(setting: Setting, combine: Combine | None, sizes: Sequence[int]) -> Tensor:
    """Gold and proxy reward of the best of each n, (2, sizes): mean over prompts; without a rule, over proxies too."""
    prompts, count = setting.answers.gold.shape
    with torch.no_grad():
        scores = setting.proxies(setting.answers.features.flatten(0, 1))
    scores = (scores if combine is None else combine(scores)[None]).view(-1, prompts, count)
    curves = [
        torch.stack([best_of_each(proxy, reward, sizes) for reward in (gold, proxy)])
        for proxies in scores
        for proxy, gold in zip(proxies, setting.answers.gold, strict=True)
    ]
    return torch.stack(curves).mean(dim=0)


def _mean_and_error(name: str, values: Tensor) -> dict[str, float]:
    error = values.std() / len(values) ** 0.5
    return {name: values.mean().item(), f"{name}_error": error.item()}


def _curves(rows: Sequence[Row]) -> dict[tuple[str, float, str], list[Row]]:
    """Rows by world, flips and rule, in the order of n."""
    found: dict[tuple[str, float, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["world"], row["flips"], row["rule"]), []).append(row)
    return found


def _summary(curve: Sequence[Row]) -> Row:
    peak, end = max(curve, key=lambda row: row["gold"]), curve[-1]
    names = ("world", "flips", "rule", "accuracy")
    return {
        **{name: end[name] for name in names},
        "best_n": peak["n"],
        "peak": peak["gold"],
        f"gold_at_{end['n']}": end["gold"],
        "error": end["gold_error"],
        "proxy": end["proxy"],
        "lost": peak["gold"] - end["gold"],
        "over_single": end["over_single"],
        "over_single_error": end["over_single_error"],
    }
