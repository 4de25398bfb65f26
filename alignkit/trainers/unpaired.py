"""Training on single answers that were liked or not: KTO."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader
from trl import KTOTrainer

from alignkit.models.forward import answer_logps
from alignkit.objectives import UnpairedLogps, UnpairedObjective
from alignkit.trainers import _seams
from alignkit.trainers._last_batch import weight_of
from alignkit.trainers._objective import Inputs, ObjectiveTrainer, Sums
from alignkit.trainers._sampling import BothClasses, Mismatched

MISMATCHED = "KL_"  # prefix of the keys that hold each prompt with an answer to another prompt


class UnpairedTrainer(ObjectiveTrainer, KTOTrainer):
    """`trl.KTOTrainer` with any `UnpairedObjective` in place of its loss, and an order of its own.

    Of the same collated batch TRL's loss, gradient and KL estimate are reproduced. The batches differ: TRL keeps the
    file's order, which for pairs is blocks of liked, then of disliked answers, and fixes the mismatched answers when
    the data are prepared. Here every epoch shuffles anew, every whole micro-batch (on all ranks) holds both classes,
    and mismatched answers come from it. Their reference cannot be computed before training, as they change.
    """

    family = UnpairedObjective
    stand_in = (0, 0)  # the row, and that of its mismatched answer
    beside_model = (
        "label",
        "reference",
        "kl",
        *(f"{MISMATCHED}{name}" for name in ("input_ids", "attention_mask", "completion_mask")),
    )

    def __init__(self, *args: Any, objective: UnpairedObjective, **kwargs: Any) -> None:
        """As TRL's. Raises ValueError for data or batches from which nothing could be learnt."""
        super().__init__(*args, objective=objective, **kwargs)
        if not isinstance(self.train_dataset, Dataset):
            raise ValueError("streamed answers come in the order they have; this method mixes both kinds: stream none")
        self.train_dataset = Mismatched(self.train_dataset)
        self.train_dataset.answers.check(self.args.per_device_train_batch_size * self.args.world_size)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        found = self.eval_dataset if eval_dataset is None else eval_dataset
        found = self.eval_dataset[found] if isinstance(found, str) else found
        return super().get_eval_dataloader(None if found is None else Mismatched(found))

    def mask(self, inputs: Inputs) -> Tensor:
        return inputs["completion_mask"][:, 1:].bool()

    def batch(self, inputs: Inputs, logps: Tensor, reference: Tensor | None) -> UnpairedLogps:
        policy = logps.sum(dim=1)
        return UnpairedLogps(
            policy=policy,
            ref=policy.detach() if reference is None else reference,
            desirable=inputs["label"].bool(),
            kl=inputs.get("kl", policy.new_zeros(())),
            columns=self._columns(inputs),
        )

    def compute_loss(
        self, model: Any, inputs: Inputs, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        reference, mismatched_reference = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
        with torch.no_grad():
            rows = self._mismatched(inputs)
            mismatched = answer_logps(model, rows, shared_prefix=self.shared_prefix, fields=()).logps.sum(dim=1)
        gap = mismatched - mismatched_reference
        gaps = {"kl": (gap.sum(), torch.tensor(gap.numel(), device=gap.device))}
        total, count = self._reduce(gaps, weight_of(inputs))["kl"]
        known = {**inputs, "reference": reference, "kl": total / count.clamp(min=1)}
        return super().compute_loss(model, known, return_outputs, num_items_in_batch)

    def compute_ref_log_probs(self, model: object, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """TRL's; answers and mismatched ones side by side where prompts are shared, since both hang on the same.

        Not where answers are remembered: mismatched ones are new in every epoch, and would have all asked for again.
        """
        if not self.shared_prefix or self.remember is not None:
            return super().compute_ref_log_probs(self.scoring(model), inputs)
        with self._without_mismatched():
            logps, _ = super().compute_ref_log_probs(self.scoring(model), self._side_by_side(inputs))
        return logps.tensor_split(2)

    def reference(self, inputs: Inputs) -> Tensor:
        return inputs["reference"]

    def metrics(self, inputs: Inputs, answers: Any) -> Sums:
        mask, up = self.mask(inputs), inputs["label"].bool()
        summed = answers.logps.detach().sum(dim=1)
        logits = answers.mean_logits.detach().sum(dim=1)
        return {
            "logps/chosen": (summed[up].sum(), up.sum()),
            "logps/rejected": (summed[~up].sum(), (~up).sum()),
            "logits/chosen": (logits[up].sum(), mask[up].sum()),
            "logits/rejected": (logits[~up].sum(), mask[~up].sum()),
            "entropy": (answers.entropy.detach().sum(), mask.sum()),
        }

    def derived_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        if not {"rewards/chosen", "rewards/rejected"} <= set(means):
            return {}  # an evaluation batch may hold one class
        return {"rewards/margins": means["rewards/chosen"] - means["rewards/rejected"]}

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, *how: Any) -> Any:
        """TRL's, without the mismatched answers that it would write beside every row; see `Mismatched`."""
        if args.precompute_ref_log_probs:
            raise ValueError(
                "precompute_ref_log_probs: answers to other prompts are drawn anew in every epoch; remove it"
            )
        with self._without_mismatched():
            return super()._prepare_dataset(dataset, processing_class, args, *how)

    def _get_train_sampler(self, train_dataset: Any = None) -> BothClasses:
        return BothClasses(
            answers=(train_dataset or self.train_dataset).answers,
            block=_seams.train_batch_size(self) * self.args.world_size,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
            epoch=lambda: int(self.state.epoch or 0),
        )

    def _get_eval_sampler(self, eval_dataset: Any) -> BothClasses:
        """One fixed order: no row twice, and mismatched answers as in training."""
        return BothClasses(
            answers=eval_dataset.answers,
            block=self.args.per_device_eval_batch_size * self.args.world_size,
            seed=self.args.seed,
            epoch=lambda: 0,
        )

    @contextmanager
    def _without_mismatched(self) -> Iterator[None]:
        """For now, let TRL see no mismatched answers."""
        wanted, self.calculate_KL = self.calculate_KL, False
        try:
            yield
        finally:
            self.calculate_KL = wanted

    def _side_by_side(self, inputs: Inputs) -> Inputs:
        """One batch of the answers, then the mismatched ones."""
        mismatched = self._mismatched(inputs)
        width = max(rows["input_ids"].size(1) for rows in (inputs, mismatched))
        return {
            name: torch.cat([pad(rows[name], (0, width - rows[name].size(1))) for rows in (inputs, mismatched)])
            for name in mismatched
        }

    def _mismatched(self, inputs: Inputs) -> Inputs:
        return {key.removeprefix(MISMATCHED): inputs[key] for key in inputs if key.startswith(MISMATCHED)}
