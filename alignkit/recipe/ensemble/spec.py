"""What a recipe says about an ensemble: the `ensemble:` section."""

from dataclasses import dataclass
from typing import Literal, get_args

Form = Literal["models", "lora", "heads"]


@dataclass(frozen=True, kw_only=True)
class EnsembleSpec:
    """Several reward models from the same data, apart in their seeds: new heads, new adapters and the order of rows.

    Source: Coste et al. 2024, arXiv:2310.02743, section 4, where members differ in just this.
    """

    size: int = 5  # members; the seed of member i is train.seed + i
    form: Form = "lora"  # models: all weights each; lora: an adapter each; heads: a head each on the frozen model

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"size = {self.size} must be at least 2; without the section one reward model is trained")
        if self.form not in get_args(Form):
            raise ValueError(f"form = {self.form!r} is not known; choose from {', '.join(get_args(Form))}")
