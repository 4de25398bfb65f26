"""What keeps a run whole beside its checkpoints: no update from numbers that are none, and an end in order.

Mixed in below `ObjectiveTrainer`, so every trainer has it.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers.trainer_utils import get_last_checkpoint

from alignkit import checkpoints
from alignkit.trainers import _draws, _seams
from alignkit.trainers._interruption import Interrupted, Interruption, StoppedInEvaluation
from alignkit.trainers._saving import SavingTrainer
from alignkit.trainers._watch import Watch

Policy = Literal["stop", "skip"]


class Diverged(RuntimeError):
    """The loss or its gradient is no finite number. No update was made from it."""


class SurvivingTrainer(SavingTrainer):
    """Saves aside and renames, resumes to the bit, refuses updates that are not finite, and stops in order.

    `on_nonfinite` says what happens where a loss or a gradient is NaN or infinite on any rank: "stop" raises
    `Diverged`, "skip" leaves the step out. Either way the rows are written to OUTPUT/nonfinite-STEP.json. A rank that
    has not moved for `rank_timeout` seconds ends the run.
    """

    on_nonfinite: Policy = "stop"
    rank_timeout: float = 1800.0
    verified: Path | None = None  # a checkpoint that is known to be whole and this user's own; others are looked at

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.interruption = Interruption()
        self.watch = Watch()
        self._inputs: dict[str, Any] = {}  # of the micro-batch that is trained
        self._bad_loss = False  # in this step, on this rank
        self._suspects: list[str] = []  # texts of the rows whose loss it is
        super().__init__(*args, **kwargs)
        refuse_unchecked(self.accelerator.state.deepspeed_plugin)
        self.add_callback(self.interruption)
        self.add_callback(self.watch)

    @property
    def interrupted(self) -> bool:
        """Whether training ended because a signal asked for it."""
        return self.interruption.stopped

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As transformers', from a checkpoint where its path is given.

        Raises:
            ValueError: the checkpoint is damaged, or not known to be this user's own: it holds pickles; or processes
                would go on from different ones.
            Interrupted: after SIGTERM, SIGUSR1 or Ctrl-C, when the step is finished and saved.
            Diverged: a loss or gradient that is not finite, unless such steps are skipped.
            NotSaved: a checkpoint could not be written.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = get_last_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise ValueError(f"there is no checkpoint in {self.args.output_dir}")
        self._resumed = Path(resume_from_checkpoint) if resume_from_checkpoint else None
        resume_from_checkpoint = str(self._resumed) if self._resumed else None
        if self._resumed is not None and self._resumed != self.verified:
            checkpoints.refuse_unfit(self._resumed)
        if len(places := dict.fromkeys(gather_object([resume_from_checkpoint]))) > 1:
            raise ValueError(f"processes would go on from different checkpoints: {', '.join(map(str, places))}")
        self.watch.seconds = self.rank_timeout
        try:
            result = super().train(resume_from_checkpoint, *args, **kwargs)
        except StoppedInEvaluation:  # between two steps, so that a checkpoint is exact
            self._save_checkpoint(self.model, None)
        except Exception as error:
            if self.back_to_last_step(error):
                self.args.save_only_model = False  # a run is to go on from it
                self._save_checkpoint(self.model, None)
                error.add_note(f"step {self.state.global_step} is saved; --resume auto goes on from it")
            raise
        finally:
            self.interruption.release()
            self.watch.release()  # also where training failed: a process that goes on to something else is not missing
        if self.interrupted:
            raise Interrupted(f"stopped and saved at step {self.state.global_step}; --resume auto goes on")
        return result

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers', with draws of its own: training is the same without it, and where it is cut short."""
        with _draws.apart():
            return super().evaluate(*args, **kwargs)

    def back_to_last_step(self, error: Exception) -> bool:
        """Undo what a step that failed has done so far, so that the one before can be saved; False where it cannot."""
        return False

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """As without a signal; all of a run after one, where weights alone are asked for, so that it can go on."""
        if self.interrupted:
            self.args.save_only_model = False
        super()._save_checkpoint(model, trial)

    def _load_best_model(self) -> None:
        """At the end, not where a signal came: the time that is left is for the checkpoint."""
        if not self.interrupted:
            super()._load_best_model()

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """transformers'; no batches where the last step is done, from whose checkpoint it would go one step too far."""
        if self.state.global_step >= self.state.max_steps:
            return [], None
        samples = super().get_batch_samples(*args, **kwargs)
        self.watch.moved()  # the data are there; what follows waits for the other ranks
        return samples

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        self._inputs = inputs
        self.watch.moved()
        return super().training_step(model, inputs, num_items_in_batch)

    def guarded(self, loss: Tensor, terms: Tensor) -> Tensor:
        """A loss whose gradient is NaN where one of its terms, (rows, ...), is not finite; their rows are noted.

        A term that is infinite may still have a finite gradient, and DeepSpeed moves weights within backward, unless
        the gradient's norm is NaN or infinite.
        """
        self.watch.moved()
        bad = (~terms.detach().isfinite()).reshape(len(terms), -1).any(dim=1) if terms.numel() else terms.new_zeros(0)
        if not bad.any():
            return loss
        self._bad_loss = True
        self._suspects += self._texts(bad)
        return loss * math.nan

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Called once a step, before the optimizer moves. DeepSpeed has moved it already, or refused the gradient."""
        norm = super()._get_grad_norm(model, grad_norm)
        finite = norm is None or math.isfinite(float(norm)) or self.args.fp16  # whose scaler looks for its scale so
        error = self._diverged(not finite)
        if error is None:
            return norm
        if self.on_nonfinite == "stop":
            raise error
        for weight in model.parameters():
            weight.grad = None  # an optimizer leaves a weight without gradient alone
        self._bad_loss, self._suspects = False, []
        _seams.record(self, "train", {"skipped_steps": 1.0})
        return norm

    def _diverged(self, gradient: bool) -> Diverged | None:
        """The error if a loss on any rank, or else the gradient, is not finite; its ranks write their rows down."""
        flags = torch.tensor([self._bad_loss, gradient], device=self.accelerator.device)
        losses, gradients = self.accelerator.gather(flags[None].int()).T.tolist()
        if not any((*losses, *gradients)):
            return None
        # one rank's loss makes the gradient of all what it is
        what, bad = ("loss", losses) if any(losses) else ("gradient", gradients)
        ranks = [rank for rank, flag in enumerate(bad) if flag]
        step, rank = self.state.global_step + 1, self.accelerator.process_index
        file = Path(str(self.args.output_dir)) / f"nonfinite-{step}.json"
        if rank in ranks:
            record = {"step": step, "rank": rank, "what": what, "rows": self._suspects}
            place = file if rank == ranks[0] else file.with_stem(f"{file.stem}-rank{rank}")
            place.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return Diverged(
            f"the {what} is not finite at step {step} (rank {', '.join(map(str, ranks))}). No update was made from it. "
            f"Rows: {file}. Try a smaller train.learning_rate than {self.args.learning_rate:g}, a smaller "
            "train.max_grad_norm, or train.on_nonfinite: skip to leave such steps out"
        )

    def _texts(self, bad: Tensor) -> list[str]:
        """Rows of the micro-batch as text, those that are bad where its rows are the terms' rows."""
        ids = self._inputs.get("input_ids") if isinstance(self._inputs, Mapping) else None
        if ids is None:  # groups, whose answers are drawn after this
            return []
        copies = len(ids) // len(bad) if len(bad) and len(ids) % len(bad) == 0 else 0
        rows = ids[bad.repeat(copies)] if copies else ids  # pairs: all chosen answers, then all rejected ones
        processor: Any = self.processing_class
        return processor.batch_decode(rows.tolist())


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
