"""From a recipe's `reward:` section to rewards that score."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from alignkit.lookup import own
from alignkit.models.cache import whole_weights
from alignkit.models.spec import ModelSpec
from alignkit.remote import Client
from alignkit.rewards._reward import Reward
from alignkit.rewards.ensemble import FILE, Calibration, Ensemble, Member
from alignkit.rewards.model import ModelReward
from alignkit.rewards.remote import RemoteReward
from alignkit.rewards.shared import load_members
from alignkit.rewards.spec import (
    EnsembleMember,
    FunctionMember,
    JudgeMember,
    MemberSpec,
    ModelMember,
    RemoteMember,
    RewardSpec,
    RuleMember,
)


def load_reward(spec: RewardSpec, base: Path) -> Ensemble:
    """The ensemble that a recipe asks for, ready to score. A single reward is an ensemble of one.

    Each process holds models whole, however the policy is split: it scores answers of its own, as many as it has.

    Args:
        spec: the `reward:` section.
        base: folder of the recipe, where functions beside it are found.

    Raises:
        ValueError: a member that cannot be loaded, or has no calibration although scores are normalised.
    """
    with whole_weights():
        members = [one for member in spec.members for one in load(member, base, spec.normalise == "zscore")]
    return Ensemble(
        members=members,
        combine=spec.combine,
        normalise=spec.normalise,
        on_member_failure=spec.on_member_failure,
    )


def load(spec: MemberSpec, base: Path, calibrated: bool) -> list[Member]:
    """A member, with the calibration that is written or lies in its folder if `calibrated` asks for it; of an ensemble
    all members, whose names begin with its own."""
    if isinstance(spec, EnsembleMember):
        options: dict[str, Any] = {"max_length": spec.max_length, "batch_tokens": spec.batch_tokens}
        found = load_members(Path(spec.ensemble), precision=spec.precision, **options)
        return [replace(member, name=f"{spec.label}/{member.name}", weight=spec.weight) for member in found]
    calibration = spec.calibration
    if calibrated and calibration is None and isinstance(spec, ModelMember) and (Path(spec.model) / FILE).is_file():
        calibration = Calibration.read(Path(spec.model))
    reward = LOADERS[type(spec)](spec, base)
    return [Member(name=spec.label, reward=reward, calibration=calibration, weight=spec.weight)]


def load_model_member(spec: ModelMember, base: Path) -> Reward:
    model = ModelSpec(path=spec.model, revision=spec.revision, precision=spec.precision)
    return ModelReward.load(model, max_length=spec.max_length, batch_tokens=spec.batch_tokens)


def load_function(spec: FunctionMember, base: Path) -> Reward:
    found = own(spec.function, base)
    if not callable(found):
        raise ValueError(f"{spec.function} is no function; a reward takes (prompts, completions, **columns)")
    return found


def load_rule(spec: RuleMember, base: Path) -> Reward:
    return spec.rule


def load_remote(spec: RemoteMember, base: Path) -> Reward:
    return RemoteReward(client=Client(spec), batch=spec.batch, columns=spec.columns)


def load_judge(spec: JudgeMember, base: Path) -> Reward:
    from alignkit.rewards.judge import JudgeReward  # here, since evaluation takes a second

    return JudgeReward(
        client=Client(spec),
        model=spec.judge,
        criteria=spec.criteria,
        reference=spec.reference,
        max_tokens=spec.max_tokens,
        temperature=spec.temperature,
    )


LOADERS: dict[type[MemberSpec], Callable[[Any, Path], Reward]] = {
    ModelMember: load_model_member,
    FunctionMember: load_function,
    RuleMember: load_rule,
    RemoteMember: load_remote,
    JudgeMember: load_judge,
}
