"""The shared forward in two processes gives the log-probs and gradients of plain rows in one."""

import pytest

from tests.launching import launch, torchrun

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize("wrapper", [pytest.param("ddp", marks=pytest.mark.matrix), "fully_shard"])
def test_wrappers_of_two_processes_change_nothing(wrapper, tmp_path):
    result = launch([*torchrun(2), "-m", "tests.distributed.shared_forward", wrapper], tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    for rank in (0, 1):
        assert f"{wrapper} agrees on rank {rank} in 21 tensors" in result.stdout
