"""From questions to a report: answer, judge, count, each step going on where an earlier run stopped."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from alignkit.evaluation.answers import Answerer, Answers, Folder, answer, file_name, load_answers, use_questions
from alignkit.evaluation.errors import EvaluationError
from alignkit.evaluation.judges import Judge
from alignkit.evaluation.judging import Judging, Match, matches
from alignkit.evaluation.markdown import markdown
from alignkit.evaluation.page import page
from alignkit.evaluation.parse import Ungraded
from alignkit.evaluation.prompts import Prompts
from alignkit.evaluation.questions import Questions
from alignkit.evaluation.records import Judged, Records, read_records
from alignkit.evaluation.report import Report, make_report

How = Literal["single", "pairwise-baseline", "pairwise-all"]
Progress = Callable[[str, int, int], None]  # (what is done, how many of it, of how many)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Models that answer, and judges of their answers, in one folder."""

    folder: Folder
    questions: Questions
    models: Mapping[str, Answerer | None]  # by name; None: the answers are in the folder already
    judges: Sequence[Judge]
    prompts: Prompts
    mode: How = "single"
    baseline: str | None = None  # a model, for pairwise-baseline

    def __post_init__(self) -> None:
        if self.mode == "pairwise-baseline" and self.baseline not in self.models:
            names = ", ".join(self.models)
            raise EvaluationError(
                f"the baseline {self.baseline!r} is none of the models {names}; write --baseline NAME"
            )
        if self.mode != "single" and len(self.models) < 2:
            raise EvaluationError(f"{self.mode} compares models with each other; name at least two")
        files = [file_name(judge.name) for judge in self.judges]
        if len({*files}) < len(files):
            raise EvaluationError("two judges have one name; their judgments would be mixed up")

    @property
    def pairs(self) -> list[tuple[str, str]] | None:
        """Models whose answers are compared, the baseline second; None: every answer is judged alone."""
        if self.mode == "single":
            return None
        if self.mode == "pairwise-baseline":
            return [(name, str(self.baseline)) for name in self.models if name != self.baseline]
        return [*itertools.combinations(self.models, 2)]

    @property
    def warnings(self) -> list[str]:
        """Judges that judge themselves."""
        own = {name: str((one.settings if one else {}).get("model", name)) for name, one in self.models.items()}
        return [
            f"{judge.name} judges its own answers, {name}: models prefer what they would say themselves"
            for judge in self.judges
            for name, model in own.items()
            if judge.name in (name, model) or judge.identity.get("model") == model
        ]

    def answer(self, progress: Progress) -> list[str]:
        """Ask the models what they have not answered yet; what went wrong."""
        use_questions(self.folder, self.questions)
        problems = []
        for name, answerer in self.models.items():
            if answerer is None:
                if not self.folder.answers(name).is_file():
                    raise EvaluationError(f"there are no answers of {name}: no file {self.folder.answers(name)}")
                continue
            total = len(self.questions.questions)
            done = total - len(self.unanswered(name))
            for question, error in answer(self.folder, name, answerer, self.questions.questions):
                done += error is None
                progress(f"answers of {name}", done, total)
                if error is not None:
                    problems.append(f"{name} did not answer question {question.id}: {error}")
        return problems

    def unanswered(self, model: str) -> list[int]:
        """Questions that a model has not answered."""
        done = load_answers(self.folder, model)
        return [one.id for one in self.questions.questions if one.id not in done]

    def judgings(self, assumed: str | None = None) -> list[tuple[Judging, list[Match]]]:
        """Each judge with the matches that it has not judged. `assumed` stands for the answers that are not there."""
        answers: dict[str, Answers] = {name: load_answers(self.folder, name) for name in self.models}
        if assumed is not None:
            every = {one.id: ((assumed, assumed),) for one in self.questions.questions}
            answers = {name: {**every, **found} for name, found in answers.items()}
        wanted = matches(self.questions.questions, answers, self.pairs)
        found = [Judging(judge=judge, prompts=self.prompts, folder=self.folder) for judge in self.judges]
        return [(judging, judging.open(wanted)) for judging in found]

    def judge(self, progress: Progress) -> list[str]:
        """Ask the judges what is not judged yet; what went wrong.

        Raises:
            Refused: a judge will answer nothing.
        """
        problems = []
        for judging, wanted in self.judgings():
            for done, (match, found) in enumerate(judging.run(wanted), 1):
                progress(f"judged by {judging.judge.name}", done, len(wanted))
                if isinstance(found, Ungraded):
                    who = " and ".join(match.models)
                    problems.append(f"{who}, question {match.question.id}, turn {match.turn}: {found.reason}")
        return problems

    def missing(self, records: Records) -> tuple[int, int]:
        """(judgments that this evaluation lacks, judgments that it should have)"""
        choices = {
            name: max((len(one) for one in found.values()), default=1) for name, found in records.answers.items()
        }
        sides = [(name,) for name in self.models] if self.pairs is None else self.pairs
        wanted = {
            (judge.name, side, question.id, turn, choice)
            for judge, side, question, turn in itertools.product(self.judges, sides, self.questions.questions, (1, 2))
            for choice in range(min(choices.get(name, 1) for name in side))
        }
        scores = ((judge, (one.model,), one) for judge, found in records.scores.items() for one in found)
        games = ((judge, one.models, one) for judge, found in records.games.items() for one in found)
        judged: list[tuple[str, tuple[str, ...], Judged]] = [*scores, *games]
        graded = {(judge, side, *one.key) for judge, side, one in judged if one.value is not None}
        return len(wanted - graded), len(wanted)


def write_report(folder: Folder, title: str, warnings: Sequence[str] = ()) -> tuple[Report, Records]:
    """The report of a folder as report.md, report.json and report.html in it."""
    records = read_records(folder)
    report = make_report(records, title, warnings)
    (folder.path / "report.md").write_text(markdown(report), encoding="utf-8")
    text = json.dumps(report.plain(), indent=2, ensure_ascii=False)
    (folder.path / "report.json").write_text(text + "\n", encoding="utf-8")
    (folder.path / "report.html").write_text(page(report, records), encoding="utf-8")
    return report, records
