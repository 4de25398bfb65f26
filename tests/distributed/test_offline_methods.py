"""KTO, SRPO and PoFT in two processes: the training of one, and teachers that share the rows."""

import pyarrow.parquet as pq
import pytest

from tests.distributed.test_two_processes import assert_same_training, of_one, of_two
from tests.launching import launch, torchrun
from tests.recipes.runs import RECIPES

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("kto/tiny", ()),  # the KL estimate, from the micro-batch on both
        ("srpo/tiny", ("train.precompute_ref_log_probs=true",)),
        ("poft/tiny", ()),
    ],
    ids=["kto", "srpo", "poft"],
)
def test_two_processes_train_as_one(tmp_path, monkeypatch, recipe, overrides):
    monkeypatch.chdir(tmp_path)
    two = of_two(torchrun(2), recipe, tmp_path / "two", *overrides, micro=2, ACCELERATE_USE_CPU="true")
    assert_same_training(two, of_one(recipe, tmp_path / "one", *overrides))


def test_teachers_share_the_rows(tmp_path):
    program = ["-m", "alignkit", "score-teachers", "poft/tiny", "--output"]
    cache = {"ALIGNKIT_CACHE": str(tmp_path / "cache"), "ACCELERATE_USE_CPU": "true"}
    result = launch([*torchrun(2), *program, str(tmp_path / "two.parquet")], tmp_path, **cache)
    assert result.returncode == 0, result.stdout + result.stderr
    parts = list((tmp_path / "cache" / "teachers").rglob("*.parquet"))
    assert len(parts) == 2, "each process scores its share"
    two, one = (
        pq.read_table(path).to_pydict() for path in (tmp_path / "two.parquet", RECIPES / "poft/tiny_scores.parquet")
    )
    assert two["key"] == one["key"]
    assert two["aligned_logps"] == pytest.approx(one["aligned_logps"], rel=1e-5)
