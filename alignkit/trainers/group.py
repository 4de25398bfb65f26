"""Training on the rewards of sampled answers: GRPO and its variants, DisCO, GVPO, REINFORCE."""

import logging
from copy import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader

from alignkit.models.forward import IGNORED, answer_logps
from alignkit.models.sharing import say_why_not
from alignkit.objectives import GroupLogps, GroupObjective
from alignkit.trainers import _draws, _preparation, _seams
from alignkit.trainers._generation import GeneratingTrainer
from alignkit.trainers._groups import (
    check_options,
    check_prompts,
    column_of,
    fold,
    statistics_of,
    whole,
    why_nothing_is_learned,
    with_statistics,
)
from alignkit.trainers._objective import Inputs, ObjectiveTrainer
from alignkit.trainers._samples import shown
from alignkit.trainers._survival import SurvivingTrainer
from alignkit.trainers._together import FailedTogether, together

logger = logging.getLogger(__name__)


class GroupTrainer(ObjectiveTrainer, GeneratingTrainer):
    """`trl.GRPOTrainer` with any `GroupObjective` in place of its loss; generation and rewards are TRL's.

    With `GRPO` every loss and gradient is TRL's where both get the same micro-batches. They do where a generation is
    one update; else TRL shuffles answers over micro-batches, and here prompts move with all their answers. An update
    divides by the count of its generation, scaled to the micro-batches of the update as TRL scales tokens; objectives
    that count their micro-batch (`bnpo`) are the exception.
    """

    family = GroupObjective
    answers_lie_together = True
    num_generations: int
    num_generations_eval: int
    rewards: Tensor  # of the last generation on all ranks, (N,); NaN where no source scored the answer
    learns: bool = True  # whether the last generation had something to learn from
    _answering: bool = False  # whether answers are being sampled and scored
    _before: tuple[Any, ...] | None = None  # where the run was when the step began

    def __init__(self, *args: Any, objective: GroupObjective, **kwargs: Any) -> None:
        """TRL's arguments, `args` a GRPOConfig by keyword, whose options that the objective decides are left alone.

        Args:
            objective: an instance of this trainer's family.
            shared_prefix: as in every trainer; False gives TRL's forward, to the bit.
            samples, record: files of answers, to train on and to write; see `GeneratingTrainer`.

        Raises:
            ValueError: batches that cannot hold whole groups, no prompts, prompts too long for the model's window,
                options that belong to the objective, or samples that cannot be used.
        """
        config = copy(kwargs["args"])
        check_options(config)
        config.beta = float(objective.needs_reference)  # all that TRL still reads it for: whether to load a reference
        dataset: Any = kwargs.get("train_dataset")
        if hasattr(dataset, "__len__"):
            check_prompts([1] * len(dataset), None, None)  # TRL would fail on an empty one, far from here
        super().__init__(*args, objective=objective, **{**kwargs, "args": config})
        if self.accelerator.num_processes > 1:
            self.reward_funcs = together(self.reward_funcs)
        if hasattr(dataset, "__len__"):
            self._check_window()
        self._check_recorded_scores()
        if objective.inert_on_policy and self.updates_per_generation <= 1:
            logger.warning(
                "one update per generation: the policy still is the one that answered, so %s does nothing; raise "
                "train.num_iterations or train.steps_per_generation",
                objective.inert_on_policy,
            )

    @property
    def updates_per_generation(self) -> float:
        """Optimizer steps between two generations; below 1 where one step takes several."""
        return self.args.steps_per_generation * self.num_iterations / self.args.gradient_accumulation_steps

    def get_train_dataloader(self) -> DataLoader:
        """TRL's, which leaves out the prompts that would not fill a generation."""
        return GeneratingTrainer.get_train_dataloader(self)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """TRL's, filled up by accelerate with whole groups."""
        return GeneratingTrainer.get_eval_dataloader(self, eval_dataset)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """transformers'. What an update divides by is counted with its generation, not here."""
        seen = self.state.num_input_tokens_seen
        self._before = self.state.global_step, seen, _draws.noted(), _seams.averages(self), self.rollout()
        return SurvivingTrainer.get_batch_samples(self, *args, **kwargs)

    def compute_loss(
        self, model: Any, inputs: Inputs, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        if return_outputs:
            raise ValueError("compute_metrics reads logits, which are never built here; use the logged metrics instead")
        training, router_weight = self.model.training, _seams.router_weight(self)
        logps, entropies, aux_loss = self._get_per_token_logps_and_entropies(
            model,
            *whole(inputs),
            inputs["completion_ids"].shape[2],
            compute_entropy=True,
            compute_aux_loss=router_weight is not None,
        )
        batch: Any = self._group_batch(inputs, logps, entropies)
        steps = _seams.accumulation_steps(self) if training else 1
        if self.objective.counts_micro_batch:
            value, sums = self._loss(batch, None)
            value = value / steps
        else:
            share = steps / self.args.steps_per_generation if training else 1
            value, sums = self._loss(batch, inputs["count"].clamp(min=1) * share)
        if router_weight is not None:
            value = value + router_weight * aux_loss / steps
            sums["aux_loss"] = (aux_loss.detach(), torch.ones_like(aux_loss))
        mask = batch.mask.bool()
        if batch.old_logps is not None:
            sums["kl_old"] = (-batch.log_ratios().detach().sum(), mask.sum())  # KL(old || policy), nats a token
        sums["entropy"] = (batch.trained(batch.entropies.detach()).sum(), mask.sum())
        self._note(sums)
        return value

    def _group_batch(self, inputs: Inputs, logps: Tensor, entropies: Tensor | None) -> GroupLogps:
        """The objective's batch, from per-token values of the policy, (P * G, T'), as wide as an answer may get."""
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        longest = self.args.max_completion_length or mask.shape[2]
        room = max(longest - mask.shape[2], 0)

        def wide(values: Tensor | None) -> Tensor | None:
            return None if values is None else pad(values.view(mask.shape), (0, room))

        ratios = inputs.get("importance_sampling_ratio")
        if ratios is not None and ratios.shape[-1] != 1:  # else one of each answer
            ratios = wide(ratios)

        batch: dict[str, Any] = {
            "logps": wide(logps),
            "mask": wide(mask),
            "old_logps": wide(inputs.get("old_per_token_logps")),
            "ref_logps": wide(inputs.get("ref_per_token_logps")),
            "entropies": wide(entropies),
            "sampler_ratios": ratios,
        }
        columns = {name: inputs[f"columns/{name}"] for name in self.objective.columns}
        found = GroupLogps(**batch, rewards=inputs["rewards"], columns=columns)
        own = self.objective.statistics(found)
        known = self._over_ranks(own) or {name: (total.detach(), count) for name, (total, count) in own.items()}
        return GroupLogps(**{**vars(found), "statistics": {**known, **statistics_of(inputs)}})

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **pictures: Any,
    ) -> tuple[Tensor, Any, Any]:
        """TRL's, of the policy, its old self and the reference alike, with our forward behind.

        Log-probs and entropies (N, T), and the auxiliary loss; None for what was not asked for.
        """
        if any(value is not None for value in pictures.values()):
            raise ValueError("methods that learn from groups take text only; the data hold pictures")
        shared = self.shared_prefix and not self.objective.needs_entropies
        if self.shared_prefix and not shared:
            say_why_not("its loss needs the gradient of entropies, which a head on answers alone does not give")
        found: list[Any] = []
        for ids, mask in zip(
            *(rows.split(batch_size or len(rows)) for rows in (input_ids, attention_mask)), strict=True
        ):
            labels = ids.masked_fill(mask == 0, IGNORED)
            labels[:, :-logits_to_keep] = IGNORED
            with self.accelerator.autocast():
                found.append(
                    answer_logps(
                        model,
                        {"input_ids": ids, "attention_mask": mask, "labels": labels},
                        aux_loss=compute_aux_loss,
                        shared_prefix=shared,
                        fields=("entropy",) if compute_entropy else (),
                    )
                )
        logps = torch.cat([part.logps[:, -logits_to_keep:] for part in found])
        entropies = torch.cat([part.entropy[:, -logits_to_keep:] for part in found]) if compute_entropy else None
        aux_loss = torch.stack([part.aux_loss for part in found]).mean() if compute_aux_loss else None
        return logps, entropies, aux_loss

    def _generate_and_score_completions(self, inputs: list[Inputs]) -> Inputs:
        """TRL's, folded to prompts and their answers, with rewards, and with what updates will divide by."""
        self._answering = True
        rows = super()._generate_and_score_completions(inputs)
        self._answering = False
        answers = self.num_generations if self.model.training else self.num_generations_eval
        first = self.accelerator.process_index * len(inputs)
        rows["rewards"] = self.rewards[first : first + len(inputs)]
        groups = fold(rows, answers)
        device = self.accelerator.device
        for name in self.objective.columns:
            groups[f"columns/{name}"] = column_of(inputs, name, answers).to(device)
        # float64: the variance of large rewards is a small difference of their squares
        groups = with_statistics(groups, self.objective.reward_statistics(self.rewards.cpu().double()))
        zeros = torch.zeros_like(rows["completion_mask"], dtype=torch.float32)  # counts do not depend on log-probs
        loss = self.objective(self._group_batch(groups, zeros, zeros))
        return {**groups, "count": self.accelerator.reduce(loss.count.to(device), "sum")}

    def _calculate_rewards(self, inputs: list[Inputs], prompts: list, completions: list, *args: Any) -> Tensor:
        scores = super()._calculate_rewards(inputs, prompts, completions, *args)  # (N, sources), of all ranks
        weighted = (scores * self.reward_weights.to(scores.device)).nansum(dim=1)
        self.rewards = weighted.masked_fill(scores.isnan().all(dim=1), torch.nan)
        self._check_rewards(completions)
        if self.model.training:
            self._warn_of_nothing_to_learn()
        return scores

    def _check_rewards(self, completions: list[Any]) -> None:
        """ValueError, on all ranks, for a reward that the objective cannot read; `completions` are this rank's."""
        bad = self.objective.unusable(self.rewards)
        if bad.any():
            number = int(bad.nonzero()[0])
            rank, place = divmod(number, len(completions))
            mine = rank == self.accelerator.process_index
            answer = shown(completions[place]) if mine else f"an answer of process {rank}"
            raise ValueError(f"{self.objective.asks_of_rewards}; got {self.rewards[number]:g} for {answer}")

    def _check_recorded_scores(self) -> None:
        if self.samples is None:
            return
        scores = torch.tensor(self.samples.scores())
        if (bad := self.objective.unusable(scores)).any():
            raise ValueError(f"{self.objective.asks_of_rewards}; {self.samples.file} holds {scores[bad][0]:g}")

    def _warn_of_nothing_to_learn(self) -> None:
        """Once, when learning stops, not with every generation that follows."""
        truncated = _seams.last_metric(self, "train", "completions/clipped_ratio")
        masked = self.args.mask_truncated_completions
        reason = why_nothing_is_learned(self.rewards, self.num_generations, truncated, masked)
        if reason and self.learns and self.accelerator.is_main_process:
            logger.warning("nothing can be learned from this generation: %s", reason)
        self.learns = not reason

    def _note(self, sums: dict[str, tuple[Tensor, Tensor]]) -> None:
        mode = "train" if self.model.training else "eval"
        reduced = {name: (total.item(), count.item()) for name, (total, count) in self._reduce(sums).items()}
        total, count = reduced.pop("loss")
        if mode == "eval" and count:
            self._evaluated.append((total / count, count))
        _seams.record(self, mode, {name: total / count for name, (total, count) in reduced.items() if count})

    def _keep_columns(self) -> None:
        """Rows stay rows here: answers are sampled from them before there is a batch."""

    def _check_window(self) -> None:
        config = self.model.config.get_text_config()
        lengths = _preparation.prompt_lengths(self.train_dataset, _seams.prompt_tokenizer(self))
        check_prompts(lengths, getattr(config, "max_position_embeddings", None), self.args.max_completion_length)

    def back_to_last_step(self, error: Exception) -> bool:
        """Where answers could not be sampled or scored, above all by a server that is away, and all ranks know it."""
        known = self.accelerator.num_processes == 1 or isinstance(error, FailedTogether)
        if not (self._answering and known) or self.state.global_step == 0:
            return False
        if self._before is None:  # a run that was resumed failed in an evaluation before its first step
            return True
        step, seen, draws, averages, rollout = self._before
        if step != self.state.global_step:  # it failed in an evaluation after this step, which left no trace
            self.interruption.owes = True
        else:
            self.state.num_input_tokens_seen = seen
            _draws.put_back(draws)
            _seams.set_averages(self, averages)
            self.restore_rollout(rollout)
        return True

    def rows(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        """Prompts with their answers."""
        return whole(inputs)

    def save_own(self, checkpoint: Path) -> None:
        """Also the answers that later updates still learn from, one file per process."""
        super().save_own(checkpoint)
        torch.save(self.rollout(), checkpoint / self.rollout_file())
