"""A run goes on with the data that it began with, or not at all."""

import json
import shutil

import pytest

from alignkit import checkpoints
from tests.cli.commands import invoke

pytestmark = pytest.mark.smoke

ROWS = [{"prompt": f"Count to {n}.", "chosen": "one, two, " * n, "rejected": "no " * n} for n in range(1, 9)]
LINES = [json.dumps(row) + "\n" for row in ROWS]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The command of a run, its rows, and its folder as a kill after the first of two steps leaves it."""
    folder = tmp_path_factory.mktemp("run")
    rows = folder / "rows.jsonl"
    rows.write_text("".join(LINES))
    output = folder / "out"
    command = (
        *("train", "dpo/tiny", f"data={{train: [{{source: {rows}}}]}}", f"train.output_dir={output}"),
        *("train.eval_strategy=no", "train.save_strategy=steps", "train.save_steps=1", "train.disable_tqdm=true"),
    )
    assert invoke(*command).exit_code == 0
    newest, _ = checkpoints.found(output)
    shutil.rmtree(newest)
    return command, rows, output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("".join([*LINES[:3], LINES[3].replace("Count", "count"), *LINES[4:]]), "the data of {rows} changed"),
        ("".join(LINES[:-1]), "the data of {rows} changed"),
        ("".join([*LINES[1:], LINES[0]]), "the data of {rows} changed"),
        ("".join(LINES)[:-40], "{rows}"),  # whatever made it was cut off in the middle of a row
    ],
    ids=["a letter", "a row fewer", "another order", "cut off"],
)
def test_a_file_that_changed_is_refused(killed, text, said):
    command, rows, output = killed
    rows.write_text(text)
    result = invoke(*command, "--resume", "auto")
    assert (result.exit_code, "Traceback" in result.stderr) == (2, False)
    assert said.format(rows=rows) in result.stderr
    assert [path.name for path in checkpoints.found(output)] == ["checkpoint-1"], "nothing is set aside or trained"


def test_the_same_file_again_is_not(killed):
    command, rows, output = killed
    rows.write_text("".join(LINES))
    assert invoke(*command, "--resume", "auto").exit_code == 0
    assert [path.name for path in checkpoints.found(output)] == ["checkpoint-2", "checkpoint-1"]
