"""Checkpoints that are whole or not there."""

import hashlib
import hmac
import json
import os
from pathlib import Path

import pytest

from alignkit import checkpoints


def checkpoint(folder, step: int):
    """A sealed one of two files, published in `folder`."""
    aside = folder / checkpoints.ASIDE / f"checkpoint-{step}"
    (aside / "global_step").mkdir(parents=True)
    (aside / "model.safetensors").write_bytes(bytes(range(step)))
    (aside / "global_step" / "states.pt").write_bytes(b"states")
    checkpoints.seal(aside)
    return checkpoints.publish(aside, folder)


def _as_a_folder(folder):
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()


def newest(folder):
    said: list[str] = []
    return checkpoints.newest_whole(folder, said.append), said


def test_the_newest_is_the_one_with_the_highest_step_whatever_the_clock_says(tmp_path):
    for step in (9, 10, 100):
        checkpoint(tmp_path, step)
    os.utime(tmp_path / "checkpoint-9", (2**31, 2**31))
    os.utime(tmp_path / "checkpoint-100", (0, 0))
    (tmp_path / "checkpoint-200.txt").write_text("no checkpoint")
    (tmp_path / "checkpoint-last").mkdir()
    assert newest(tmp_path) == (tmp_path / "checkpoint-100", [])
    assert [path.name for path in checkpoints.found(tmp_path)] == ["checkpoint-100", "checkpoint-10", "checkpoint-9"]


def test_without_checkpoints_there_is_none(tmp_path):
    assert newest(tmp_path / "nowhere") == (None, [])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0"), "model.safetensors has 1 bytes, not 8"),
        (
            lambda folder: (folder / "global_step" / "states.pt").write_bytes(b"stAtes"),
            "global_step/states.pt is not what was written: its checksum differs",
        ),
        (
            lambda folder: (folder / "manifest.json").unlink(),
            "it has no manifest.json: it was never finished, or not saved by alignkit",
        ),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text('["a"]'), "manifest.json cannot be read"),
        (_as_a_folder, "it cannot be read: [Errno 21] Is a directory: 'manifest.json'"),
    ],
)
def test_a_damaged_one_is_passed_over_by_name(tmp_path, harm, said):
    older, damaged = checkpoint(tmp_path, 4), checkpoint(tmp_path, 8)
    harm(damaged)
    assert checkpoints.damage(damaged).replace(f"{damaged}/", "") == said
    assert newest(tmp_path) == (older, [f"{damaged} is passed over: {checkpoints.damage(damaged)}"])


def test_every_flipped_bit_of_the_weights_is_seen(tmp_path):
    file = checkpoint(tmp_path, 3) / "model.safetensors"
    whole = file.read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        assert checkpoints.damage(tmp_path / "checkpoint-3") is not None
    file.write_bytes(whole)
    assert checkpoints.damage(tmp_path / "checkpoint-3") is None


def test_the_same_step_again_takes_the_place_of_the_first(tmp_path):
    first = checkpoint(tmp_path, 4)
    (first / "model.safetensors").write_bytes(b"damaged")
    assert checkpoint(tmp_path, 4) == first
    assert checkpoints.damage(first) is None
    assert not (tmp_path / checkpoints.PRUNED).exists()


@pytest.mark.parametrize(
    ("keep", "always", "left"),
    [
        (None, [], [1, 2, 3, 4]),
        (2, [], [3, 4]),
        (1, [], [4]),
        (1, ["checkpoint-2"], [2, 4]),
        (9, [], [1, 2, 3, 4]),
    ],
)
def test_older_ones_are_pruned(tmp_path, keep, always, left):
    for step in (1, 2, 3, 4):
        checkpoint(tmp_path, step)
    checkpoints.prune(tmp_path, keep, always)
    assert [int(path.name.split("-")[1]) for path in reversed(checkpoints.found(tmp_path))] == left


def test_nothing_is_pruned_for_a_newest_one_that_is_damaged(tmp_path):
    for step in (1, 2, 3):
        checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-3" / "model.safetensors").unlink()
    checkpoints.prune(tmp_path, 1)
    assert len(checkpoints.found(tmp_path)) == 3


def test_what_a_process_left_half_done_is_cleared(tmp_path):
    checkpoint(tmp_path, 1)
    for name in (checkpoints.ASIDE, checkpoints.PRUNED):
        (tmp_path / name / "checkpoint-2").mkdir(parents=True, exist_ok=True)
    checkpoints.clear_aside(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


def test_setting_aside_removes_nothing(tmp_path):
    first, second, third = (
        checkpoints.set_aside([checkpoint(tmp_path, step)], tmp_path / "_earlier") for step in (1, 2, 1)
    )
    assert [place.name for place in (first, second, third)] == ["_earlier", "_earlier-2", "_earlier-3"]
    assert [path.name for place in (first, second, third) for path in place.iterdir()] == [
        "checkpoint-1",
        "checkpoint-2",
        "checkpoint-1",
    ]
    assert checkpoints.found(tmp_path) == []


@pytest.mark.parametrize("renamed", [0, 1])
def test_one_that_is_replaced_or_its_successor_is_there_whenever_the_process_is_killed(tmp_path, monkeypatch, renamed):
    place = checkpoint(tmp_path, 4)
    (aside := tmp_path / checkpoints.ASIDE / "checkpoint-4").mkdir(parents=True)
    (aside / "model.safetensors").write_bytes(b"the same step again")
    checkpoints.seal(aside)
    rename, left = Path.rename, [renamed]

    def killed(self, target):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.publish(aside, tmp_path)
    monkeypatch.undo()
    checkpoints.recover(tmp_path)
    assert newest(tmp_path) == (place, [])
    assert (place / "global_step").exists() == (renamed == 0)


def test_what_was_not_sealed_is_not_recovered(tmp_path):
    aside = tmp_path / checkpoints.ASIDE / "checkpoint-4"
    aside.mkdir(parents=True)
    (aside / "model.safetensors").write_bytes(b"half")
    checkpoints.recover(tmp_path)
    assert checkpoints.found(tmp_path) == []


def test_the_step_is_in_the_name(tmp_path):
    assert checkpoints.step_of(tmp_path / "checkpoint-12") == 12
    with pytest.raises(ValueError, match="best has no name of a checkpoint, such as checkpoint-8"):
        checkpoints.step_of(tmp_path / "best")


def test_a_folder_elsewhere_in_the_place_of_one_that_was_signed_is_refused(tmp_path):
    """Its files may all be those that were signed, and others with them, which DeepSpeed would read too."""
    own = checkpoint(tmp_path, 4)
    elsewhere = tmp_path / "elsewhere"
    (own / "global_step").rename(elsewhere)
    (elsewhere / "evil.pt").write_bytes(b"evil")
    (own / "global_step").symlink_to(elsewhere)
    assert checkpoints.damage(own) is None
    with pytest.raises(ValueError, match="global_step is a link to somewhere else"):
        checkpoints.refuse_unfit(own)


FORGED = {  # what somebody may do to a checkpoint who can write to its folder, and nowhere else
    "a file, and its checksum": lambda folder: (folder / "global_step" / "states.pt").write_bytes(b"evil"),
    "the signature removed": lambda folder: (folder / "manifest.hmac").unlink(),
    "the signature of nothing": lambda folder: (folder / "manifest.hmac").write_text("0" * 64),
    "the signature by a key of one's own": lambda folder: (folder / "manifest.hmac").write_text(
        hmac.new(b"mine", (folder / "manifest.json").read_bytes(), "sha256").hexdigest()
    ),
    "a signature that is no text": lambda folder: (folder / "manifest.hmac").write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("how", FORGED)
def test_whoever_forges_a_checkpoint_has_no_key(tmp_path, how):
    folder = checkpoint(tmp_path, 4)
    checkpoints.refuse_unfit(folder)
    FORGED[how](folder)
    listed = {
        str(file.relative_to(folder)): {
            "bytes": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in folder.rglob("*")
        if file.is_file() and not file.name.startswith("manifest")
    }
    (folder / "manifest.json").write_text(json.dumps(listed))
    assert checkpoints.damage(folder) is None, "checksums alone are satisfied"
    with pytest.raises(ValueError, match=r"is not known to be yours: .*To go on from it would read files that can run"):
        checkpoints.refuse_unfit(folder)


@pytest.mark.parametrize("name", ["latest", "optimizer.bin", "pytorch_model_fsdp_0/.metadata"])
def test_an_added_file_could_be_read(tmp_path, name):
    folder = checkpoint(tmp_path, 4)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"evil")
    assert checkpoints.damage(folder) is None
    assert checkpoints.stranger(folder) == f"{name} was added to it"


def test_another_user_or_machine_has_another_key_and_may_adopt(tmp_path, monkeypatch):
    folder = checkpoint(tmp_path, 4)
    monkeypatch.setenv("ALIGNKIT_STATE", str(tmp_path / "elsewhere"))
    key = tmp_path / "elsewhere" / "checkpoint.key"
    assert checkpoints.stranger(folder) == f"there is no {key}"
    checkpoints.seal(checkpoint(tmp_path, 5))
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
    assert [file.name for file in key.parent.iterdir()] == ["checkpoint.key"]
    assert checkpoints.stranger(folder) == f"it was signed with another key than {key}"
    checkpoints.sign(folder)
    checkpoints.refuse_unfit(folder)


def test_a_damaged_one_is_unfit_whoever_signed_it(tmp_path):
    folder = checkpoint(tmp_path, 4)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"checkpoint-4: model\.safetensors is missing"):
        checkpoints.refuse_unfit(folder)


def test_without_a_place_for_a_key_checkpoints_are_saved_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALIGNKIT_STATE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match=r"checkpoints are not signed, since .*/file cannot be written"):
        folder = checkpoint(tmp_path, 4)
    assert checkpoints.damage(folder) is None
    assert checkpoints.stranger(folder) is not None
