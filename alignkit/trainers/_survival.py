"""How a run starts, goes on and ends: from a checkpoint that is looked at, with a signal, with a server that is away.

Mixed in below `ObjectiveTrainer`, so every trainer has it.
"""

from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from alignkit import checkpoints
from alignkit.trainers import _draws, _seams
from alignkit.trainers._interruption import Interrupted, Interruption, StoppedInEvaluation
from alignkit.trainers._nonfinite import FiniteTrainer
from alignkit.trainers._saving import SavingTrainer
from alignkit.trainers._together import on_any_rank
from alignkit.trainers._watch import Watch


class SurvivingTrainer(FiniteTrainer, SavingTrainer):
    """Saves aside and renames, resumes to the bit, refuses updates that are not finite, and stops in order.

    A rank that has not moved for `rank_timeout` seconds ends the run.
    """

    rank_timeout: float = 1800.0
    began_at = 0  # the step that training began or went on from
    verified: Path | None = None  # a checkpoint that is known to be whole and this user's own; others are looked at

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.interruption = Interruption()
        self.watch = Watch()
        super().__init__(*args, **kwargs)
        self.add_callback(self.interruption)
        self.add_callback(self.watch)
        self.add_callback(GoOn(self))  # last, since it may evaluate: signals and ranks are looked after then

    @property
    def interrupted(self) -> bool:
        """Whether training ended because a signal asked for it."""
        return self.interruption.stopped

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As transformers', from a checkpoint where its path is given.

        Raises:
            ValueError: the checkpoint is damaged, or not known to be this user's own: it holds pickles; or processes
                would go on from different ones.
            Interrupted: after SIGTERM, SIGUSR1 or Ctrl-C, when the step is finished and saved.
            Diverged: a loss or gradient that is not finite, unless such steps are skipped.
            NotSaved: a checkpoint could not be written.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = get_last_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise ValueError(f"there is no checkpoint in {self.args.output_dir}")
        self.resumed = Path(resume_from_checkpoint) if resume_from_checkpoint else None
        resume_from_checkpoint = str(self.resumed) if self.resumed else None
        if self.resumed is not None and self.resumed != self.verified:
            checkpoints.refuse_unfit(self.resumed)
        if len(places := dict.fromkeys(gather_object([resume_from_checkpoint]))) > 1:
            raise ValueError(f"processes would go on from different checkpoints: {', '.join(map(str, places))}")
        self.watch.seconds = self.rank_timeout
        try:
            result = super().train(resume_from_checkpoint, *args, **kwargs)
        except StoppedInEvaluation:  # between two steps, so that a checkpoint is exact
            self._save_last_step()
        except Exception as error:
            if self.back_to_last_step(error):
                self.args.save_only_model = False  # a run is to go on from it
                self._save_last_step()
                error.add_note(f"step {self.state.global_step} is saved; --resume auto goes on from it")
            raise
        finally:
            self.interruption.release()
            self.watch.release()  # also where training failed: a process that goes on to something else is not missing
        if self.interrupted:
            raise Interrupted(f"stopped and saved at step {self.state.global_step}; --resume auto goes on")
        return result

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers', with draws of its own: training is the same without it, and where it is cut short."""
        with _draws.apart():
            return super().evaluate(*args, **kwargs)

    def back_to_last_step(self, error: Exception) -> bool:
        """Undo what a step that failed has done so far, so that the one before can be saved; False where it cannot."""
        return False

    def _save_last_step(self) -> None:
        """Unless training goes on from its checkpoint, which is there: transformers draws as it did from later on."""
        if self.resumed is None or self.state.global_step != self.began_at:
            self._save_checkpoint(self.model, None)

    def save_own(self, checkpoint: Path) -> None:
        """Also, on every process, whether the evaluation of this step was put off."""
        super().save_own(checkpoint)
        if self.interruption.owes:
            (checkpoint / self._owed_file()).touch()

    def evaluate_late(self) -> None:
        """Make up for the evaluation that was put off when the checkpoint was saved from which training goes on."""
        owed = self.resumed is not None and (self.resumed / self._owed_file()).is_file()
        if on_any_rank(self.accelerator, owed):
            _seams.evaluate_late(self)
            self.name_best(Path(str(self.args.output_dir)))

    def _owed_file(self) -> str:
        return f"evaluation-owed-{self.accelerator.process_index}"

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """As without a signal; all of a run after one, where weights alone are asked for, so that it can go on."""
        if self.interrupted:
            self.args.save_only_model = False
        super()._save_checkpoint(model, trial)

    def _load_best_model(self) -> None:
        """At the end, not where a signal came: the time that is left is for the checkpoint."""
        if not self.interrupted:
            super()._load_best_model()

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """transformers'; no batches where the last step is done, from whose checkpoint it would go one step too far."""
        if self.state.global_step >= self.state.max_steps:
            return [], None
        samples = super().get_batch_samples(*args, **kwargs)
        self.watch.moved()  # the data are there; what follows waits for the other ranks
        return samples

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        self.watch.moved()
        return super().training_step(*args, **kwargs)

    def guarded(self, loss: Tensor, terms: Tensor) -> Tensor:
        self.watch.moved()
        return super().guarded(loss, terms)


class GoOn(TrainerCallback):
    """Lets a trainer take up what it had saved: when training begins, since transformers starts means at zero then."""

    def __init__(self, trainer: SurvivingTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.trainer.began_at = state.global_step
        self.trainer.restore_own()
        self.trainer.evaluate_late()
