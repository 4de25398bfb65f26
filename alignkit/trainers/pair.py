"""Training on pairs: DPO, IPO, H-DPO, MMPO, NaPO, robust DPO."""

from typing import Any

import torch
from torch import Tensor
from trl import DPOTrainer

from alignkit.models.forward import answer_logps
from alignkit.objectives import PairLogps, PairObjective
from alignkit.trainers._objective import Inputs, ObjectiveTrainer, Sums


class PairTrainer(ObjectiveTrainer, DPOTrainer):
    """`trl.DPOTrainer` with any `PairObjective` in place of its loss.

    TRL's batch holds the B chosen answers, then the B rejected ones, each behind its prompt. With `DPO` the losses,
    gradients and rewards are TRL's to the last bit; TRL averages means of micro-batches where we divide by the pairs
    of the whole step, which differs where micro-batches do (the last one of an epoch).
    """

    family = PairObjective
    beside_model = ("ref_chosen_logps", "ref_rejected_logps")

    def mask(self, inputs: Inputs) -> Tensor:
        return inputs["completion_mask"][:, 1:].bool()

    def batch(self, inputs: Inputs, logps: Tensor, reference: Tensor | None) -> PairLogps:
        chosen, rejected = logps.sum(dim=1).chunk(2)
        chosen_length, rejected_length = self.mask(inputs).sum(dim=1).chunk(2)
        ref_chosen, ref_rejected = (None, None) if reference is None else reference.chunk(2)
        return PairLogps(
            chosen=chosen,
            rejected=rejected,
            ref_chosen=ref_chosen,
            ref_rejected=ref_rejected,
            chosen_length=chosen_length,
            rejected_length=rejected_length,
            columns=self._columns(inputs),
        )

    def reference(self, inputs: Inputs) -> Tensor:
        if self.precompute_ref_logps:
            return torch.cat((inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]))
        return torch.cat(self.compute_ref_log_probs(self.ref_model or self.model, inputs))

    def compute_ref_log_probs(self, model: object, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super().compute_ref_log_probs(self.scoring(model), self._model_inputs(inputs))

    def mean_logps(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Log-probability per token of the chosen and of the rejected answers, (B,) each, by the model as it is."""
        answers = answer_logps(self.model, self._model_inputs(inputs), shared_prefix=self.shared_prefix, fields=())
        means = answers.logps.sum(dim=1) / answers.mask.sum(dim=1).clamp(min=1)
        chosen, rejected = means.chunk(2)
        return chosen, rejected

    def metrics(self, inputs: Inputs, answers: Any) -> Sums:
        mask = self.mask(inputs)
        chosen_mask, rejected_mask = mask.chunk(2)
        chosen, rejected = answers.logps.detach().sum(dim=1).chunk(2)
        chosen_logits, rejected_logits = answers.mean_logits.chunk(2)
        right, _ = answers.is_top1.chunk(2)
        pairs = torch.tensor(len(chosen), device=chosen.device)
        return {
            "logps/chosen": (chosen.sum(), pairs),
            "logps/rejected": (rejected.sum(), pairs),
            "logits/chosen": (chosen_logits.detach().sum(), chosen_mask.sum()),
            "logits/rejected": (rejected_logits.detach().sum(), rejected_mask.sum()),
            "entropy": (answers.entropy.detach().sum(), mask.sum()),
            "mean_token_accuracy": (right.sum(), chosen_mask.sum()),
        }
