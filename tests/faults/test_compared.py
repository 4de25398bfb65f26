"""Faults of `python -m tests.faults.compare`, on alignkit's side: how the run ends, and that nothing is lost."""

import pytest

from tests.faults import sides
from tests.faults.compare import row
from tests.faults.scenarios import FAULTS, Outcome, suffer

pytestmark = pytest.mark.smoke

EXPECTED = {  # exit code, and steps trained again
    "SIGKILL after step 5": (-9, 2),
    "SIGKILL within the save of step 6": (-9, 3),
    "disk full at the save of step 6": (4, 3),
    "one bit of the weights of checkpoint-6 flipped": (-9, 4),
    "the optimiser's file of checkpoint-6 cut in half": (-9, 4),
    "SIGTERM in step 5": (75, 0),
    "NaN from the model in step 5": (3, 1),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIGNKIT_CACHE", str(request.config.cache.mkdir("alignkit")))
        folder = tmp_path_factory.mktemp("whole")
        assert sides.run("alignkit", folder) == 0, (folder / sides.SAID).read_text()
        return folder


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost(fault, whole, tmp_path):
    ended, again = EXPECTED[fault]
    found = suffer("alignkit", FAULTS[fault], whole, tmp_path)
    assert found == Outcome(ended=ended, again=again, resumed=0, weights=True, logged=True)


def test_rows_of_the_table():
    best = Outcome(ended=75, again=0, resumed=0, weights=True, logged=True)
    worse = Outcome(ended=-9, again=2, resumed=0, weights=False, logged=False)
    worst = Outcome(ended=0, again=0, resumed=1, weights=False, logged=False, said="KeyError: 'x'")
    assert row("x", [best, worse, worst]) == (
        "| x | exit 75; steps trained again: 0; weights exact "
        "| SIGKILL; steps trained again: 2; weights **others**, logged values **others** "
        "| exit 0; cannot be resumed: KeyError: 'x' |"
    )
