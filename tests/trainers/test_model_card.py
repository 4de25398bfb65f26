"""Who writes the model card."""

import pytest
from datasets import Dataset
from trl import DPOConfig

from alignkit.models.sources import resolve
from alignkit.objectives import make
from alignkit.trainers import PairTrainer
from tests.trainers.runs import ROWS


@pytest.fixture
def trainer(tmp_path):
    args = DPOConfig(output_dir=str(tmp_path / "mine"), use_cpu=True, bf16=False, report_to="none", disable_tqdm=True)
    (tmp_path / "mine").mkdir()
    rows = Dataset.from_list(ROWS[:2])
    return PairTrainer(model=resolve("tiny:llama"), args=args, train_dataset=rows, objective=make("dpo"))


def test_trl_does_unless_another_is_given(trainer, tmp_path):
    file = tmp_path / "mine" / "README.md"
    trainer.create_model_card(model_name="mine")
    assert "# Model Card for mine" in file.read_text()
    trainer.write_card = lambda: "# Ours: é\n"
    trainer.create_model_card(model_name="mine", tags=["x"])
    assert file.read_text(encoding="utf-8") == "# Ours: é\n"
