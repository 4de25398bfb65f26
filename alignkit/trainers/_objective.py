"""How an objective takes the place of a TRL trainer's loss, through TRL's two public hooks.

`get_batch_samples` sees every micro-batch of a step before the first forward pass and counts what the objective
divides by; `compute_loss` returns `terms.sum()` over that count. Neither the split into micro-batches nor into ranks
matters then: gradients are summed over micro-batches and averaged over ranks, so the loss is multiplied by the ranks.
A rank without rows takes part with one that weighs nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers.integrations import is_deepspeed_zero3_enabled

from alignkit.models.forward import answer_logps
from alignkit.objectives import Batch, Objective
from alignkit.trainers import _preparation, _seams
from alignkit.trainers._last_batch import WEIGHT, each_row_once, weight_of
from alignkit.trainers._reference_memory import Memory
from alignkit.trainers._survival import SurvivingTrainer

Inputs = dict[str, Any]
Sums = Mapping[str, tuple[Tensor, Tensor]]  # {name: (sum, count)}, scalars


class ObjectiveTrainer(SurvivingTrainer):
    """Mixed in before a TRL trainer. A subclass names its objective family and turns TRL's batch into ours."""

    # transformers declares what these may be before a trainer stands
    args: Any
    model: Any
    processing_class: Any
    train_dataset: Any
    eval_dataset: Any
    objective: Any
    is_sharded: bool  # each process holds only a part of the weights, by ZeRO-3 or FSDP, and cannot answer alone

    family: ClassVar[type[Objective]]
    beside_model: ClassVar[tuple[str, ...]] = ()  # keys of TRL's batch that are not the model's
    stand_in: ClassVar[Any] = 0  # which row of a dataset a rank without rows is given
    write_card: Callable[[], str] | None = None  # text of the model card; None leaves it to TRL
    loss_is_scaled_for_ga: Any = True  # transformers must not divide by the accumulation steps again

    def __init__(
        self,
        *args: Any,
        objective: Objective,
        shared_prefix: bool = True,
        reference_cache: bool = False,
        **kwargs: Any,
    ) -> None:
        """TRL's arguments, and three more.

        Args:
            objective: an instance of this trainer's family.
            shared_prefix: compute what answers share once, and the output head on answers only; False gives TRL's
                forward, to the bit.
            reference_cache: keep on disk what the reference says, and ask it for no text twice, in any run.
        """
        if not isinstance(objective, self.family):
            raise TypeError(f"{type(self).__name__} takes a {self.family.__name__}; {objective!r} is not one")
        self.objective = objective
        self.shared_prefix = shared_prefix
        self._evaluated: list[tuple[float, float]] = []  # mean and count of the loss of each evaluation batch
        self.remember = Memory(self) if reference_cache else None
        super().__init__(*args, **kwargs)
        self.is_sharded = is_deepspeed_zero3_enabled() or bool(self.is_fsdp_enabled)
        _seams.refuse_split_sequences(self)
        self._keep_columns()

    def mask(self, inputs: Inputs) -> Tensor:
        """Which of the tokens 1..T-1 are trained, (N, T-1) bool."""
        raise NotImplementedError

    def batch(self, inputs: Inputs, logps: Tensor, reference: Tensor | None) -> Batch:
        """The objective's batch, from per-token log-probs (N, T-1) and the reference's, summed over each row, (N,)."""
        raise NotImplementedError

    def reference(self, inputs: Inputs) -> Tensor:
        """Reference log-probabilities of the rows, (N,); called only if the objective needs them."""
        raise NotImplementedError

    def metrics(self, inputs: Inputs, answers: Any) -> Sums:
        """What TRL logs beside the loss, as sums and counts over this micro-batch, from `Answers` with all fields."""
        raise NotImplementedError

    def derived_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """What follows from the means of a micro-batch over all ranks."""
        return {}

    def get_train_dataloader(self) -> DataLoader:
        return each_row_once(super().get_train_dataloader(), self.stand_in)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        return each_row_once(super().get_eval_dataloader(eval_dataset), self.stand_in)

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list[Inputs], Tensor]:
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = [(self._count(inputs) * weight_of(inputs)).to(device) for inputs in batches]
        count = torch.stack(counts or [torch.zeros((), device=device)])
        return batches, self.accelerator.reduce(count.sum(), "sum")

    def compute_loss(
        self, model: Any, inputs: Inputs, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        if return_outputs:
            raise ValueError("compute_metrics reads logits, which are never built here; use the logged metrics instead")
        router_weight = _seams.router_weight(self)
        answers: Any = answer_logps(
            model, self._model_inputs(inputs), aux_loss=router_weight is not None, shared_prefix=self.shared_prefix
        )
        reference = self.reference(inputs) if self.objective.needs_reference else None
        weight = weight_of(inputs)
        value, sums = self._loss(self.batch(inputs, answers.logps, reference), num_items_in_batch, weight)
        if router_weight is not None:
            steps = 1 if num_items_in_batch is None else _seams.accumulation_steps(self)
            extra = router_weight * answers.aux_loss * weight
            value = value + extra / steps
            total, count = sums["loss"]
            sums["loss"] = (total + extra.detach() * count, count)
            sums["aux_loss"] = (answers.aux_loss.detach(), _numel(answers.aux_loss))
        self._record({**sums, **self.metrics(inputs, answers)}, _tokens(inputs), weight)
        return value

    def evaluation_loop(
        self, dataloader: DataLoader, description: str, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any
    ) -> Any:
        """transformers', with the loss of all rows, where it averages those of batches, however full they are."""
        self._evaluated = []
        kwargs["metric_key_prefix"] = metric_key_prefix
        output: Any = super().evaluation_loop(dataloader, description, *args, **kwargs)
        if self._evaluated:
            total = sum(mean * count for mean, count in self._evaluated)
            output.metrics[f"{metric_key_prefix}_loss"] = total / sum(count for _, count in self._evaluated)
        return output

    def _loss(
        self, batch: Batch, num_items_in_batch: Tensor | None, weight: Tensor | int = 1
    ) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """The share of a micro-batch in the step's loss, and its metrics; its own mean where no step is counted."""
        if batch.statistics is None:
            batch = replace(batch, statistics=self._over_ranks(self.objective.statistics(batch), weight))
        loss = self.objective(batch)
        training = num_items_in_batch is not None
        count = loss.count if num_items_in_batch is None else num_items_in_batch
        value = loss.terms.sum() / count.clamp(min=1) * weight * (self.accelerator.num_processes if training else 1)
        if self.is_in_train and self.model.training:
            value = self.guarded(value, loss.terms)
        sums = {name: (metric.sum(), _numel(metric)) for name, metric in loss.metrics.items()}
        return value, {"loss": (loss.terms.detach().sum(), loss.count), **sums}

    def scoring(self, model: Any) -> Callable[..., Any]:
        """`model` as TRL's reference methods call it, with our forward behind, and what was said before."""
        answering = AnsweringModel(model) if self.shared_prefix else model
        return answering if self.remember is None else self.remember(model, answering)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Called by TRL with every checkpoint and before a push; whoever saves a model calls it last."""
        if self.write_card is None:
            super().create_model_card(*args, **kwargs)
        elif self.is_world_process_zero():
            (Path(self.args.output_dir) / "README.md").write_text(self.write_card(), encoding="utf-8")

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, *how: Any) -> Any:
        """TRL's, by as many processes as there is work for; what was tokenized once is found again."""
        trl: Any = super()
        return trl._prepare_dataset(dataset, processing_class, _preparation.options(args, dataset), *how)

    def _precompute_ref_logps(self, *how: Any) -> Any:
        """TRL's, which finds by model and rows what was computed before; our forward rounds otherwise: apart."""
        trl: Any = super()
        with _seams.another_forward(self) if self.shared_prefix else nullcontext():
            return trl._precompute_ref_logps(*how)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        _seams.keep_columns(self, self.objective.columns)

    def _keep_columns(self) -> None:
        self.data_collator = KeepColumns(self.data_collator, self.objective.columns)

    def _columns(self, inputs: Inputs) -> dict[str, Tensor]:
        return {name: inputs[name] for name in self.objective.columns}

    def _model_inputs(self, inputs: Inputs) -> Inputs:
        # A model swallows unknown keys in silence, so the objective's columns must not reach it
        others = {*self.beside_model, *self.objective.columns, WEIGHT}
        return {name: value for name, value in inputs.items() if name not in others}

    def _count(self, inputs: Inputs) -> Tensor:
        """What the objective divides by in this micro-batch. It never depends on log-probs, so zeros will do."""
        zeros = torch.zeros_like(self.mask(inputs), dtype=torch.float32)
        reference = zeros.sum(dim=1) if self.objective.needs_reference else None
        return self.objective(self.batch(inputs, zeros, reference)).count

    def _over_ranks(self, statistics: Sums, weight: Tensor | int = 1) -> Sums | None:
        if not statistics or self.accelerator.num_processes == 1:
            return None  # the objective takes its own
        return self._reduce({name: (total.detach(), count) for name, (total, count) in statistics.items()}, weight)

    def _reduce(self, sums: Sums, weight: Tensor | int = 1) -> dict[str, tuple[Tensor, Tensor]]:
        """Sums and counts over all ranks, in one collective; `weight` is that of this rank's rows."""
        table = torch.stack([torch.stack((total.float(), count.float())) for total, count in sums.values()])
        table = self.accelerator.reduce(table * weight, "sum")
        return {name: (row[0], row[1]) for name, row in zip(sums, table, strict=True)}

    def _record(self, sums: Sums, tokens: Tensor, weight: Tensor | int) -> None:
        mode = "train" if self.model.training else "eval"
        reduced = self._reduce({**sums, "num_tokens": (tokens, torch.ones_like(tokens))}, weight)
        rows = torch.stack([torch.stack((total, count, total / count)) for total, count in reduced.values()]).tolist()
        table = dict(zip(reduced, rows, strict=True))
        all_tokens, _, _ = table.pop("num_tokens")
        _, count, mean = table.pop("loss")
        if mode == "eval" and count:
            self._evaluated.append((mean, count))
        means = {name: mean for name, (_, count, mean) in table.items() if count}
        _seams.record(self, mode, {**means, **self.derived_metrics(means)})
        _seams.count_tokens(self, mode, all_tokens)


@dataclass(frozen=True)
class AnsweringModel:
    """Answers `model(..., labels=labels, fused_lm_head=True).log_probs`, which TRL asks of a reference, our way."""

    model: Any

    def __call__(self, *, fused_lm_head: bool, use_cache: bool = False, **inputs: Any) -> SimpleNamespace:
        return SimpleNamespace(log_probs=answer_logps(self.model, inputs, shared_prefix=True, fields=()).logps)


@dataclass(frozen=True)
class KeepColumns:
    """A collator that also keeps the data columns an objective asked for, as float tensors (B,)."""

    collator: Callable[[list[Inputs]], Inputs]
    columns: tuple[str, ...]

    def __call__(self, examples: list[Inputs]) -> Inputs:
        columns = {name: torch.tensor([float(row[name]) for row in examples]) for name in self.columns}
        return {**self.collator(examples), **columns}


def _numel(values: Tensor) -> Tensor:
    return torch.tensor(values.numel(), device=values.device)


def _tokens(inputs: Inputs) -> Tensor:
    """Tokens of a batch, padding apart; packed batches have no padding and no attention mask."""
    if "attention_mask" in inputs:
        return inputs["attention_mask"].sum()
    return _numel(inputs["input_ids"])
