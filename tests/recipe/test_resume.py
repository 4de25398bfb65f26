"""From which checkpoint a run goes on, and that it is still the same run."""

import json
import logging
import subprocess
import sys
from contextlib import nullcontext

import pytest

from alignkit import checkpoints
from alignkit.recipe import load, save_provenance
from alignkit.recipe.resume import differences, only_run_in, refuse_changes, set_earlier_aside, starting_point

TEXT = """\
objective: {name: dpo, beta: 0.1}
model: {path: org/model}
data: {train: [{source: org/rows}]}
train: {learning_rate: 1e-4, output_dir: out}
"""

RL = """\
objective: {name: grpo}
model: {path: org/model}
data: {train: [{source: org/rows}]}
reward: {members: [{rule: length, limit: 8, buffer: 8, unit: characters}]}
train: {output_dir: out, global_batch_size: 8}
"""


@pytest.fixture
def saved(tmp_path):
    def save(step, recipe=None, whole=True):
        aside = tmp_path / checkpoints.ASIDE / f"checkpoint-{step}"
        aside.mkdir(parents=True)
        (aside / "model").write_text("model")
        if whole:
            (aside / "rng_state.pth").touch()
        if recipe is not None:
            save_provenance(recipe, aside, {"org/rows": "1234"})
        checkpoints.seal(aside)
        return checkpoints.publish(aside, tmp_path)

    return save


def test_auto_takes_the_newest_whole_one_and_says_what_it_passes_over(saved, tmp_path, caplog):
    assert starting_point(tmp_path, "auto") is None
    older, newer = saved(2), saved(4)
    assert starting_point(tmp_path, "auto") == newer
    (newer / "model").write_text("modem")
    with caplog.at_level(logging.WARNING):
        assert starting_point(tmp_path, "auto") == older
    (record,) = caplog.records
    assert record.getMessage() == (f"{newer} is passed over: model is not what was written: its checksum differs")


def test_never_starts_from_the_beginning_and_earlier_ones_are_set_aside(saved, tmp_path, caplog):
    saved(2)
    assert starting_point(tmp_path, "never") is None
    with caplog.at_level(logging.WARNING):
        set_earlier_aside(tmp_path, None)
        set_earlier_aside(tmp_path, None)  # nothing is left to say
    (record,) = caplog.records
    assert record.getMessage() == f"1 checkpoints of an earlier run are now in {tmp_path / '_earlier'}"
    assert checkpoints.found(tmp_path) == []


def test_going_back_sets_aside_what_came_after(saved, tmp_path):
    """They would be the newest, by their names, and what is saved from now on would be pruned for them."""
    two, four, eight = (saved(step) for step in (2, 4, 8))
    set_earlier_aside(tmp_path, four)
    assert checkpoints.found(tmp_path) == [four, two]
    assert [path.name for path in (tmp_path / "_earlier").iterdir()] == [eight.name]
    elsewhere = tmp_path / "elsewhere" / "checkpoint-3"  # of another run, from which a run in this folder goes on
    set_earlier_aside(tmp_path, elsewhere)
    assert checkpoints.found(tmp_path) == []


def test_one_that_was_not_renamed_any_more_is_taken(saved, tmp_path):
    aside = tmp_path / checkpoints.ASIDE / saved(4).name
    aside.parent.mkdir(exist_ok=True)
    (tmp_path / "checkpoint-4").rename(aside)
    assert starting_point(tmp_path, "auto") == tmp_path / "checkpoint-4"


def test_weights_alone_are_refused(saved, tmp_path):
    checkpoint = saved(2, whole=False)
    for resume in ("auto", str(checkpoint)):
        with pytest.raises(ValueError, match=f"start from its weights: model.path={checkpoint} --resume never"):
            starting_point(tmp_path, resume)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (TEXT, True),
        (TEXT.replace("out}", "out, global_batch_size: 8}"), False),  # the batch stays what it is
        (RL, True),
    ],
)
def test_another_number_of_processes(write, saved, monkeypatch, text, refused):
    recipe = load(write(text))
    checkpoint = saved(2, recipe)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="the number of processes: 1 -> 2") if refused else nullcontext():
        refuse_changes(recipe, {}, checkpoint)


def test_a_named_one_must_be_there_and_whole(saved, tmp_path):
    checkpoint = saved(2)
    assert starting_point(tmp_path, str(checkpoint)) == checkpoint
    with pytest.raises(ValueError, match="--resume nowhere: there is no such folder; write auto, never, or the path"):
        starting_point(tmp_path, "nowhere")
    (checkpoint / "model").unlink()
    with pytest.raises(ValueError, match="model is missing; write --resume auto to take the newest whole checkpoint"):
        starting_point(tmp_path, str(checkpoint))


def test_a_stranger_s_checkpoint_is_refused_until_it_is_adopted(saved, tmp_path, monkeypatch):
    """Passing over it would begin anew, and set the work of days aside."""
    checkpoint = saved(2)
    monkeypatch.setenv("ALIGNKIT_STATE", str(tmp_path / "another"))
    for resume in ("auto", str(checkpoint)):
        with pytest.raises(ValueError, match=r"checkpoint-2 is not known to be yours: there is no .*, or sign it once"):
            starting_point(tmp_path, resume)
    monkeypatch.setenv("RANK", "1")  # the first process signs, and looks
    assert starting_point(tmp_path, "auto", adopt=True) == checkpoint
    monkeypatch.setenv("RANK", "0")
    assert starting_point(tmp_path, "auto", adopt=True) == checkpoint
    assert starting_point(tmp_path, "auto") == checkpoint
    (checkpoint / "latest").touch()
    with pytest.raises(ValueError, match="latest was added to it"):
        starting_point(tmp_path, "auto", adopt=True)


@pytest.mark.parametrize(
    ("override", "shown"),
    [
        ("objective.beta=0.2", "objective.beta: 0.1 -> 0.2"),
        ("objective={name: ipo, tau: 0.1}", 'objective.name: "dpo" -> "ipo"'),
        ("train.learning_rate=2e-4", "train.learning_rate: 0.0001 -> 0.0002"),
        ("model.adapter.rank=8", "model.adapter: null -> {"),
        ("train.max_steps=9", "train.max_steps: null -> 9"),
    ],
)
def test_a_changed_recipe_is_refused_with_the_difference(write, saved, override, shown):
    file = write(TEXT)
    checkpoint = saved(2, load(file))
    with pytest.raises(ValueError, match="was saved by a run that differs from this one") as caught:
        refuse_changes(load(file, [override]), {"org/rows": "1234"}, checkpoint)
    assert f"\n  {shown}" in str(caught.value)
    assert str(caught.value).endswith(
        "Undo the change, write --resume never to start anew, or --force to go on all the same"
    )


def test_changed_data_are_refused(write, saved):
    recipe = load(write(TEXT))
    with pytest.raises(ValueError, match="the data of org/rows changed"):
        refuse_changes(recipe, {"org/rows": "5678"}, saved(2, recipe))


def test_changed_code_is_refused_and_that_of_the_checkpoint_is_not_run(write, saved):
    write("from alignkit.objectives.dpo import DPO\n\nclass Mine(DPO): ...\n", "losses.py")
    recipe = load(write(TEXT.replace("dpo", "losses.Mine")))
    refuse_changes(recipe, {}, checkpoint := saved(2, recipe))
    (checkpoint / "losses.py").write_text("raise RuntimeError('this is run')")
    with pytest.raises(ValueError, match=r"\n  the code of losses.Mine changed\n"):
        refuse_changes(recipe, {}, checkpoint)


@pytest.mark.parametrize("override", ["train.output_dir=elsewhere", "report=wandb", "train.save_total_limit=2"])
def test_what_makes_no_other_experiment_may_change(write, saved, override):
    file = write(TEXT)
    refuse_changes(load(file, [override]), {"org/rows": "1234"}, saved(2, load(file)))


def test_a_recipe_that_is_not_valid_any_more(write, saved):
    recipe = load(write(TEXT))
    checkpoint = saved(2, recipe)
    (checkpoint / "recipe.yaml").write_text("objective: {name: gone}\n")
    with pytest.raises(ValueError, match=r"the recipe of .* is not valid any more; --force goes on"):
        refuse_changes(recipe, {}, checkpoint)


def test_differences_are_shown_in_short():
    assert differences({"a": {"b": [1] * 99}}, {"a": {"b": 2}}) == [f"a.b: {str([1] * 99)[:77]}... -> 2"]


def test_a_run_that_does_not_begin_leaves_no_folder(tmp_path):
    output = tmp_path / "runs" / "mine"
    with pytest.raises(ZeroDivisionError), only_run_in(output):
        raise ZeroDivisionError
    assert not (tmp_path / "runs").exists()
    with only_run_in(output):
        (output / "metrics.jsonl").touch()
    assert (output / "metrics.jsonl").exists()


def test_a_folder_with_a_link_takes_none(tmp_path):
    (tmp_path / "elsewhere").write_text("mine")
    output = tmp_path / "out"
    output.mkdir()
    (output / "recipe.yaml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"recipe\.yaml is a link"), only_run_in(output):
        pass


def test_a_folder_takes_one_run(tmp_path):
    program = (
        "import sys, pathlib; from alignkit.recipe.resume import only_run_in\n"
        "with only_run_in(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        message = f"process {other.pid} on .* is training in {tmp_path}; wait for it, or write another train.output_dir"
        with pytest.raises(ValueError, match=message), only_run_in(tmp_path):
            pass
        other.kill()  # nothing is left to clean up by hand
        other.wait()
    with only_run_in(tmp_path):
        assert json.loads((tmp_path / ".lock.json").read_text())["process"]
