"""Training on every token of a text: NLL, MixCE, PoFT."""

from copy import copy
from typing import Any

from datasets import Dataset
from torch import Tensor
from trl import SFTTrainer

from alignkit.objectives import TokenLogps, TokenObjective
from alignkit.trainers._objective import Inputs, ObjectiveTrainer, Sums


class TokenTrainer(ObjectiveTrainer, SFTTrainer):
    """`trl.SFTTrainer` with any `TokenObjective` in place of its loss.

    `MixCE(eta=1)` and `NLL` are TRL's `loss_type="nll"` to the last bit, `MixCE(eta=0)` its `"dft"`.
    """

    family = TokenObjective

    def __init__(self, *args: Any, objective: TokenObjective, **kwargs: Any) -> None:
        """As TRL's. Raises ValueError for options that join texts whose columns the objective reads."""
        super().__init__(*args, objective=objective, **kwargs)
        joined = [name for name in ("packing", "padding_free") if getattr(self.args, name)]
        if objective.columns and joined:
            columns = ", ".join(objective.columns)
            raise ValueError(f"{joined[0]} joins texts, and this objective reads {columns} of each; remove it")

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, packing: bool, *how: Any) -> Any:
        """TRL's, which lets each process pack what it tokenized; here one packs, however many tokenized."""
        if packing and isinstance(dataset, Dataset):
            unpacked = copy(args)
            unpacked.max_length, unpacked.shuffle_dataset = None, False
            dataset = super()._prepare_dataset(dataset, processing_class, unpacked, False, *how)
            args = copy(args)
            args.dataset_num_proc = 0  # this process; None would be as many as there is work for
        return super()._prepare_dataset(dataset, processing_class, args, packing, *how)

    def mask(self, inputs: Inputs) -> Tensor:
        return inputs["labels"][:, 1:] != -100

    def batch(self, inputs: Inputs, logps: Tensor, reference: Tensor | None) -> TokenLogps:
        return TokenLogps(logps=logps, mask=self.mask(inputs), columns=self._columns(inputs))

    def metrics(self, inputs: Inputs, answers: Any) -> Sums:
        tokens = self.mask(inputs).sum()
        return {
            "entropy": (answers.entropy.detach().sum(), tokens),
            "mean_token_accuracy": (answers.is_top1.sum(), tokens),
        }
