"""When the data report stops a run."""

from __future__ import annotations

from dataclasses import dataclass

from alignkit.data.account import DataReport, SetReport
from alignkit.data.errors import DataError
from alignkit.data.report import Inspected
from alignkit.data.spec import DataSpec

NAMES = {"train": "training", "eval": "evaluation"}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A key of the data section that limits a share of the examples."""

    key: str
    counts: tuple[str, ...]  # of Inspected, added up
    what: str  # the examples that are counted

    def count(self, one: Inspected) -> int:
        return sum(getattr(one, name) for name in self.counts)


RULES = (
    Rule(
        key="max_truncated",
        counts=("truncated", "dropped"),
        what="are longer than train.max_length = {max_length}",
    ),
    Rule(
        key="max_lost_end",
        counts=("lost_end",),
        what="lack the token that ends an answer, so the model learns to go on",
    ),
)


def check_thresholds(report: DataReport, spec: DataSpec) -> None:
    """Refuse data that training would damage more than the recipe allows.

    Raises:
        DataError: examples without a token to train on, which TRL would drop in silence (unless bad rows are dropped),
            images cut in two, or more than `max_truncated` or `max_lost_end` of the training or the evaluation set.
    """
    for part in report.sets:
        refuse_cut_images(part, report.treatment.max_length)
        if spec.on_bad_rows == "error":
            refuse_dropped(part, report.treatment.max_length)
        for rule in RULES:
            limit = getattr(spec, rule.key)
            share = part.mean(*rule.counts)
            if limit is not None and share > limit:
                raise DataError(exceeded(rule, limit, share, part, report))


def refuse_dropped(part: SetReport, max_length: int | None) -> None:
    total = part.report.total
    if total.dropped:
        raise DataError(nothing_left(total.dropped, total.places, max_length, part.use))


def refuse_cut_images(part: SetReport, max_length: int | None) -> None:
    total = part.report.total
    if total.cut_images:
        raise DataError(
            f"train.max_length = {max_length} cuts through the images of {total.cut_images:,} of {total.examples:,} "
            f"{NAMES[part.use]} examples, which no model takes; write train.max_length: null, or "
            f"{total.lengths['longest']:,} for the longest of them"
        )


def nothing_left(count: int, places: tuple[str, ...], max_length: int | None, use: str) -> str:
    """The message about examples that have no token to train on; some of their places are known."""
    examples = f"1 {NAMES[use]} example has" if count == 1 else f"{count:,} {NAMES[use]} examples have"
    more = f"\n  and {count - len(places):,} more" if count > len(places) else ""
    return (
        f"{examples} no token to train on within train.max_length = {max_length}:\n  "
        + "\n  ".join(places)
        + more
        + "\nRaise train.max_length, shorten the prompts, or write data.on_bad_rows: drop to go on without them."
    )


def exceeded(rule: Rule, limit: float, share: float, part: SetReport, report: DataReport) -> str:
    """The message about a limit of the data section."""
    what = rule.what.format(max_length=report.treatment.max_length)
    sources = [
        f"{one.source}: {rule.count(one):,} of {one.examples:,}, the longest has {one.lengths['longest']:,} tokens"
        for one in part.report.sources
        if rule.count(one)
    ]
    estimate = " (an estimate from a sample)" if part.sampled else ""
    return (
        f"{percent(share)} of the {NAMES[part.use]} examples{estimate} {what}; data.{rule.key} allows "
        f"{percent(limit)}:\n  " + "\n  ".join(sources) + f"\n{advice(rule, part, report)}"
    )


def advice(rule: Rule, part: SetReport, report: DataReport) -> str:
    total = part.report.total
    if rule.key == "max_lost_end" and total.lost_end > total.truncated:
        return (
            "Most of them end so before they are cut: the chat template puts no end token after an answer. Write "
            f"model.chat_template: FILE.jinja with one that does, or allow more with data.{rule.key}."
        )
    most, longest = total.lengths["99 %"], total.lengths["longest"]
    some = (report.treatment.max_length or 0) < most < longest
    return (
        f"Raise train.max_length to {longest:,} for all of them"
        + (f", or to {most:,} for 99 % of the sequences" if some else "")
        + f"; leave out or shorten the long examples; or allow more with data.{rule.key}."
    )


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"
