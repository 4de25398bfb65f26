"""Checkpoints that are whole or not there."""

import os

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
    ],
)
def test_a_damaged_one_is_passed_over_by_name(tmp_path, harm, said):
    older, damaged = checkpoint(tmp_path, 4), checkpoint(tmp_path, 8)
    harm(damaged)
    assert checkpoints.damage(damaged) == said
    assert newest(tmp_path) == (older, [f"{damaged} is passed over: {said}"])


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


def test_setting_aside(tmp_path):
    checkpoint(tmp_path, 1)
    checkpoints.set_aside(tmp_path, "_earlier")
    checkpoint(tmp_path, 2)
    place = checkpoints.set_aside(tmp_path, "_earlier")
    assert [path.name for path in place.iterdir()] == ["checkpoint-2"]
    assert checkpoints.found(tmp_path) == []
