"""The private names we touch exist in the TRL that is installed, and the public hooks have their signatures."""

import inspect

import pytest
import trl
from datasets import Dataset
from trl import DPOConfig, KTOConfig, SFTConfig

from alignkit.models.sources import resolve
from alignkit.objectives import make
from alignkit.trainers import PairTrainer, TokenTrainer, UnpairedTrainer, _seams
from tests.trainers.runs import ROWS, TEXTS, group_trainer


def test_trl_is_the_minor_release_the_seams_were_read_in():
    assert trl.__version__.startswith("1.16."), "read trl's changes, run tests/trainers, then widen pyproject's bound"


@pytest.mark.parametrize("trainer", [trl.DPOTrainer, trl.KTOTrainer, trl.SFTTrainer])
def test_public_hooks_keep_their_signatures(trainer):
    assert list(inspect.signature(trainer.compute_loss).parameters) == [
        "self",
        "model",
        "inputs",
        "return_outputs",
        "num_items_in_batch",
    ]
    assert list(inspect.signature(trainer.get_batch_samples).parameters) == [
        "self",
        "epoch_iterator",
        "num_batches",
        "device",
    ]
    for name in _seams.TOUCHED["methods"]:
        assert callable(getattr(trainer, name))


def test_names_of_pairs_exist(tmp_path):
    for name in _seams.TOUCHED_OF_PAIRS["methods"]:
        assert callable(getattr(trl.DPOTrainer, name))
    args = DPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none")
    run = trl.DPOTrainer(model=resolve("tiny:llama"), args=args, train_dataset=Dataset.from_list(ROWS))
    for name in _seams.TOUCHED_OF_PAIRS["attributes"]:
        assert hasattr(run, name), f"DPOTrainer.{name} is gone"


def test_names_of_groups_exist(tmp_path):
    for name in _seams.TOUCHED_OF_GROUPS["methods"]:
        assert callable(getattr(trl.GRPOTrainer, name))
    run = group_trainer(tmp_path)
    for name in _seams.TOUCHED_OF_GROUPS["attributes"]:
        assert hasattr(run, name), f"GRPOTrainer.{name} is gone"


@pytest.mark.parametrize(
    ("trainer", "config", "rows", "objective"),
    [
        (PairTrainer, DPOConfig, ROWS, make("dpo")),
        (TokenTrainer, SFTConfig, TEXTS, make("nll")),
        (UnpairedTrainer, KTOConfig, [{**row, "label": i % 2 == 0} for i, row in enumerate(TEXTS)], make("kto")),
    ],
)
def test_touched_attributes_exist(tmp_path, trainer, config, rows, objective):
    args = config(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", max_steps=1, disable_tqdm=True)
    run = trainer(model=resolve("tiny:llama"), args=args, train_dataset=Dataset.from_list(rows), objective=objective)
    run.train()
    for name in _seams.TOUCHED["attributes"]:
        assert hasattr(run, name), f"{trainer.__name__}.{name} is gone"
    assert set(_seams.TOUCHED["attributes"]) >= {"_metrics", "_signature_columns"}


def test_only_the_seams_touch_private_names():
    """No other file of trainers/ reads an underscored attribute that it did not define."""
    import ast
    from pathlib import Path

    for file in Path(_seams.__file__).parent.glob("*.py"):
        if file.name == "_seams.py":
            continue
        tree = ast.parse(file.read_text())
        own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        own |= {  # ObjectiveTrainer's, for its subclasses
            "_columns",
            "_evaluated",
            "_loss",
            "_model_inputs",
            "_over_ranks",
            "_record",
            "_reduce",
        }
        own |= {
            node.target.id
            for node in ast.walk(tree)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        own |= {
            node.attr
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef) and function.name == "__init__"
            for node in ast.walk(function)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                assert owner != "self" or node.attr in own, f"{file.name}: self.{node.attr}"
