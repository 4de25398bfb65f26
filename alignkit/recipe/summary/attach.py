"""Putting summary and model card on a trainer."""

import warnings
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignkit.generation import Chat
from alignkit.recipe.summary.answers import Answers, NoAnswers, answered, prompts_for
from alignkit.recipe.summary.card import card
from alignkit.recipe.summary.facts import Facts, Progress
from alignkit.recipe.summary.page import page

NAME = "summary.html"


def attach_summary(trainer: Any, facts: Facts) -> None:
    """Let a trainer write OUTPUT/summary.html when training ends, and our card wherever TRL writes its own."""
    trainer.add_callback(WriteSummary(trainer, facts))
    trainer.write_card = lambda: card(facts, Progress.of(trainer))


class WriteSummary(TrainerCallback):
    """Answers held-out prompts when training begins and when it ends, and writes the page then.

    The first process does so alone. Greedy answers draw nothing, so training is the same with them or without.
    """

    def __init__(self, trainer: Any, facts: Facts) -> None:
        self.trainer = trainer
        self.facts = facts
        self.chats: list[Chat] = []
        self.moments: list[Answers | NoAnswers] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        # an earlier run's page says nothing of this one, and may hold texts that this one must not publish
        (Path(str(args.output_dir)) / NAME).unlink(missing_ok=True)
        found = prompts_for(self.trainer, self.facts.data, self.facts.recipe.summary)
        self.chats = [] if isinstance(found, NoAnswers) else found
        self.moments = [found if isinstance(found, NoAnswers) else self.answer()]

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero or self.trainer.interrupted:  # the time that is left is for saving
            return
        if not isinstance(self.moments[0], NoAnswers):
            self.moments.append(self.answer())
        try:
            text = page(self.facts, Progress.of(self.trainer), self.chats, self.moments)
            (Path(str(args.output_dir)) / NAME).write_text(text, encoding="utf-8")
        except Exception as error:  # the model is not saved yet, and must not be lost for a page
            warnings.warn(f"{NAME} was not written: {type(error).__name__}: {error}", stacklevel=2)

    def answer(self) -> Answers | NoAnswers:
        return answered(self.trainer, self.chats, self.facts.recipe.summary)
