"""Teachers in two processes share the rows."""

import pyarrow.parquet as pq
import pytest

from tests.launching import launch, torchrun
from tests.recipes.runs import RECIPES

pytestmark = pytest.mark.smoke


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
