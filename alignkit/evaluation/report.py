"""The figures of an evaluation: what each judge says of each model, and of each pair of models."""

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alignkit.evaluation.questions import STARTER
from alignkit.evaluation.records import Game, Records, Score
from alignkit.evaluation.statistics import Interval, Paired, correlation, interval, kappa, length_controlled, paired

ONE_SIDED = 0.8  # share of decided games that went to one position, from which on the judge is suspected
FEW_GAMES = 4  # decided games below which it is not


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """One model by one judge."""

    model: str
    overall: Interval | None  # None: nothing was graded
    turns: Mapping[int, Interval]
    categories: Mapping[str, Interval]
    graded: int
    ungraded: int  # a reply came, and gave no rating
    missing: int  # no answer, or no reply of the judge
    noted: int  # graded where FastChat would read something else
    words: float  # mean length of the answers
    length_correlation: float | None  # of words with score, over answers


@dataclass(frozen=True, kw_only=True)
class PairResult:
    """Two models compared answer by answer: how often the first one wins, ties counted half."""

    models: tuple[str, str]
    wins: int
    ties: int  # those included in which the two games disagree
    losses: int
    ungraded: int
    missing: int  # no answers, or no judgment
    win_rate: Interval | None
    length_controlled: float | None  # win rate between answers of equal length
    consistency: float | None  # share of matches in which both games name the same winner
    first_shown: float | None  # share of the decided games that went to the answer shown first
    noted: int

    @property
    def warning(self) -> str | None:
        """The judge names a position rather than an answer."""
        decided = self.wins + self.losses
        if self.first_shown is None or max(self.first_shown, 1 - self.first_shown) < ONE_SIDED:
            return None
        side = "first" if self.first_shown >= ONE_SIDED else "second"
        share = max(self.first_shown, 1 - self.first_shown)
        matches = f"{decided} of {decided + self.ties} matches are decided"
        return f"the judge prefers the answer shown {side} in {share:.0%} of its verdicts; {matches}, the rest is ties"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models by their single ratings: B less A, question by question."""

    models: tuple[str, str]
    scores: Paired
    win_rate: float  # of B over A: which answer has the higher rating, ties counted half
    length_controlled: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two judges on what both graded."""

    judges: tuple[str, str]
    mode: str
    matches: int
    same: float  # share with the same rating or verdict
    kappa: float | None
    correlation: float | None  # Pearson's


@dataclass(frozen=True, kw_only=True)
class JudgeReport:
    """Everything that one judge said."""

    judge: str
    models: tuple[ModelScores, ...]  # the best first
    comparisons: tuple[Comparison, ...]
    pairs: tuple[PairResult, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """An evaluation in figures."""

    title: str
    questions: int
    judges: tuple[JudgeReport, ...]
    agreement: tuple[Agreement, ...]
    warnings: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def make_report(records: Records, title: str = STARTER, warnings: Iterable[str] = ()) -> Report:
    """The figures of what a folder holds."""
    names = sorted({*records.scores, *records.games})
    judges = tuple(_judge_report(records, judge) for judge in names)
    loud = [f"{one.judge}: {pair.warning}" for one in judges for pair in one.pairs if pair.warning]
    return Report(
        title=title,
        questions=len(records.questions),
        judges=judges,
        agreement=tuple(_agreements(records, names)),
        warnings=(*warnings, *loud),
    )


def _judge_report(records: Records, judge: str) -> JudgeReport:
    scores, games = records.scores.get(judge, ()), records.games.get(judge, ())
    by_model = {model: [one for one in scores if one.model == model] for model in {one.model for one in scores}}
    models = sorted(
        (_model_scores(records, model, found) for model, found in by_model.items()),
        key=lambda one: (-(one.overall.mean if one.overall else 0), one.model),
    )
    compared = (compare(records, judge, a.model, b.model) for a, b in itertools.combinations(models[::-1], 2))
    sides = dict.fromkeys(one.models for one in games)
    return JudgeReport(
        judge=judge,
        models=tuple(models),
        comparisons=tuple(one for one in compared if one is not None),
        pairs=tuple(_pair(records, pair, [one for one in games if one.models == pair]) for pair in sides),
    )


def _model_scores(records: Records, model: str, scores: Sequence[Score]) -> ModelScores:
    graded = [one for one in scores if one.value is not None]
    lengths = [words(records, model, one) for one in graded]
    return ModelScores(
        model=model,
        overall=_interval(graded),
        turns={turn: found for turn in (1, 2) if (found := _interval(one for one in graded if one.turn == turn))},
        categories={
            category: found
            for category in dict.fromkeys(one.category for one in records.questions.values())
            if (found := _interval(one for one in graded if one.category == category))
        },
        graded=len(graded),
        ungraded=len(scores) - len(graded),
        missing=_expected(records, (model,)) - len(scores),
        noted=sum(one.note is not None for one in graded),
        words=sum(lengths) / len(lengths) if lengths else 0.0,
        length_correlation=correlation(lengths, [one.value for one in graded if one.value is not None]),
    )


def _expected(records: Records, models: Sequence[str]) -> int:
    """Judgments that a full evaluation has: of both turns of every question, of as many choices as each model gave."""
    choices = [max((len(answer) for answer in records.answers.get(model, {}).values()), default=1) for model in models]
    return 2 * len(records.questions) * min(choices)


def compare(records: Records, judge: str, a: str, b: str) -> Comparison | None:
    """B against A on the answers of both that the judge rated; None where there are none."""
    rated = {
        model: {one.key: one for one in records.scores.get(judge, ()) if one.model == model and one.value is not None}
        for model in (a, b)
    }
    values = {model: {key: one.value or 0.0 for key, one in found.items()} for model, found in rated.items()}
    found = paired(values[a], values[b])
    if found is None:
        return None
    both = [key for key in values[a] if key in values[b]]
    wins = [0.5 + 0.5 * ((values[b][key] > values[a][key]) - (values[b][key] < values[a][key])) for key in both]
    longer = [words(records, b, rated[b][key]) - words(records, a, rated[a][key]) for key in both]
    rate = sum(wins) / len(wins)
    return Comparison(models=(a, b), scores=found, win_rate=rate, length_controlled=length_controlled(wins, longer))


def _pair(records: Records, models: tuple[str, str], games: Sequence[Game]) -> PairResult:
    graded = [one for one in games if one.winners is not None]
    outcomes = [one.value for one in graded if one.value is not None]
    firsts = [won for one in graded for won in one.first_wins]
    longer = [words(records, models[0], one) - words(records, models[1], one) for one in graded]
    return PairResult(
        models=models,
        wins=outcomes.count(1.0),
        ties=outcomes.count(0.5),
        losses=outcomes.count(0.0),
        ungraded=len(games) - len(graded),
        missing=_expected(records, models) - len(games),
        win_rate=interval(outcomes, [one.question for one in graded]) if graded else None,
        length_controlled=length_controlled(outcomes, longer) if graded else None,
        consistency=sum(one.consistent for one in graded) / len(graded) if graded else None,
        first_shown=sum(firsts) / len(firsts) if len(firsts) >= FEW_GAMES else None,
        noted=sum(one.note is not None for one in graded),
    )


def words(records: Records, model: str, place: Score | Game) -> int:
    """Length of the answer to a turn; 0 where only its judgment is there."""
    choices = records.answers.get(model, {}).get(place.question, ())
    return len(choices[place.choice][place.turn - 1].split()) if place.choice < len(choices) else 0


def _interval(scores: Iterable[Score]) -> Interval | None:
    graded = [(one.value, one.question) for one in scores if one.value is not None]
    return interval([value for value, _ in graded], [question for _, question in graded]) if graded else None


def _agreements(records: Records, judges: Sequence[str]) -> Iterable[Agreement]:
    """Every pair of judges, on the answers and on the pairs of answers that both graded."""
    ratings = {judge: _graded(records.scores.get(judge, ())) for judge in judges}
    verdicts = {judge: _graded(records.games.get(judge, ())) for judge in judges}
    for pair, (mode, values) in itertools.product(
        itertools.combinations(judges, 2), (("single", ratings), ("pairwise", verdicts))
    ):
        one, other = (values[judge] for judge in pair)
        if both := [key for key in one if key in other]:
            a, b = [one[key] for key in both], [other[key] for key in both]
            yield Agreement(
                judges=pair,
                mode=mode,
                matches=len(both),
                same=sum(x == y for x, y in zip(a, b, strict=True)) / len(both),
                kappa=kappa(a, b),
                correlation=correlation(a, b),
            )


def _graded(found: Sequence[Score] | Sequence[Game]) -> dict[Hashable, float]:
    """{what was judged: rating, or 1, 0.5 and 0 for a pair}"""
    return {
        (one.model, *one.key) if isinstance(one, Score) else (one.models, *one.key): one.value
        for one in found
        if one.value is not None
    }
