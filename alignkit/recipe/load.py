"""Reading a recipe: a file and overrides in, a checked `Recipe` or every problem out."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignkit import objectives
from alignkit.data.spec import DataSpec, Source
from alignkit.generation.spec import SampleSpec
from alignkit.models.spec import Adapter, ModelSpec
from alignkit.objectives import Objective
from alignkit.recipe.contradictions import Written, check_contradictions
from alignkit.recipe.document import Report
from alignkit.recipe.ensemble.spec import EnsembleSpec
from alignkit.recipe.evaluation.spec import EvaluationSpec
from alignkit.recipe.local_paths import make_absolute
from alignkit.recipe.overrides import apply_overrides
from alignkit.recipe.problems import Problem, RecipeError, split_advice
from alignkit.recipe.report_section import check_report
from alignkit.recipe.reward_section import check_reward
from alignkit.recipe.rl_spec import RLSpec
from alignkit.recipe.schema import FAMILIES, Recipe, config_class, family_of, refusal
from alignkit.recipe.shipped import resolve_recipe
from alignkit.recipe.summary.spec import SummarySpec
from alignkit.recipe.train_section import check_train, train_keys
from alignkit.recipe.typed import INVALID, Checker, fields_of
from alignkit.recipe.unknown import Unknown
from alignkit.recipe.yaml_source import MAX_BYTES, read_yaml
from alignkit.rewards.spec import RewardSpec

SECTIONS = {
    "objective": "write objective: {name: dpo}",
    "model": "write model: {path: NAME}",
    "data": "write data: {train: [{source: FILE}]}",
    "train": "",
    "report": "",
    "summary": "",
    "teachers": "",
    "reward": "",
    "ensemble": "",
    "evaluation": "",
    "sample": "",
    "profile": "",
    "rl": "",
}


def load(
    path: str | Path, overrides: Sequence[str] = (), *, uses: Collection[str] = (), code: Path | None = None
) -> Recipe:
    """The recipe in a file, with `overrides` such as `objective.beta=0.05` written over it.

    `path` may also name a shipped recipe: `dpo/tiny`. Paths in the file are relative to its folder, paths in overrides
    to the working directory; both become absolute. `uses` are sections that a command reads whatever the method does:
    `reward` is otherwise refused where nothing is rewarded: by the method, or by `sample`. `code` is the folder of the
    classes that dotted names lead to, unless it is the recipe's.

    Raises:
        RecipeError: everything that is wrong with it.
    """
    file = resolve_recipe(path)
    name = _shown(file)
    document, report = read_yaml(_text(file, name), name)
    if not isinstance(document.data, dict):
        what = "is empty" if document.data is None else "is not a mapping of sections"
        report.add((), what, "write objective, model, data and train")
        raise RecipeError(report.problems())
    apply_overrides(overrides, report)
    if isinstance(document.data.get("objective"), str):
        document.data["objective"] = {"name": document.data["objective"]}  # `objective: dpo` is short for its name
    make_absolute(report, file.parent.absolute())
    recipe = _Sections(report, uses, code or file.parent.absolute()).check(file)
    if recipe is None or report:
        raise RecipeError(report.problems())
    return recipe


class _Sections:
    """The sections of one document, checked one after the other."""

    def __init__(self, report: Report, uses: Collection[str], folder: Path) -> None:
        self.report = report
        self.folder = folder  # of dotted names
        self.data: Mapping[str, Any] = report.document.data
        self.uses = {*uses, *(["reward"] if "sample" in self.data else [])}
        self.objective = self._objective_class()
        keys = {
            "objective": ["name", *(fields_of(self.objective) if self.objective else ())],
            "model": fields_of(ModelSpec),
            "model.adapter": fields_of(Adapter),
            "train": train_keys(self.objective),
            "data": fields_of(DataSpec),
            "data.train.0": fields_of(Source),
            "summary": fields_of(SummarySpec),
            "reward": fields_of(RewardSpec),
            "ensemble": fields_of(EnsembleSpec),
            "evaluation": fields_of(EvaluationSpec),
            "sample": fields_of(SampleSpec),
            "rl": fields_of(RLSpec),
        }
        self.unknown = Unknown(report, keys)
        self.checker = Checker(report, self.unknown)

    def check(self, file: Path) -> Recipe | None:
        for key in self.data:
            if key not in SECTIONS:
                self.unknown(key, (key,), SECTIONS)
        objective = self._construct("objective", self.objective, also=["name"]) if self.objective else INVALID
        model = self._construct("model", ModelSpec)
        data = self._construct("data", DataSpec)
        train, settings = check_train(self._mapping("train"), self.objective, self.checker, self.unknown)
        trackers = check_report(self.data.get("report"), self.checker)
        summary = self.checker.construct(SummarySpec, self._mapping("summary"), ("summary",))
        teachers = self.checker.check(tuple[ModelSpec, ...], self.data.get("teachers") or [], ("teachers",))
        reward = check_reward(self.data.get("reward"), self.checker, self.folder)
        ensemble = self.checker.check(EnsembleSpec | None, self.data.get("ensemble"), ("ensemble",))
        evaluation = self.checker.check(EvaluationSpec | None, self.data.get("evaluation"), ("evaluation",))
        sample = self.checker.check(SampleSpec | None, self.data.get("sample"), ("sample",))
        profile = self.checker.check(bool, self.data.get("profile", False), ("profile",))
        rl = self.checker.check(RLSpec | None, self.data.get("rl"), ("rl",))
        self._together(objective, model, data, train, settings, teachers, reward, ensemble, rl)
        others = (trackers, summary, teachers, reward, ensemble, evaluation, sample, profile, rl)
        if self.report or any(section is INVALID for section in (objective, model, data, settings, *others)):
            return None
        return Recipe(
            objective=objective,
            model=model,
            data=data,
            train=train,
            settings=settings,
            report=trackers,
            summary=summary,
            teachers=teachers,
            reward=reward,
            ensemble=ensemble,
            evaluation=evaluation,
            sample=sample,
            profile=profile,
            rl=rl,
            path=file,
        )

    def _objective_class(self) -> type[Objective] | None:
        """The class that `objective.name` names; None after reporting that there is none."""
        section = self._mapping("objective")
        if "name" not in section:
            if section:
                self.report.add(("objective",), "objective.name is missing", f"choose from {_names()}")
            return None
        name = section["name"]
        if not isinstance(name, str):
            self.report.add(("objective", "name"), "objective.name should be text", f"choose from {_names()}", "value")
            return None
        try:
            found = objectives.find(name, self.folder)
        except Exception as error:  # a dotted name imports a user's module, which may fail in any way
            self.report.add(("objective", "name"), *split_advice(str(error) or type(error).__name__), part="value")
            return None
        if family_of(found) is None or not dataclasses.is_dataclass(found):
            kinds = ", ".join(base.__name__ for base in FAMILIES)
            what = f"objective.name = {name!r} is of no family that a trainer takes"
            self.report.add(("objective", "name"), what, f"choose one of {kinds}", "value")
            return None
        return found

    def _construct(self, section: str, cls: Any, also: Sequence[str] = ()) -> Any:
        """An instance of a section's class; INVALID after reporting a section that is missing or no mapping."""
        written = self._mapping(section)
        return self.checker.construct(cls, written, (section,), also) if written else INVALID

    def _mapping(self, section: str) -> dict[str, Any]:
        value = self.data.get(section)
        if isinstance(value, dict) and (value or not SECTIONS[section]):
            return value
        if value is None or value == {}:
            if SECTIONS[section]:
                self.report.add((section,), f"{section} is missing", SECTIONS[section])
        else:
            self.report.add((section,), f"{section} should be a mapping", SECTIONS[section], "value")
        return {}

    def _together(
        self,
        objective: Any,
        model: Any,
        data: Any,
        train: dict[str, Any],
        settings: Any,
        teachers: Any,
        reward: Any,
        ensemble: Any,
        rl: Any,
    ) -> None:
        if self.objective is None:
            return
        config = config_class(self.objective)
        complete = not self.report.touches("train")
        defaults = {f.name: f.default for f in dataclasses.fields(config) if f.default is not dataclasses.MISSING}
        written = Written(
            train=train,
            settings=None if settings is INVALID else settings,
            objective=None if objective is INVALID else objective,
            family=family_of(self.objective),
            model=None if model is INVALID else model,
            data=None if data is INVALID else data,
            teachers=() if teachers is INVALID else teachers,
            reward=None if reward is INVALID else reward,
            ensemble=None if ensemble is INVALID else ensemble,
            rl=None if rl is INVALID else rl,
            reward_is_wrong=reward is INVALID,
            uses=self.uses,
            defaults=defaults if complete else {},
        )
        check_contradictions(written, self.report)
        if not self.report.touches("train") and (said := refusal(config, train)):
            named = [key for key in train if key in said]
            where = ("train", named[0]) if named else ("train",)
            self.report.add(where, f"TRL refuses these options of train: {said}")


def _names() -> str:
    takes = [name for name in objectives.names() if family_of(objectives.find(name))]
    return ", ".join(takes)


def _text(file: Path, name: str) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        return content.decode("utf-8-sig")
    except OSError as error:
        raise RecipeError([Problem(file=name, what=f"cannot be read: {error.strerror or error}")]) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"byte {content[error.start]:#04x} is not UTF-8"
        raise RecipeError([Problem(file=name, line=line, what=what, instead="save the file as UTF-8")]) from None


def _shown(file: Path) -> str:
    """A path as short as it can be said from the working directory."""
    try:
        return str(file.absolute().relative_to(Path.cwd())) if file.is_absolute() else str(file)
    except ValueError:
        return str(file)
