"""Training reward models: Bradley-Terry, MMPO's soft labels, Plackett-Luce."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import trl
from accelerate import PartialState
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from alignkit.data.sequences import ended, tokenized
from alignkit.models.read_once import is_frozen, read_once
from alignkit.models.shared_states import share_prompts
from alignkit.objectives import RewardObjective, RewardScores
from alignkit.trainers import _seams
from alignkit.trainers._last_batch import weight_of
from alignkit.trainers._objective import Inputs, ObjectiveTrainer
from alignkit.trainers._preparation import in_parallel

RANKED = "answers_ids"  # column of a ranking's tokens, best answer first
LENGTHS = "ranking_lengths"  # key of a batch: answers of each ranking
PAIRED = ("chosen_ids", "rejected_ids")  # TRL's columns of a pair's tokens


class RewardTrainer(ObjectiveTrainer, trl.RewardTrainer):
    """`trl.RewardTrainer` with any `RewardObjective` in place of its loss.

    Rows are pairs (chosen, rejected), whose batches are TRL's, or rankings (answers, best first), of which one batch
    may hold different lengths. As in TRL, a row with an answer longer than `max_length` is left out. With
    `BradleyTerry` losses, gradients and metrics are TRL's; where micro-batches differ in size (the last one of an
    epoch) TRL averages their means, and we divide by the rankings of the whole step.

    Where only the head is trained, the frozen model reads every text once, before the first step.
    """

    family = RewardObjective
    beside_model = (LENGTHS, "margin")

    def __init__(
        self,
        model: Any,
        *,
        args: Any,
        processing_class: PreTrainedTokenizerBase,
        train_dataset: Any,
        data_collator: Any = None,
        **kwargs: Any,
    ) -> None:
        """TRL's arguments, `args` a RewardConfig, and `objective`."""
        if data_collator is None and "answers" in (train_dataset.column_names or ()):
            data_collator = Rankings(pad=processing_class.pad_token_id, multiple=args.pad_to_multiple_of)
        super().__init__(
            model,
            args=args,
            processing_class=processing_class,
            train_dataset=train_dataset,
            data_collator=data_collator,
            **kwargs,
        )
        if self.shared_prefix:
            share_prompts(self.model)
        if is_frozen(self.model):
            self._read_once()

    def batch(self, inputs: Inputs, scores: Tensor, reference: Tensor | None = None) -> RewardScores:
        """From the scores of all answers, (N,): those of pairs are all chosen ones, then all rejected ones."""
        columns = self._columns(inputs)
        if LENGTHS not in inputs:
            return RewardScores(scores=torch.stack(scores.chunk(2), dim=1), columns=columns)
        lengths = inputs[LENGTHS]
        mask = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
        table = scores.new_zeros(mask.shape).masked_scatter(mask, scores)
        return RewardScores(scores=table, mask=mask, columns=columns)

    def compute_loss(
        self, model: Any, inputs: Inputs, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        outputs = model(**self._model_inputs(inputs), use_cache=False)
        scores = outputs.logits.squeeze(-1)
        weight = weight_of(inputs)
        value, sums = self._loss(self.batch(inputs, scores), num_items_in_batch, weight)
        ends = torch.stack((scores.detach().min(), -scores.detach().max())).float()
        ends = torch.where(torch.as_tensor(weight > 0, device=ends.device), ends, torch.inf)
        lowest, highest = self.accelerator.gather(ends[None]).amin(dim=0).tolist()
        mode = "train" if self.model.training else "eval"
        _seams.record(self, mode, {"min_reward": lowest, "max_reward": -highest})
        sums["mean_reward"] = (scores.detach().sum(), torch.tensor(len(scores), device=scores.device))
        self._record(sums, inputs["attention_mask"].sum(), weight)
        return (value, outputs) if return_outputs else value

    def _read_once(self) -> None:
        evaluated = self.eval_dataset.values() if isinstance(self.eval_dataset, dict) else [self.eval_dataset]
        stored = [one for one in (self.train_dataset, *evaluated) if isinstance(one, Dataset)]  # no stream
        texts: list[list[int]] = []
        for dataset in stored:
            for name in (*PAIRED, RANKED):
                if name in dataset.column_names:
                    texts += dataset[name] if name in PAIRED else [ids for row in dataset[name] for ids in row]
        training = self.model.training
        self.model.eval()
        with self.compute_loss_context_manager():
            read_once(self.model, texts)
        self.model.train(training)

    def _count(self, inputs: Inputs) -> Tensor:
        zeros = torch.zeros(len(inputs["input_ids"]), device=inputs["input_ids"].device)
        return self.objective(self.batch(inputs, zeros)).count

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        names = dataset.column_names or ()
        if "answers" not in names and RANKED not in names:
            return super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        with PartialState().local_main_process_first():
            if RANKED not in names:
                tokenize = partial(with_tokens, tokenizer=processing_class)
                dataset = dataset.map(tokenize, **in_parallel(args, dataset))
            return dataset.filter(partial(all_fit, limit=args.max_length))

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        _seams.keep_columns(self, [RANKED])


@dataclass(frozen=True, kw_only=True)
class Rankings:
    """A collator of rankings: the answers of all of them below one another, and how many each ranking has."""

    pad: int  # token
    multiple: int | None = None  # of which the padded length is

    def __call__(self, examples: list[Inputs]) -> Inputs:
        answers = [torch.tensor(ids) for example in examples for ids in example[RANKED]]
        longest = max(len(ids) for ids in answers)
        width = longest if self.multiple is None else -(-longest // self.multiple) * self.multiple
        lengths = torch.tensor([len(ids) for ids in answers])
        padded = pad_sequence(answers, batch_first=True, padding_value=self.pad)
        padded = torch.nn.functional.pad(padded, (0, width - longest), value=self.pad)
        return {
            "input_ids": padded,
            "attention_mask": (torch.arange(width) < lengths[:, None]).long(),
            LENGTHS: torch.tensor([len(example[RANKED]) for example in examples]),
        }


def with_tokens(row: Inputs, tokenizer: PreTrainedTokenizerBase) -> Inputs:
    """The row with the tokens of each of its answers behind the prompt, as TRL tokenizes pairs."""
    return {RANKED: [tokenized(row["prompt"] + ended(answer, tokenizer), tokenizer)[0] for answer in row["answers"]]}


def all_fit(row: Inputs, limit: int | None) -> bool:
    return limit is None or all(len(ids) <= limit for ids in row[RANKED])
