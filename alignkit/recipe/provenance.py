"""What a checkpoint must carry so that its run can be repeated: the recipe, versions, code, data and command."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import alignkit
from alignkit.lookup import dotted_path, own_file
from alignkit.recipe.dump import to_yaml
from alignkit.recipe.schema import Recipe
from alignkit.redaction import redact, redact_command
from alignkit.rewards.spec import FunctionMember, RuleMember

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


def save_provenance(recipe: Recipe, folder: str | Path, fingerprints: Mapping[str, str]) -> None:
    """Write recipe.yaml and provenance.json into a checkpoint's folder. Secrets are left out.

    `fingerprints` are those of the datasets, by source. Training from recipe.yaml repeats the run: files beside the
    recipe that hold its objective or its rewards come along.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(to_yaml(redact(recipe.resolved())), encoding="utf-8")
    _copy_code(recipe, folder)
    text = json.dumps(redact(provenance(recipe, fingerprints)), indent=2, ensure_ascii=False)
    (folder / "provenance.json").write_text(text + "\n", encoding="utf-8")


def _copy_code(recipe: Recipe, folder: Path) -> None:
    base = recipe.base.absolute()
    for path in dotted_paths(recipe):
        file = own_file(path, base)
        if file is not None and folder.resolve() != base.resolve():
            target = folder / file.relative_to(base)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def dotted_paths(recipe: Recipe) -> list[str]:
    """The names in a recipe that lead to code of the user's own: its objective, and what its reward is made of."""
    reward = recipe.reward
    made = [recipe.objective, *([reward.combine] if reward else [])]
    functions = []
    for member in reward.members if reward else ():
        made += [member.rule] if isinstance(member, RuleMember) else []
        functions += [member.function] if isinstance(member, FunctionMember) else []
    return [*map(dotted_path, map(type, made)), *functions]


def provenance(recipe: Recipe, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """Everything but the recipe itself."""
    return {
        "recipe": None if recipe.path is None else str(Path(recipe.path).absolute()),
        "command": redact_command(sys.argv),
        "versions": versions(),
        "git": git_state(Path.cwd()),
        "datasets": dict(fingerprints),
        "world_size": process_count(),
    }


def process_count() -> int:
    """Of the run that is launched; known before they are joined."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def versions() -> dict[str, str | None]:
    """Versions of alignkit, Python and the packages that a result depends on; None for one that is not installed."""
    found: dict[str, str | None] = {"alignkit": alignkit.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the repository that holds `folder`, and whether tracked files differ from it; None outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": _git(folder, "status", "--porcelain", "--untracked-files=no") != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(folder), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
