"""Where the answers of a generation come from: the policy, or a file of recorded ones; and how they get into one."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from trl import GRPOTrainer

from alignkit.models.prefill import prompts_read_once
from alignkit.trainers import _seams
from alignkit.trainers._prompt_order import PromptOrder
from alignkit.trainers._samples import FILE, Answer, Reader, RecordedReward, Recorder, Samples, as_row
from alignkit.trainers._together import on_all_ranks


class GeneratingTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` that reads a prompt once for all its answers, and can read and write answers as files.

    Recorded answers stand for drawn ones in training; their log-probs, where there are any, are those of another
    sampler, which TRL corrects for as it does for vLLM. A recorded run that is replayed has the same losses.
    """

    args: Any
    model: Any
    accelerator: Any
    train_dataset: Any
    shared_prefix: bool
    is_sharded: bool
    num_generations: int
    rewards: Tensor  # of the last generation on all ranks, (N,)
    samples: Samples | None = None
    recorder: Recorder | None = None

    def __init__(self, *args: Any, samples: Path | None = None, record: bool = False, **kwargs: Any) -> None:
        """TRL's arguments, and two more.

        Args:
            samples: a file of answers. Where it has scores the reward is asked in evaluations alone, and may be absent.
            record: write the answers that are drawn, with rewards and log-probs, into the output folder.

        Raises:
            ValueError: samples that cannot be used.
        """
        self._drawn: tuple[list[list[int]], Any] = ([], None)  # tokens of the last answers, and their log-probs
        if samples is not None:
            kwargs["reward_funcs"] = self._reward = RecordedReward(kwargs.get("reward_funcs"))
        super().__init__(*args, **kwargs)
        if samples is not None:
            self.samples = self._read(samples)
        if record:
            self.recorder = Recorder(Path(self.args.output_dir) / FILE)

    def _read(self, file: Path) -> Samples:
        tokens: Callable[[Any], list[int]] = lambda prompt: _seams.prompt_ids(self, prompt)  # noqa: E731
        longest = self.args.max_completion_length
        answers = Reader(file=file, tokenizer=self.processing_class, prompt_ids=tokens, longest=longest)()
        found = Samples(answers, file, self.num_generations)
        if hasattr(self.train_dataset, "__len__"):
            found.check(((row, self.train_dataset[row]["prompt"]) for row in self._rows_that_come_up()), tokens)
        if self._reward.otherwise is None:
            if not found.has_scores:
                raise ValueError(f"{file} has no scores, and there is no reward that gives them; write reward")
            if self.args.eval_strategy != "no":
                raise ValueError(
                    "answers in evaluations are drawn, and there is no reward for them; write reward, or "
                    "train.eval_strategy: no"
                )
        return found

    def _rows_that_come_up(self) -> list[int]:
        """Rows of the data that this run answers: all of them, or those of its first steps."""
        order = self._get_train_sampler()
        come_up = self.args.max_steps * self.args.gradient_accumulation_steps * self.args.generation_batch_size
        if self.args.max_steps < 0 or come_up > len(order):
            return [*range(len(self.train_dataset))]
        return sorted(set(islice(order, come_up)))

    def _get_train_sampler(self, dataset: Any = None) -> PromptOrder:
        rows = self.train_dataset if dataset is None else dataset
        return PromptOrder(
            rows,
            mini_repeat_count=self.num_generations,
            batch_size=self.args.generation_batch_size // self.num_generations,
            repeat_count=self.num_iterations * self.args.steps_per_generation,
            shuffle=self.shuffle_dataset,
            seed=self.args.seed,
            epoch=lambda: int(self.state.epoch or 0),
        )

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        """Tokens of answers, and their log-probs where what drew them gave any."""
        training = self.model.training
        if training and self.samples is not None:
            self._drawn = self._recorded(prompt_ids, self.samples)
        else:
            self._forget_scores()
            model = self.accelerator.unwrap_model(self.model_wrapped)
            # without shards nobody waits, and ranks whose tools take more turns than others' would be alone in asking
            agreed = partial(on_all_ranks, self.accelerator) if self.is_sharded else bool
            with prompts_read_once(model, agreed) if self.shared_prefix else nullcontext():
                self._drawn = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        if training and (self.samples is not None or self.recorder is not None):
            # chance goes on from here alike, whether answers were drawn or read
            number = self.args.seed * 1_000_003 + _seams.rollout(self)["step"]
            torch.manual_seed(number * self.accelerator.num_processes + self.accelerator.process_index)
        return self._drawn

    def _recorded(self, prompt_ids: Sequence[Sequence[int]], samples: Samples) -> tuple[list[list[int]], Any]:
        """The next groups of this rank's prompts. Every rank counts what all of them took."""
        everyone = gather_object([tuple(ids) for ids in prompt_ids[:: self.num_generations]])
        first = self.accelerator.process_index * len(prompt_ids)
        answers: list[Answer] = samples.draw(everyone)[first : first + len(prompt_ids)]
        self._reward.scores = [answer.score for answer in answers] if samples.has_scores else None
        logps = [answer.logps for answer in answers] if samples.has_logps else None
        return [answer.ids for answer in answers], logps

    def _forget_scores(self) -> None:
        if self.samples is not None:
            self._reward.scores = None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        training = self.model.training
        elsewhere = training and self.samples is not None and self.samples.has_logps
        with _seams.another_sampler(self) if elsewhere else nullcontext():
            rows = super()._generate_and_score_completions(inputs)
        every = self.args.steps_per_generation * self.num_iterations
        if elsewhere and self.args.gradient_accumulation_steps % every == 0:
            del rows["old_per_token_logps"]  # the policy still is the old one, to the bit
        if training and self.recorder is not None:
            self._write(self.recorder, inputs, rows)
        return rows

    def _write(self, recorder: Recorder, inputs: list[dict[str, Any]], rows: dict[str, Any]) -> None:
        """A row for each prompt of all ranks, by the first of them."""
        logps = rows.get("sampling_per_token_logps", rows.get("old_per_token_logps"))
        if logps is None:  # TRL leaves the old policy's out where they are those of the first update
            logps = _seams.policy_logps(self, rows)
        size, first = self.num_generations, self.accelerator.process_index * len(inputs)
        ids, _ = self._drawn
        found = [
            as_row(
                inputs[start]["prompt"],
                rows["prompt_ids"][start][rows["prompt_mask"][start].bool()].tolist(),
                ids[start : start + size],
                self.rewards[first + start : first + start + size].tolist(),
                logps[start : start + size].tolist(),
                self.processing_class,
                self.state.global_step,
            )
            for start in range(0, len(inputs), size)
        ]
        everyone = gather_object(found)
        if self.accelerator.is_main_process:
            recorder(everyone)

    def rollout(self) -> dict[str, Any]:
        """Where this process is within a generation, and in the files of answers; plain values and tensors."""
        place = {"visits": [*self.samples.visits.values()]} if self.samples is not None else {}
        return {**_seams.rollout(self), **place, "recorded": self.recorder.size if self.recorder is not None else 0}

    def restore_rollout(self, found: dict[str, Any]) -> None:
        _seams.restore_rollout(self, found)
        if self.samples is not None:
            self.samples.visits = dict(zip(self.samples.visits, found["visits"], strict=True))
        if self.recorder is not None:
            self.recorder.size = found["recorded"]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and (file := Path(checkpoint) / self.rollout_file()).is_file():
            device = self.accelerator.device
            place = "cpu" if device.type == "cpu" else device  # torch reads nothing to the cpu:0 of several processes
            self.restore_rollout(torch.load(file, map_location=place, weights_only=True))

    def rollout_file(self) -> str:
        return f"rollout_{self.accelerator.process_index}_of_{self.accelerator.num_processes}.pt"
