"""Local files that a recipe names, made absolute so that it means the same from anywhere.

A path in the file is relative to the file's folder; a path in an override to the working directory, as shells complete
it. A model may also lie under the working directory, where an earlier recipe's `output_dir` put it.
"""

from pathlib import Path
from typing import Any

from alignkit.models.spec import NOT_ON_THE_HUB
from alignkit.recipe.document import Report
from alignkit.recipe.evaluation.spec import STARTER
from alignkit.recipe.problems import KeyPath, dotted

_EXPLICIT = ("/", "./", "../", "~")  # beginnings that no Hub id has
_DATA_FILES = {".jsonl", ".json", ".csv", ".parquet", ".arrow"}


def make_absolute(report: Report, folder: Path) -> None:
    """Rewrite the local paths of a document; report those that must be local and do not exist."""
    cwd = Path.cwd()
    data = report.document.data
    teachers = data.get("teachers")
    models: list[tuple[KeyPath, Any]] = [(("model",), data.get("model"))]
    models += [(("teachers", i), one) for i, one in enumerate(teachers if isinstance(teachers, list) else ())]
    for where, model in models:
        for key in ("path", "tokenizer", "chat_template") if isinstance(model, dict) else ():
            if isinstance(model.get(key), str) and not model[key].startswith(NOT_ON_THE_HUB):
                extra = [] if key == "chat_template" else [cwd]
                _rewrite(model, key, (*where, key), [folder, *extra], report, must_exist=key == "chat_template")
    section = data.get("reward")
    members = section.get("members") if isinstance(section, dict) else None
    for index, member in enumerate(members if isinstance(members, list) else ()):
        for key in ("model", "ensemble") if isinstance(member, dict) else ():
            if isinstance(member.get(key), str):
                where = ("reward", "members", index, key)
                _rewrite(member, key, where, [folder, cwd], report, must_exist=key == "ensemble")
    section = data.get("evaluation")
    if isinstance(section, dict) and isinstance(section.get("questions"), str) and section["questions"] != STARTER:
        _rewrite(section, "questions", ("evaluation", "questions"), [folder, cwd], report, must_exist=False)
    section = data.get("rl")
    if isinstance(section, dict) and isinstance(section.get("samples"), str):
        _rewrite(section, "samples", ("rl", "samples"), [folder, cwd], report, must_exist=True)
    section = data.get("data")
    for split in ("train", "eval"):
        sources = section.get(split) if isinstance(section, dict) else None
        for index, source in enumerate(sources if isinstance(sources, list) else ()):
            if isinstance(source, dict) and isinstance(source.get("source"), str):
                is_file = Path(source["source"]).suffix in _DATA_FILES
                path = ("data", split, index, "source")
                _rewrite(source, "source", path, [folder], report, must_exist=is_file)
                if isinstance(source.get("ratings"), str):
                    _rewrite(source, "ratings", (*path[:-1], "ratings"), [folder], report, must_exist=True)
    if isinstance(section, dict) and isinstance(section.get("teacher_scores"), str):
        written = report.document.mark(("data", "teacher_scores"), "value").line is not None
        section["teacher_scores"] = str((folder if written else cwd) / Path(section["teacher_scores"]).expanduser())


def _rewrite(
    holder: dict[str, Any], key: str, path: KeyPath, folders: list[Path], report: Report, must_exist: bool
) -> None:
    text = holder[key]
    if report.document.mark(path, "value").line is None:
        folders = [Path.cwd(), *folders]
    for folder in folders:
        try:
            found = folder / Path(text).expanduser()
            if text.strip() and found.exists():
                holder[key] = str(found.resolve())
                return
        except (OSError, RuntimeError, ValueError):  # too long, no such user's home, a null character
            break
    if must_exist or text.startswith(_EXPLICIT):
        places = " or ".join(dict.fromkeys(str(folder) for folder in folders))
        report.add(path, f"{dotted(path)} = {text[:80]!r} does not exist", f"looked in {places}", "value")
