"""No update from a loss or a gradient that is no finite number, and the rows that it came from, written down.

Mixed in below `SurvivingTrainer`.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from transformers import Trainer

from alignkit.trainers import _seams

Policy = Literal["stop", "skip"]


class Diverged(RuntimeError):
    """The loss or its gradient is no finite number. No update was made from it."""


@dataclass(frozen=True)
class Seen:
    """Rows of a micro-batch, as they are until somebody asks for their text."""

    ids: Tensor  # (R, T)
    mask: Tensor | None  # (R, T); None: every id is one
    bad: Tensor  # (R,) of bool: whose loss is no number

    def texts(self, processor: Any, wanted: Tensor) -> list[str]:
        """Of the wanted rows, (R,) of bool."""
        mask = torch.ones_like(self.ids) if self.mask is None else self.mask
        return [processor.decode(self.ids[row][mask[row].bool()]) for row in wanted.nonzero().flatten().tolist()]


class FiniteTrainer(Trainer):
    """Makes no update from numbers that are none.

    `on_nonfinite` says what happens where a loss or a gradient is NaN or infinite on any rank: "stop" raises
    `Diverged`, "skip" leaves the step out. Either way OUTPUT/nonfinite-STEP.json has the rows: those whose loss it is,
    or for a gradient all that this rank's share of the step was made of.
    """

    model: Any  # transformers declares what it may be before a trainer stands
    on_nonfinite: Policy = "stop"
    answers_lie_together: ClassVar[bool] = False  # of a group; else all first answers come first, as those of pairs do

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._micro_batch: Any = {}  # that is trained
        self._seen: list[Seen] = []  # the micro-batches of this step
        super().__init__(*args, **kwargs)
        refuse_unchecked(self.accelerator.state.deepspeed_plugin)

    def guarded(self, loss: Tensor, terms: Tensor) -> Tensor:
        """A loss whose gradient is NaN where one of its terms, (rows, ...), is not finite; their rows are noted.

        A term that is infinite may still have a finite gradient, and DeepSpeed moves weights within backward, unless
        the gradient's norm is NaN or infinite.
        """
        bad = ~terms.detach().isfinite()
        if bad.ndim > 1:
            bad = bad.flatten(1).any(dim=1)
        ids, mask = self.rows(self._micro_batch)
        copies = len(ids) / max(len(bad), 1)
        if not copies.is_integer():  # answers of unlike numbers: it may be any of them
            rows = bad.any().expand(len(ids))
        elif self.answers_lie_together:
            rows = bad.repeat_interleave(int(copies))
        else:
            rows = bad.repeat(int(copies))
        self._seen.append(Seen(ids, mask, rows))
        return loss * math.nan if bad.any() else loss

    def rows(self, inputs: Any) -> tuple[Tensor, Tensor | None]:
        """Token ids of a micro-batch, (R, T), and the mask that says which are some."""
        return inputs["input_ids"], inputs.get("attention_mask")

    def _prepare_inputs(self, inputs: Any) -> Any:
        """transformers', or that of a method which samples its answers here."""
        prepared = super()._prepare_inputs(inputs)
        if self.model.training:
            self._micro_batch = prepared
        return prepared

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Called once a step, before the optimizer moves. DeepSpeed has moved it already, or refused the gradient."""
        norm = super()._get_grad_norm(model, grad_norm)
        finite = norm is None or math.isfinite(float(norm)) or self._scale_may_fall()
        error = self._diverged(not finite)
        self._seen = []
        if error is None:
            return norm
        if self.on_nonfinite == "stop":
            raise error
        for weight in model.parameters():
            weight.grad = None  # an optimizer leaves a weight without gradient alone
        _seams.record(self, "train", {"skipped_steps": 1.0})
        return norm

    def _scale_may_fall(self) -> bool:
        """Whether float16's scaler, which leaves out steps that overflow and halves its scale, may mend the next one.

        At a scale of one the gradient itself is no number. DeepSpeed has a scaler of its own, which ends the run there.
        """
        scaler = self.accelerator.scaler
        return self.args.fp16 and (scaler is None or scaler.get_scale() > 1)

    def _diverged(self, gradient: bool) -> Diverged | None:
        """The error if a loss on any rank, or else the gradient, is not finite; its ranks write their rows down."""
        own = any(seen.bad.any() for seen in self._seen)
        flags = torch.tensor([own, gradient], device=self.accelerator.device)
        losses, gradients = self.accelerator.gather(flags[None].int()).T.tolist()
        if not any((*losses, *gradients)):
            return None
        # one rank's loss makes the gradient of all what it is
        what, bad = ("loss", losses) if any(losses) else ("gradient", gradients)
        ranks = [rank for rank, flag in enumerate(bad) if flag]
        step, rank = self.state.global_step + 1, self.accelerator.process_index
        file = Path(str(self.args.output_dir)) / f"nonfinite-{step}.json"
        if rank in ranks:
            record = {"step": step, "rank": rank, "what": what, "rows": self._texts(losses=what == "loss")}
            place = file if rank == ranks[0] else file.with_stem(f"{file.stem}-rank{rank}")
            place.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return Diverged(
            f"the {what} is not finite at step {step} (rank {', '.join(map(str, ranks))}). No update was made from it. "
            f"Rows: {file}. Try a smaller train.learning_rate than {self.args.learning_rate:g}, a smaller "
            "train.max_grad_norm, or train.on_nonfinite: skip to leave such steps out"
        )

    def _texts(self, losses: bool) -> list[str]:
        """The rows whose loss is no number; for a gradient all rows of the step."""
        texts: list[str] = []
        for seen in self._seen:
            texts += seen.texts(self.processing_class, seen.bad if losses else torch.ones(len(seen.ids)))
        return texts


def refuse_unchecked(plugin: Any) -> None:
    """DeepSpeed, which moves weights within backward, leaves out what is no number only where it takes the norm.

    ZeRO-3 always does, the others unless they are told not to; without ZeRO and in float32 it never does.
    """
    if plugin is None:
        return
    config = plugin.deepspeed_config
    zero, bfloat16 = config.get("zero_optimization", {}), config.get("bf16", {})
    stage = zero.get("stage", 0)
    if stage == 3:
        return
    if stage == 0 and config.get("fp16", {}).get("enabled") is not True:
        setting = "zero_optimization.stage: 0"
    elif not zero.get("compute_grad_norm", True):
        setting = "zero_optimization.compute_grad_norm: false"
    elif not bfloat16.get("check_grad_overflow", True):
        setting = "bf16.check_grad_overflow: false"
    else:
        return
    raise ValueError(
        f"DeepSpeed with {setting} updates weights from gradients that are no numbers. Take a configuration of "
        "recipes/accelerate, or leave this setting of yours to its default"
    )
