"""Members of a trained ensemble; adapters and heads share one backbone in memory."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from alignkit.models.read_once import backbone_of
from alignkit.models.reward import HEAD, is_head_alone
from alignkit.models.spec import ModelSpec, Precision
from alignkit.rewards._reward import Reward, Text
from alignkit.rewards.ensemble import FILE as CALIBRATION
from alignkit.rewards.ensemble import Calibration, Member
from alignkit.rewards.model import ModelReward

FILE = "ensemble.json"  # in the output folder of a recipe with an ensemble


def load_members(folder: Path, *, precision: Precision = "auto", **options: Any) -> list[Member]:
    """The members of a folder that a recipe with `ensemble:` wrote, each with its calibration if one is saved.

    Raises:
        ValueError: no such folder, or a member that cannot be loaded.
    """
    file = folder / FILE
    if not file.is_file():
        raise ValueError(f"{folder} holds no {FILE}; give the output folder of a recipe with ensemble:")
    found = json.loads(file.read_text(encoding="utf-8"))
    folders = {member["folder"]: folder / member["folder"] for member in found["members"]}
    specs = [ModelSpec(path=str(path), precision=precision) for path in folders.values()]
    loaded: list[Reward]
    if found["form"] == "models":
        loaded = [ModelReward.load(spec, **options) for spec in specs]
    else:
        shared = SharedReward.load_all(specs, [*folders], **options)
        loaded = [OneOf(shared=shared, number=number) for number in range(len(specs))]
    return [
        Member(name=name, reward=one, calibration=Calibration.read(path) if (path / CALIBRATION).is_file() else None)
        for (name, path), one in zip(folders.items(), loaded, strict=True)
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedReward(ModelReward):
    """Adapters by name on one backbone: scores of all of them, (M, N), from one tokenization.

    Heads without adapters also share the backbone's forward. The table of the last call is kept, so that members that
    are asked one after the other for the same answers cost one reading.
    """

    names: tuple[str, ...] = ()
    last: dict[str, Any] = field(default_factory=dict, repr=False)  # texts and table of the last call

    @classmethod
    def load_all(cls, specs: Sequence[ModelSpec], names: Sequence[str], **options: Any) -> "SharedReward":
        first = ModelReward.load(specs[0], **options)
        model: PeftModel = first.model
        for spec, name in zip(specs[1:], names[1:], strict=True):
            model.load_adapter(spec.path, adapter_name=name)
        return cls(model=model.eval(), tokenizer=first.tokenizer, names=(model.active_adapter, *names[1:]), **options)

    def table(self, prompts: Sequence[Text], completions: Sequence[Text]) -> tuple[Tensor, Tensor]:
        texts = ([*prompts], [*completions])
        if self.last.get("texts") != texts:
            self.last.update(texts=texts, table=super().table(prompts, completions))
        return self.last["table"]

    def read(self, inputs: Any) -> Tensor:
        if is_head_alone(self.model.peft_config[self.names[0]]):
            states = backbone_of(self.model)(**inputs, use_cache=False).last_hidden_state
            last = states[torch.arange(len(states)), inputs["attention_mask"].sum(dim=1) - 1]
            heads = getattr(self.model.get_base_model(), HEAD).modules_to_save
            return torch.stack([heads[name](last.to(heads[name].weight.dtype)).squeeze(-1) for name in self.names])
        found = []
        for name in self.names:
            self.model.set_adapter(name)
            found.append(super().read(inputs)[0])
        return torch.stack(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class OneOf:
    """A `Reward`: one member of those that share a backbone."""

    shared: SharedReward
    number: int

    def __call__(self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> Tensor:
        return self.shared.table(prompts, completions)[0][self.number]
