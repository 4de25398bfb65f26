"""tests/recipes trains every recipe through this command; here is what it prints, and how it fails."""

from pathlib import Path

import pytest
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM

from tests.cli.commands import invoke
from tests.cli.wandb_file import read_run
from tests.launching import launch

BAD = """\
objective: {name: dpoo, beta: 0.1}
model: {path: "tiny:llama"}
data: {train: [{source: missing.jsonl}]}
train: {learning_rte: 5e-7}
"""


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "loader"), [((), AutoModelForCausalLM), (("model.adapter.rank=2",), AutoPeftModelForCausalLM)]
)
def test_the_last_lines_say_where_the_model_is_and_how_to_load_it(overrides, loader):
    result = invoke("train", "dpo/tiny", "train.output_dir=here/model", "train.max_steps=1", *overrides)
    assert result.exit_code == 0, result.output
    said = dict(line.split(":", 1) for line in result.stdout.splitlines() if line.startswith(("model:", "load:", "ag")))
    assert said["model"].strip() == "here/model"
    assert said["load"].endswith(f"model = {loader.__name__}.from_pretrained('here/model')")
    found: dict = {}
    exec(said["load"].strip(), found)
    assert isinstance(found["model"].config.vocab_size, int)
    assert Path(said["again"].split()[-1]).is_file()


def test_every_logged_step_is_a_line(tmp_path):
    result = invoke("train", "dpo/tiny")
    lines = [line for line in result.stdout.splitlines() if line.startswith("step")]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2", "2/2"]
    assert "loss 0.6931" in lines[0]
    assert "eval loss" in lines[2]
    assert (tmp_path / "runs" / "dpo-tiny" / "model.safetensors").is_file()


def test_a_bad_recipe_is_refused_with_every_problem():
    Path("bad.yaml").write_text(BAD, encoding="utf-8")
    result = invoke("train", "bad.yaml")
    assert result.exit_code == 2
    assert "bad.yaml:1: no objective named 'dpoo'; did you mean 'dpo'?" in result.stderr
    assert "bad.yaml:3: data.train.0.source = 'missing.jsonl' does not exist" in result.stderr
    assert "bad.yaml:4: unknown key train.learning_rte; did you mean learning_rate?" in result.stderr
    assert "3 problems. Nothing was started." in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("objective.bta=1", "unknown key objective.bta; did you mean beta?"),
        ("objective.beta=-1", "beta"),
        ("train.global_batch_size=5", "global_batch_size = 5 is no multiple of"),
        ("model.path=tiny:lama", "tiny:lama is not known; did you mean 'llama'?"),
        ("model.precision=float16", "precision = 'float16' needs a GPU"),
        ("data.train=[{source: missing.jsonl}]", "does not exist"),
    ],
)
def test_a_bad_override_is_refused_before_anything_is_written(override, said):
    result = invoke("train", "dpo/tiny", override)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("runs").exists()


def test_data_that_the_objective_cannot_learn_from_are_refused():
    Path("rows.jsonl").write_text('{"prompt": "a", "chosen": "b"}\n', encoding="utf-8")
    result = invoke("train", "dpo/tiny", "data.train=[{source: rows.jsonl}]", "data.eval=[]", "train.eval_strategy=no")
    assert result.exit_code == 2
    assert "rows.jsonl" in result.stderr
    assert "rejected" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.smoke
def test_wandb_keeps_an_offline_run(tmp_path, model_cache):
    program = ["-m", "alignkit", "train", "ipo/tiny", "report=wandb", "objective.tau=0.5"]
    result = launch(program, tmp_path, WANDB_MODE="offline", WANDB_DIR=None, WANDB_API_KEY=None)
    assert result.returncode == 0, result.stderr
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    config, summary = read_run(file)
    assert summary["train/loss"] > 0
    assert summary["eval/loss"] > 0
    assert summary["train/global_step"] == 2
    assert config["learning_rate"] == 1e-3
    assert config["recipe"]["objective"] == {"name": "ipo", "tau": 0.5, "normalize": "sum"}
    assert config["beta"] is None  # TRL's, which no objective reads
    assert config["loss_type"] is None
