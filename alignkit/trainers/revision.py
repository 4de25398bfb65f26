"""Training on pairs in which each answer is also read as a revision of either: SRPO."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase, ProcessorMixin
from trl import DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from alignkit.data.revision import RevisionPrompt
from alignkit.data.sequences import TokenSequence, Treatment, sequences
from alignkit.objectives import RevisionLogps, RevisionObjective
from alignkit.trainers import _seams
from alignkit.trainers._objective import Inputs, ObjectiveTrainer, Sums
from alignkit.trainers._preparation import in_parallel

logger = logging.getLogger(__name__)

READ_AS = ("", "_given_rejected", "_given_chosen")  # how an answer is read: plainly, and as a revision of either
ROWS = tuple(f"{answer}{read}" for answer in ("chosen", "rejected") for read in READ_AS)  # in the order of a batch
GIVEN = tuple(read.removeprefix("_") for read in READ_AS if read)  # columns of the pair under these prompts
TOKENS = ("prompt_ids", "chosen_ids", "rejected_ids")
PARTS = ("prompt", "chosen", "rejected")
REFERENCES = ("ref_chosen_logps", "ref_rejected_logps")


class RevisionTrainer(ObjectiveTrainer, DPOTrainer):
    """`trl.DPOTrainer` on pairs with any `RevisionObjective` in place of its loss.

    A batch holds six rows for each pair: the chosen and the rejected answer, each under the plain prompt, under the
    prompt that asks to improve on the rejected answer, and under the one that asks to improve on the chosen answer. The
    reference scores the same six; `precompute_ref_log_probs` works as for pairs. The revision prompt is saved beside
    the model.
    """

    family = RevisionObjective
    beside_model = REFERENCES

    def __init__(
        self,
        model: Any,
        *,
        args: Any,
        processing_class: PreTrainedTokenizerBase | ProcessorMixin,
        revision_prompt: RevisionPrompt | None = None,
        **kwargs: Any,
    ) -> None:
        """TRL's arguments (a data collator apart), `args` a DPOConfig, and two more.

        Args:
            objective: an instance of this trainer's family, by keyword.
            revision_prompt: what asks to improve on a draft; unset, a plain one.
        """
        self.revision_prompt = revision_prompt or RevisionPrompt()
        tokenizer: Any = getattr(processing_class, "tokenizer", processing_class)
        pairs = DataCollatorForPreference(
            pad_token_id=tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
            max_length=args.max_length,
            truncation_mode=args.truncation_mode,
            pad_to_multiple_of=args.pad_to_multiple_of,
        )
        collator = SixRows(pairs)
        super().__init__(model, args=args, processing_class=processing_class, data_collator=collator, **kwargs)

    def mask(self, inputs: Inputs) -> Tensor:
        return inputs["completion_mask"][:, 1:].bool()

    def batch(self, inputs: Inputs, logps: Tensor, reference: Tensor | None) -> RevisionLogps:
        policy = logps.sum(dim=1)
        known = policy.detach() if reference is None else reference
        fields: dict[str, Any] = dict(zip(ROWS, policy.chunk(6), strict=True))
        fields |= {f"ref_{name}": rows for name, rows in zip(ROWS, known.chunk(6), strict=True)}
        return RevisionLogps(**fields, columns=self._columns(inputs))

    def reference(self, inputs: Inputs) -> Tensor:
        if self.precompute_ref_logps:
            chosen, rejected = (inputs[name] for name in REFERENCES)
        else:
            chosen, rejected = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
        return torch.cat((chosen.T, rejected.T)).flatten()

    def compute_ref_log_probs(self, model: object, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Of the chosen and of the rejected answers, (B, 3) each, in the order of READ_AS; a row is a pair's."""
        chosen, rejected = super().compute_ref_log_probs(self.scoring(model), self._model_inputs(inputs))
        return chosen.view(3, -1).T.contiguous(), rejected.view(3, -1).T.contiguous()

    def metrics(self, inputs: Inputs, answers: Any) -> Sums:
        mask = self.mask(inputs)
        sums = dict(zip(ROWS, answers.logps.detach().sum(dim=1).chunk(6), strict=True))
        right, of = answers.is_top1.chunk(6)[0], mask.chunk(6)[0]
        pairs = torch.tensor(len(mask) // 6, device=mask.device)
        return {
            "logps/chosen": (sums["chosen"].sum(), pairs),
            "logps/rejected": (sums["rejected"].sum(), pairs),
            "revision/logps/chosen": (sums["chosen_given_rejected"].sum(), pairs),
            "revision/logps/rejected": (sums["rejected_given_chosen"].sum(), pairs),
            "entropy": (answers.entropy.detach().sum(), mask.sum()),
            "mean_token_accuracy": (right.sum(), of.sum()),
        }

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            self.revision_prompt.save(output_dir or self.args.output_dir)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        names = dataset.column_names
        missing = [name for name in PARTS if names is not None and name not in names]
        if missing:
            raise ValueError(
                f"this method learns from pairs of prompt, chosen and rejected; missing: {', '.join(missing)}"
            )
        if names is not None and {"image", "images"} & set(names):
            raise ValueError(
                "revisions of answers to images are not trained; leave the column of images out of the data"
            )
        treatment = Treatment(max_length=args.max_length, truncation=args.truncation_mode)
        given = {"tokenizer": processing_class, "prompt": self.revision_prompt, "treatment": treatment}
        with PartialState().local_main_process_first():
            dataset = dataset.map(with_revisions, fn_kwargs=given, **in_parallel(args, dataset))
            _warn_of_cuts(dataset, args.max_length, dataset_name)
            dataset = dataset.filter(lambda row: row["revisable"])
        return super()._prepare_dataset(dataset, processing_class, args, dataset_name)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        _seams.keep_columns(self, GIVEN)


@dataclass(frozen=True)
class SixRows:
    """A collator of pairs that is given each pair three times, with the prompts of READ_AS."""

    collator: DataCollatorForPreference

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> Inputs:
        pairs = [row if read == "" else row[read[1:]] for read in READ_AS for row in examples]
        batch = self.collator([{name: pair[name] for name in TOKENS} for pair in pairs])
        known = [name for name in REFERENCES if name in examples[0]]
        return {**batch, **{name: torch.tensor([row[name] for row in examples]) for name in known}}


def with_revisions(
    row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, prompt: RevisionPrompt, treatment: Treatment
) -> dict[str, Any]:
    """The tokens of a pair under both revision prompts, and what truncation does to them."""
    tokens: dict[str, dict[str, Sequence[int]]] = {}
    found: list[TokenSequence] = []
    for name in GIVEN:
        try:
            asked = prompt(row["prompt"], row[name.removeprefix("given_")])
        except ValueError as error:
            raise ValueError(f"{row.get('place', 'a pair')}: {error}") from None
        chosen, rejected = sequences({**{part: row[part] for part in PARTS}, "prompt": asked}, tokenizer, treatment)
        start = len(chosen.ids) - sum(chosen.trained)
        ids = (chosen.ids[:start], chosen.ids[start:], rejected.ids[start:])
        tokens[name] = dict(zip(TOKENS, ids, strict=True))
        found += [chosen, rejected]
    return {
        **tokens,
        "revisable": all(any(one.cut(treatment).trained) for one in found),
        "revision_length": max(len(one.ids) for one in found),
    }


def _warn_of_cuts(dataset: Any, max_length: int | None, name: str) -> None:
    if max_length is None or not isinstance(dataset, Dataset):
        return
    long = int((np.array(dataset["revision_length"][:]) > max_length).sum())
    if long:
        logger.warning(
            "%s: %d of %d pairs are longer than max_length = %d with a draft in the prompt, so an answer is cut as a "
            "revision and not by itself; raise train.max_length",
            *(name, long, len(dataset), max_length),
        )
