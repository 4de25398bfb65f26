"""A save that is cut short, at any point and for any reason, leaves the checkpoint before it."""

import os
import resource
import shutil
import signal

import pytest

from alignkit import checkpoints
from alignkit.trainers import Interrupted, NotSaved
from tests.faults.runs import SAVED, At, Killed, dies_at_write, killed, logged, trainer

FOUR = (*SAVED, "train.max_steps=4")

pytestmark = pytest.mark.smoke


@pytest.fixture(scope="module")
def run(tmp_path_factory, request):
    """A run whose newest checkpoint is of step 3, at step 4."""
    os.environ["ALIGNKIT_CACHE"] = str(request.config.cache.mkdir("alignkit"))
    folder = tmp_path_factory.mktemp("run")
    run = trainer("dpo/tiny", folder, *FOUR)
    run.add_callback(At("on_step_end", 4, killed))
    with pytest.raises(Killed):
        run.train()
    assert [path.name for path in checkpoints.found(folder)] == ["checkpoint-3"]
    return run, folder


def test_killed_at_every_write(run):
    """SIGKILL at the first write of a save, at the second, and so on until one gets through."""
    trainer, folder = run
    ended, at = signal.SIGKILL, 0
    while ended == signal.SIGKILL:
        at += 1
        ended = dies_at_write(at, folder, lambda: trainer._save_checkpoint(trainer.model, None))
        newest = checkpoints.newest_whole(folder, lambda said: pytest.fail(said))
        assert newest is not None
        if ended == signal.SIGKILL and newest.name == "checkpoint-4":  # killed after its name was given
            shutil.rmtree(newest)
    assert at > 15, "a save writes more files than that"
    assert newest.name == "checkpoint-4"
    assert not (folder / checkpoints.ASIDE).exists()
    shutil.rmtree(newest)


def test_killed_at_every_write_of_a_save_that_replaces_and_prunes(run, tmp_path, monkeypatch):
    """The same step again, where one checkpoint may stay: it is there after every kill, as it was or as it is."""
    trainer, folder = run
    shutil.copytree(folder / "checkpoint-3", older := tmp_path / "checkpoint-3")
    trainer._save_checkpoint(trainer.model, None)
    monkeypatch.setattr(trainer.args, "save_total_limit", 1)
    ended, at = signal.SIGKILL, 0
    while ended == signal.SIGKILL:
        at += 1
        if not (folder / older.name).exists():
            shutil.copytree(older, folder / older.name)
        ended = dies_at_write(at, folder, lambda: trainer._save_checkpoint(trainer.model, None))
        checkpoints.recover(folder)
        newest = checkpoints.newest_whole(folder, lambda said: pytest.fail(said))
        assert newest == folder / "checkpoint-4", f"after a kill at write {at}"
    assert at > 20, "a save that replaces and prunes writes more than that"
    assert [path.name for path in checkpoints.found(folder)] == ["checkpoint-4"]
    shutil.rmtree(newest)
    shutil.copytree(older, folder / older.name)


def on_a_full_disk(action):
    """Print what it says where no file may be longer than 20 kB."""
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # Python's own; the write fails instead
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
            action()
        except NotSaved as error:
            print(error, flush=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_a_full_disk_is_said_and_what_was_written_is_given_back(run, capfd):
    trainer, folder = run
    on_a_full_disk(lambda: trainer._save_checkpoint(trainer.model, None))
    assert f"checkpoint-4 could not be written to {folder} (" in capfd.readouterr().out
    assert [path.name for path in checkpoints.found(folder)] == ["checkpoint-3"]
    assert not (folder / checkpoints.ASIDE).exists()
    assert checkpoints.damage(folder / "checkpoint-3") is None


def test_a_disk_that_is_full_when_the_model_is_saved(run, capfd):
    """The library that writes says so with an error of its own, which is no OSError."""
    trainer, folder = run
    on_a_full_disk(trainer.save_model)
    assert f"the model could not be written to {folder} (" in (said := capfd.readouterr().out)
    assert "File too large" in said


def test_a_signal_lets_the_model_be_saved(run, tmp_path, monkeypatch):
    trainer, _ = run
    save = trainer.model.save_pretrained

    def with_a_signal(*args, **kwargs):
        signal.raise_signal(signal.SIGTERM)
        save(*args, **kwargs)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(trainer.model, "save_pretrained", with_a_signal)
    with pytest.raises(Interrupted, match=r"^SIGTERM: the model is saved; --resume auto"):
        trainer.save_model(str(tmp_path))
    assert (tmp_path / "model.safetensors").is_file()
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_message_of_a_failed_save(run, monkeypatch):
    trainer, folder = run

    def full(aside):
        raise OSError(28, "No space left on device", str(aside / "x"))

    monkeypatch.setattr(trainer, "beside_checkpoint", full)
    with pytest.raises(NotSaved) as caught:
        trainer._save_checkpoint(trainer.model, None)
    said = str(caught.value)
    assert said.startswith(f"checkpoint-4 could not be written to {folder} (")
    assert "MiB free): [Errno 28] No space left on device" in said
    assert said.endswith(
        "; checkpoint-3 is whole. Make room or write train.save_total_limit, then go on with --resume auto"
    )
    assert not (folder / checkpoints.ASIDE).exists()


def test_a_run_goes_on_from_what_a_kill_left(run):
    _, folder = run
    again = trainer("dpo/tiny", folder, *FOUR)
    again.train(resume_from_checkpoint=folder / "checkpoint-3")
    assert again.state.global_step == 4
    assert len(logged(again)) == 4
