"""Putting an evaluation on a trainer."""

import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignkit.evaluation import Evaluation, Folder, load_prompts, load_questions, write_report
from alignkit.evaluation.answering import LocalAnswerer
from alignkit.evaluation.forms import FORMS
from alignkit.evaluation.judges import RemoteJudge
from alignkit.evaluation.report import compare
from alignkit.generation import Chat, TransformersSampler
from alignkit.objectives import RewardObjective
from alignkit.recipe.evaluation.spec import EvaluationSpec
from alignkit.remote import OPENAI, Cache, Client, Endpoint, RemoteError

NAME = "evaluation"  # folder in the run's output
START = "step-0"


def attach_evaluation(trainer: Any, spec: EvaluationSpec) -> None:
    """Let a trainer be evaluated before it starts and whenever it saves a checkpoint.

    Raises:
        ValueError: questions or a key that are not there, or a model that cannot answer.
    """
    if isinstance(trainer.objective, RewardObjective):
        raise ValueError("evaluation: a reward model answers no questions; take the section out")
    if trainer.is_sharded:
        raise ValueError(
            "evaluation: the model is split over the processes (ZeRO-3 or FSDP), and one cannot answer alone; "
            "take the section out, and run alignkit eval mt-bench on the checkpoints"
        )
    trainer.add_callback(EvaluateCheckpoints(trainer, spec))


class AskedToStop(Exception):
    """A signal came while a checkpoint was evaluated."""


class EvaluateCheckpoints(TrainerCallback):
    """Evaluates the model as step-0, step-N, ... in OUTPUT/evaluation, and logs the figures.

    The first process does so alone, with draws of its own, so that training is the same with it or without. A judge
    that fails costs figures and a warning, never the run. A signal ends an evaluation at the next answer or judgment.
    """

    def __init__(self, trainer: Any, spec: EvaluationSpec) -> None:
        self.trainer = trainer
        self.spec = spec
        self.folder = Folder(Path(trainer.args.output_dir) / NAME)
        self.questions = load_questions(spec.questions, limit=spec.limit)
        model, _, url = spec.judge.rpartition("@")
        endpoint = Endpoint(
            url=OPENAI if url == "openai" else url, key_variable=spec.key_variable, concurrency=spec.concurrency
        )
        self.client = Client(endpoint, cache=Cache(self.folder.path / "cache"), while_waiting=self._stop_if_asked)
        self.form = FORMS[spec.judge_format]
        self.judge = RemoteJudge(client=self.client, model=model, parameters=self.form.parameters("single"))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        if not state.global_step:  # what an earlier run left says nothing of this one; its judge's replies stay
            for name in ("model_answer", "model_judgment"):
                shutil.rmtree(self.folder.path / name, ignore_errors=True)
        self.evaluate(args, state, control)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero and not self.trainer.interrupted:  # when the run goes on, it begins with this
            self.evaluate(args, state, control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.client.close()

    def evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        """Answer, judge, report, log."""
        name = f"step-{state.global_step}"
        try:
            figures = self.figures(name)
        except AskedToStop:  # what is answered and judged is written, and the run goes on with the rest
            return
        except RemoteError as error:
            warnings.warn(f"{name} was not evaluated: {error}", stacklevel=2)
            return
        # not trainer.log: that would also take the averages of the steps since the last line
        state.log_history.append({**figures, "step": state.global_step})
        self.trainer.callback_handler.on_log(args, state, control, figures)

    def figures(self, name: str) -> dict[str, float]:
        """What is logged of the model as it is now; a gain is over the start, with its p."""
        evaluation = Evaluation(
            folder=self.folder,
            questions=self.questions,
            models={name: self._answerer(name)},
            judges=[self.judge],
            prompts=load_prompts(form=self.form),
        )
        evaluation.answer(self._between)
        evaluation.judge(self._between)
        report, records = write_report(self.folder, f"{self.folder.path.parent.name}, {self.questions.name}")
        missing, total = evaluation.missing(records)
        found = {f"{NAME}/missing": missing / total}
        for one in (one for judge in report.judges for one in judge.models if one.model == name and one.overall):
            assert one.overall is not None
            found |= {f"{NAME}/score": one.overall.mean, f"{NAME}/words": one.words}
        gain = compare(records, self.judge.name, START, name) if name != START else None
        if gain is not None:
            found |= {f"{NAME}/gain": gain.scores.difference, f"{NAME}/gain_p": gain.scores.p}
        return found

    def _stop_if_asked(self) -> None:
        if self.trainer.interruption.asked:
            raise AskedToStop

    def _between(self, *progress: Any) -> None:
        """Between two answers or judgments: stop where that is asked for, and show the other processes some life."""
        self._stop_if_asked()
        self.trainer.watch.moved()

    def _answerer(self, name: str) -> LocalAnswerer:
        spec, trainer = self.spec, self.trainer
        tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
        sampler = TransformersSampler(
            model=trainer.model, tokenizer=tokenizer, max_new_tokens=spec.max_new_tokens, batch_size=spec.batch_size
        )

        def draw(chats: Sequence[Chat], temperature: float, seed: int) -> list[str]:
            self._between()
            with trainer.compute_loss_context_manager():  # the arithmetic of training: autocast where it has that
                return [one for (one,) in replace(sampler, temperature=temperature, seed=seed)(chats)]

        settings = {"model": name, "max_tokens": spec.max_new_tokens}
        questions = self.questions.questions
        return LocalAnswerer(load=lambda: draw, questions=questions, settings=settings, at_once=spec.batch_size)
