"""Checkpoints that are complete or absent, and of which nothing is believed unseen.

transformers writes a checkpoint into its place, removes older ones by its own rules, and reads the best one as it is.
Here a save goes aside first (`alignkit.checkpoints`), what belongs beside it is added, and it is sealed before it has
its name. Mixed in below `SurvivingTrainer`.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from transformers import Trainer

from alignkit import checkpoints
from alignkit.trainers import _seams
from alignkit.trainers._interruption import to_the_end


class NotSaved(RuntimeError):
    """A checkpoint or the model could not be written, or the best checkpoint not be read. Those before it are whole."""


class SavingTrainer(Trainer):
    """Saves aside and renames, and looks at a checkpoint before it reads one."""

    beside_checkpoint: Callable[[Path], None] | None = None  # writes into a checkpoint before it is sealed

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._aside = False
        self.resumed: Path | None = None
        super().__init__(*args, **kwargs)

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        """As transformers', and to its end where a signal comes.

        Raises:
            NotSaved: it could not be written.
            Interrupted: a signal came; the model is saved.
        """
        if self._aside:  # a part of a checkpoint, whose save says what went wrong
            return super().save_model(*args, **kwargs)
        try:
            with to_the_end("the model is saved; --resume auto says that the run is done, or goes on"):
                super().save_model(*args, **kwargs)
        except Exception as error:  # whichever library writes: OSError, SafetensorError, RuntimeError of torch.save
            raise NotSaved(_why(Path(str(self.args.output_dir)), "the model", error)) from error

    def save_own(self, checkpoint: Path) -> None:
        """Add, on every process, what transformers does not save: means since the last log would start anew."""
        text = json.dumps(_seams.averages(self))
        (checkpoint / _averages_file(self.accelerator.process_index)).write_text(text, encoding="utf-8")

    def restore_own(self) -> None:
        """Take up, when training begins, what `save_own` added to the checkpoint it goes on from."""
        if self.resumed is None:
            return
        file = self.resumed / _averages_file(self.accelerator.process_index)
        if file.is_file():  # not in one that fewer processes saved
            _seams.set_averages(self, json.loads(file.read_text(encoding="utf-8")))

    def name_best(self, folder: Path) -> None:
        """Note where the best checkpoint is, once it is known and there."""
        best = folder / f"checkpoint-{self.state.best_global_step}"
        if self.state.best_global_step and best.exists():
            self.state.best_model_checkpoint = str(best)

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return os.path.join(folder, checkpoints.ASIDE) if self._aside else folder

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """As transformers', but aside; then what belongs beside it, the seal, the name, and older ones pruned."""
        folder = Path(self._get_output_dir(trial))
        name = f"checkpoint-{self.state.global_step}"
        aside = folder / checkpoints.ASIDE / name
        first = self.args.should_save
        self.name_best(folder)
        try:
            if first:
                checkpoints.clear_aside(folder)
            self.accelerator.wait_for_everyone()
            self._aside = True
            super()._save_checkpoint(model, trial)
            self.save_own(aside)
            self.accelerator.wait_for_everyone()  # every rank's files are there
            if first:
                self._finish(aside, folder)
        except Exception as error:
            shutil.rmtree(folder / checkpoints.ASIDE, ignore_errors=True)
            raise NotSaved(_why(folder, name, error)) from error
        finally:
            self._aside = False
        self.accelerator.wait_for_everyone()

    def _finish(self, aside: Path, folder: Path) -> None:
        if self.state.best_model_checkpoint == str(aside):
            self.state.best_model_checkpoint = str(folder / aside.name)
            self.state.save_to_json(str(aside / "trainer_state.json"))
        if self.beside_checkpoint is not None:
            self.beside_checkpoint(aside)
        checkpoints.seal(aside)
        checkpoints.publish(aside, folder)
        (folder / checkpoints.ASIDE).rmdir()
        best = self.state.best_model_checkpoint
        checkpoints.prune(folder, self.args.save_total_limit, always=[Path(best).name] if best else [])

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        """transformers', which would keep the best of all checkpoints and not the last, where one may stay."""
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            return super()._finalize_training(*args, **kwargs)
        finally:
            self.args.save_total_limit = limit

    def _load_best_model(self) -> None:
        """transformers', of a checkpoint that is whole and this user's own.

        Raises:
            NotSaved: it is damaged, or a stranger's.
        """
        best = Path(str(self.state.best_model_checkpoint))
        wrong = (checkpoints.damage(best) or checkpoints.stranger(best)) if self.args.should_save else None
        if (found := next(filter(None, gather_object([wrong])), None)) is not None:
            raise NotSaved(
                f"the best checkpoint, {best}, is not read: {found}. Training is done and its last checkpoint is kept: "
                "train.load_best_model_at_end: false and --resume auto save the model of the last step"
            )
        super()._load_best_model()


def _averages_file(rank: int) -> str:
    return f"averages-{rank}.json"


def _why(folder: Path, name: str, error: Exception) -> str:
    cause = " ".join(str(error).split()) or type(error).__name__
    older = checkpoints.found(folder)
    kept = f"{older[0].name} is whole" if older else "there is none before it"
    free = shutil.disk_usage(folder).free if folder.exists() else 0
    return (
        f"{name} could not be written to {folder} ({free / 2**20:.0f} MiB free): {cause}; {kept}. "
        "Make room or write train.save_total_limit, then go on with --resume auto"
    )
