"""What a recipe says about its model: the `model:` section."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from alignkit.lookup import did_you_mean

Precision = Literal["auto", "float32", "bfloat16", "float16"]
Attention = Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"]
Quantization = Literal["none", "4bit", "8bit"]

COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
NOT_ON_THE_HUB = ("package:", "tiny:")  # prefixes of paths that name no Hub repository


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A LoRA adapter, trained in place of the model's own weights (Hu et al. 2021, arXiv:2106.09685).

    With `quantize` the frozen weights are stored in 4 or 8 bits (QLoRA, Dettmers et al. 2023, arXiv:2305.14314).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # read from YAML, an unknown key is an error

    rank: int = 16  # rank of the update of each matrix, at least 1
    alpha: float | None = None  # the update is scaled by alpha / rank; unset: 2 * rank
    dropout: float = 0.0  # probability of dropping an adapter's input, in [0, 1)
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"  # modules to adapt: all-linear, or [q_proj, ...]
    quantize: Quantization = "none"  # how the frozen weights are stored: none, 4bit or 8bit (needs bitsandbytes)
    dora: bool = False  # learn magnitudes apart from directions (DoRA, arXiv:2402.09353)

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank = {self.rank} must be at least 1; 8 to 64 is usual")
        if self.alpha is not None and self.alpha <= 0:
            raise ValueError(f"alpha = {self.alpha} must be positive; leave it out for 2 * rank")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout} must be at least 0 and below 1; 0 switches it off")
        if isinstance(self.targets, str) and self.targets != "all-linear":
            raise ValueError(f"targets = {self.targets!r} must be all-linear or a list; write [{self.targets}]")
        if not self.targets:
            raise ValueError("targets is empty; write all-linear or a list of module names such as [q_proj, v_proj]")
        if not isinstance(self.targets, str) and any(name.endswith("lm_head") for name in self.targets):
            raise ValueError(
                "targets must not contain lm_head: log-probs are computed from its weight, so an adapter there "
                "would never be trained; remove it from the list"
            )
        _one_of("quantize", self.quantize, Quantization)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which model is trained, and how it is held in memory."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    path: str  # Hub id, local folder (of a model or of an adapter), package:PACKAGE/FILE.gguf, or tiny:ARCHITECTURE
    revision: str | None = None  # branch, tag or commit of a Hub id; unset: main
    tokenizer: str | None = None  # where the tokenizer comes from (as path); unset: from the model
    chat_template: str | None = None  # Jinja file that replaces the tokenizer's chat template
    trust_remote_code: bool = False  # run the code of the Hub repository `path` at the commit `revision`
    adapter: Adapter | None = None  # train a LoRA adapter; unset: train all weights
    head_only: bool = False  # of reward models: train the new head alone, on a frozen model that reads each text once
    precision: Precision = "auto"  # number format of the computation; auto: bfloat16 on GPUs that have it, else float32
    attention: Attention = "auto"  # attention kernel; auto: flash_attention_2 where it is installed, else SDPA

    def __post_init__(self) -> None:
        if not self.path.strip():
            raise ValueError("path is empty; write a Hub id such as Qwen/Qwen2.5-0.5B-Instruct or a local folder")
        if self.revision is not None and self.path.startswith(NOT_ON_THE_HUB):
            raise ValueError(f"revision = {self.revision!r} has no meaning for {self.path!r}; remove it")
        pinned = HUB_REPOSITORY.fullmatch(self.path) and COMMIT.fullmatch(self.revision or "")
        if self.trust_remote_code and not pinned:
            raise ValueError(
                "trust_remote_code runs code that others wrote: it needs a path of the form owner/name on the Hub, and "
                "the commit that you have read, all 40 digits, as revision"
            )
        if self.head_only and self.adapter is not None:
            raise ValueError("head_only: true freezes what model.adapter would train; remove one of the two")
        _one_of("precision", self.precision, Precision)
        _one_of("attention", self.attention, Attention)


def _one_of(field: str, value: str, choices: Any) -> None:
    """Refuse a value outside a Literal: dataclasses do not check it themselves."""
    if value not in get_args(choices):
        raise ValueError(f"{field} = {value!r} is not known{did_you_mean(value, get_args(choices))}")
