"""The `reward` section: members of several kinds, and the rule that combines them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from alignkit import rewards
from alignkit.lookup import dotted_path
from alignkit.recipe.plain import plain
from alignkit.recipe.problems import KeyPath, dotted, split_advice
from alignkit.recipe.typed import INVALID, Checker, fields_of
from alignkit.rewards import rules
from alignkit.rewards.spec import KINDS, RewardSpec, RuleMember, kind_of


def check_reward(written: Any, checker: Checker, folder: Path) -> Any:
    """A `RewardSpec`, None where the recipe has no such section, or INVALID. `folder` holds the user's own rules."""
    if written is None:
        return None
    if not isinstance(written, dict) or not written:
        checker.report.add(
            ("reward",), "reward should be a mapping", "write reward: {members: [{model: PATH}]}", "value"
        )
        return INVALID
    members = _members(written.get("members"), checker, folder)
    find = partial(rewards.find, folder=folder)
    combine = _named(written.get("combine", RewardSpec.COMBINED), ("reward", "combine"), find, "name", checker)
    others = {key: value for key, value in written.items() if key not in ("members", "combine")}
    return checker.construct(RewardSpec, others, ("reward",), made={"members": members, "combine": combine})


def plain_reward(spec: RewardSpec) -> dict[str, Any]:
    """The section as plain data, every default filled in; `check_reward` reads it back as an equal spec."""
    members = []
    for member in spec.members:
        data = {key: value for key, value in plain(member).items() if value is not None}
        if isinstance(member, RuleMember):
            data |= {"rule": named(member.rule, rules.__name__), **plain(member.rule)}
        members.append(data)
    combine = {"name": named(spec.combine, rewards.RULES), **plain(spec.combine)}
    return {**plain(spec), "members": members, "combine": combine}


def named(value: object, package: str) -> str:
    """What a recipe calls the class of a value: its file in the package, or its dotted path."""
    cls = type(value)
    parent, _, module = cls.__module__.rpartition(".")
    return module if parent == package else dotted_path(cls)


def _members(written: Any, checker: Checker, folder: Path) -> Any:
    path: KeyPath = ("reward", "members")
    if not isinstance(written, list) or not written:
        what = "is missing" if written is None else "should be a list of mappings"
        checker.report.add(path, f"{dotted(path)} {what}", "write members: [{model: PATH}]", "value")
        return INVALID
    found = [_member(one, (*path, index), checker, folder) for index, one in enumerate(written)]
    return INVALID if any(one is INVALID for one in found) else tuple(found)


def _member(written: Any, path: KeyPath, checker: Checker, folder: Path) -> Any:
    if not isinstance(written, dict):
        checker.report.add(path, f"{dotted(path)} should be a mapping", "write {model: PATH}", "value")
        return INVALID
    try:
        kind = kind_of(written)
    except ValueError as error:
        what, instead = split_advice(str(error))
        checker.report.add(path, f"{dotted(path)} {what}", instead)
        return INVALID
    if kind != "rule":
        return checker.construct(KINDS[kind], written, path)
    common = {key: value for key, value in written.items() if key in fields_of(RuleMember) and key != "rule"}
    hyperparameters = {key: value for key, value in written.items() if key not in common}
    rule = _named(hyperparameters, path, partial(rules.find, folder=folder), "rule", checker)
    return checker.construct(RuleMember, common, path, made={"rule": rule})


def _named(written: Any, path: KeyPath, find: Callable[[str], type], key: str, checker: Checker) -> Any:
    """An instance of the class that `key` names, its hyperparameters beside it; a name alone is short for it."""
    section = {key: written} if isinstance(written, str) else written
    if not isinstance(section, dict) or not isinstance(section.get(key), str):
        checker.report.add(path, f"{dotted(path)} should name a rule", f"write {path[-1]}: {{{key}: NAME}}", "value")
        return INVALID
    try:
        cls = find(section[key])
    except Exception as error:  # a dotted name imports a user's module, which may fail in any way
        where = path if isinstance(written, str) else (*path, key)
        checker.report.add(where, *split_advice(f"{dotted(where)}: {error}"), part="value")
        return INVALID
    return checker.construct(cls, section, path, also=[key])
