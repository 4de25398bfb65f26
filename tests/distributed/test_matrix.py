"""Two processes on this machine's CPU train as one does: the same losses, metrics and saved weights, for every trainer.

One launch for each distribution trains all cells that were selected; those marked `matrix` are left out of `make test`.
"""

import json
from shutil import which

import pytest
import torch

from alignkit.models.reference_cache import SIZE
from tests.distributed.matrix import CASES, PARAMETERS, Trained, save_reward_model, trained
from tests.launching import accelerate, launch
from tests.recipes.runs import RECIPES

pytestmark = pytest.mark.smoke

EVERY_RUN = {("DDP", "LoRA"), ("ZeRO-3", "full")}  # ZeRO-2 between them: tests/faults
STAGES = {"DDP": None, "ZeRO-2": 2, "ZeRO-3": 3}
SECONDS = 600  # on CPUs DeepSpeed compiles its shared-memory reduction when it runs first
# Sums of log-probs are near 1000 nats, where float32 keeps 1e-4; losses take their differences with small weights.
TOLERANCE = {"logps": 5e-4, "kl": 5e-4, "rewards": 1e-4, "logits": 5e-4, "grad_norm": 5e-5}


def cells():
    for distribution in STAGES:
        for trainer in CASES:
            for parameters in PARAMETERS:
                where = {"trainer": trainer, "distribution": distribution, "parameters": parameters, "device": "CPU"}
                marks = [pytest.mark.cell(**where)]
                if (distribution, parameters) not in EVERY_RUN:
                    marks.append(pytest.mark.matrix)
                if distribution != "DDP":
                    marks.append(pytest.mark.skipif(which("c++") is None, reason="DeepSpeed needs a compiler on CPUs"))
                yield pytest.param(distribution, trainer, parameters, marks=marks)


@pytest.fixture(scope="module")
def selected(request):
    """{distribution: names of cells} of the tests that will run."""
    found = {distribution: [] for distribution in STAGES}
    for item in request.session.items:
        params = item.callspec.params if item.path == request.path and hasattr(item, "callspec") else {}
        if "distribution" in params:
            found[params["distribution"]].append("-".join([*params.values()][1:]))
    return found


@pytest.fixture(scope="module")
def launched(selected, tmp_path_factory):
    """What a distribution's two processes printed, and where the folders of its cells are."""
    done = {}

    def once(distribution):
        if distribution not in done:
            folder = tmp_path_factory.mktemp(distribution)
            save_reward_model(folder)
            config = RECIPES / "accelerate" / f"{distribution.lower().replace('-', '')}-cpu.yaml"
            result = launch(
                [*accelerate(config), "-m", "tests.distributed.matrix", str(folder), *selected[distribution]],
                folder,
                SECONDS,
            )
            done[distribution] = folder, result.stdout + result.stderr
        return done[distribution]

    return once


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same training in this process."""
    done = {}

    def once(trainer, parameters):
        if (trainer, parameters) not in done:
            folder = tmp_path_factory.mktemp("one")
            save_reward_model(folder)
            done[trainer, parameters] = trained(trainer, parameters, folder / "run", processes=1)
        return done[trainer, parameters]

    return once


@pytest.mark.parametrize(("distribution", "trainer", "parameters"), list(cells()))
def test_two_processes_train_as_one(launched, alone, distribution, trainer, parameters):
    folder, printed = launched(distribution)
    two = Trained(folder / f"{trainer}-{parameters}")
    assert (two.folder / "facts.json").exists(), printed
    one = alone(trainer, parameters)
    assert_same_training(two, one)
    assert (two.facts["processes"], one.facts["processes"]) == (2, 1)
    assert two.facts["zero_stage"] == STAGES[distribution]
    assert_placed(two, distribution, loads_reference=one.facts["reference"] is not None)
    assert_saved_once(two, parameters)


REMEMBERED = [
    ("DDP", "pairs", "LoRA", "remembered"),
    ("ZeRO-3", "pairs", "full", "remembered"),
    pytest.param("DDP", "pairs", "full", "remembered", marks=pytest.mark.matrix),
    pytest.param("ZeRO-3", "pairs", "LoRA", "remembered", marks=pytest.mark.matrix),
]


@pytest.mark.parametrize(("distribution", "trainer", "parameters", "way"), REMEMBERED)
def test_a_reference_is_asked_once_and_training_is_the_same(launched, alone, distribution, trainer, parameters, way):
    """As of one process that remembers nothing. An epoch has three steps, the last of them for one process alone."""
    folder, printed = launched(distribution)
    two = Trained(folder / f"{trainer}-{parameters}-{way}")
    assert (two.folder / "asked-1.json").exists(), printed
    assert_same_training(two, alone(trainer, parameters))
    for rank in (0, 1):
        assert {*json.loads((two.folder / f"asked-{rank}.json").read_text())} == {0, 1, 2}
    kept = sum(file.stat().st_size for file in two.folder.glob("cache/references/*/*.logps"))
    assert kept == 2 * (9 + 3) * SIZE, "each answer of training and evaluation once, whichever process had it"


@pytest.mark.parametrize(
    ("distribution", "trainer", "parameters", "way"), [(one, "RL", "full", "drawn") for one in ("DDP", "ZeRO-3")]
)
def test_prompts_read_once_draw_the_same_answers(launched, distribution, trainer, parameters, way):
    folder, printed = launched(distribution)
    once = []
    for rank, longest in ((0, 12), (1, 3)):
        file = folder / f"{trainer}-{parameters}-{way}" / f"drawn-{rank}.json"
        assert file.exists(), printed
        found = json.loads(file.read_text())
        plain = found.pop("plain")
        assert plain["once"] == []
        assert [max(map(len, answers)) for answers in plain["tokens"]] == [longest] * 2
        assert len({tuple(answer) for answers in plain["tokens"] for answer in answers}) == 8
        assert [*found] == ["shared"] if distribution == "DDP" else ["shared", "shared, sharded"]
        for shared in found.values():
            assert shared["tokens"] == plain["tokens"]
            once.append(shared["once"])
    # a prompt of the first step is short, on one process; where weights are split the other reads as it does
    if distribution == "DDP":
        assert sorted(once) == [[False, True], [True, True]]
    else:
        assert once == [[False, True]] * 4


@pytest.mark.matrix
@pytest.mark.parametrize("way", ["resumed"])
@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("trainer", CASES)
@pytest.mark.parametrize("distribution", ["DDP"])
def test_killed_and_resumed_is_uninterrupted(launched, distribution, trainer, parameters, way):
    folder, printed = launched(distribution)
    resumed, whole = (Trained(folder / f"{trainer}-{parameters}-{way}{which}") for which in ("", "-whole"))
    assert (resumed.folder / "facts.json").exists(), printed
    # transformers' last entry is the mean of the steps since the run was resumed
    ours, theirs = ([entry for entry in one.facts["history"] if "train_loss" not in entry] for one in (resumed, whole))
    assert len(ours) == len(theirs) == 5, "four steps and an evaluation"
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, rel=1e-6, abs=1e-6)
    expected = whole.weights
    for name, tensor in resumed.weights.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-6)


def assert_same_training(two, one):
    ours, expected = two.facts["history"], one.facts["history"]
    losses = [entry["loss"] for entry in expected if "loss" in entry]
    assert len(set(losses)) == 4, "nothing was learned, so nothing is compared"
    for mine, other in zip(ours, expected, strict=True):
        assert mine.keys() == other.keys()
        for name, value in other.items():
            slack = max((allowed for part, allowed in TOLERANCE.items() if part in name), default=1e-5)
            assert mine[name] == pytest.approx(value, rel=1e-5, abs=slack), (other["step"], name)
    weights, expected_weights = two.weights, one.weights
    assert weights.keys() == expected_weights.keys()
    for name, tensor in expected_weights.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=2e-6, msg=lambda said, name=name: name + said)


def assert_placed(two, distribution, loads_reference):
    """ZeRO-3 leaves half of the model, and of the reference, on each of two processes; the others hold all of it."""
    held = [two.facts["model"]] + [two.facts["reference"]] * loads_reference
    assert None not in held
    for share in held:
        assert share == pytest.approx(0.5 if distribution == "ZeRO-3" else 1, abs=0.02)
    if distribution != "DDP":
        what = "model" if distribution == "ZeRO-3" else "optim"
        shards = [file.name for file in two.folder.glob(f"checkpoint-4/global_step*/*_{what}_states.pt")]
        assert any("zero_pp_rank_1" in name for name in shards), shards


def assert_saved_once(two, parameters):
    name = "model.safetensors" if parameters == "full" else "adapter_model.safetensors"
    saved = [file.relative_to(two.folder).as_posix() for file in two.folder.rglob("*.safetensors")]
    assert sorted(saved) == [f"checkpoint-4/{name}", f"saved-0/{name}"]


def test_a_cell_of_every_trainer_runs_each_time():
    covered = {
        (values.values[0], values.values[1])
        for values in cells()
        if all(mark.name != "matrix" for mark in values.marks)
    }
    assert covered == {(distribution, trainer) for distribution in ("DDP", "ZeRO-3") for trainer in CASES}
