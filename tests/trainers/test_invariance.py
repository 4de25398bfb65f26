"""What changes neither loss nor gradient of a step, for every objective that ships, through its trainer and model.

Groups, whose answers are drawn before there is a batch, are cut in `tests/objectives/test_invariance.py`, and trained
in `test_group.py` and `tests/distributed/test_matrix.py`.
"""

import pytest
import torch
from torch.nn.functional import pad

from alignkit.objectives import GroupObjective, find, names
from alignkit.recipe import load
from alignkit.recipe.build import build
from alignkit.trainers._last_batch import StandIn

pytestmark = pytest.mark.smoke

NAMES = [name for name in names() if not issubclass(find(name), GroupObjective)]
OF_THE_MICRO_BATCH = {
    "kto": "its reference point z is the mean log-ratio of the micro-batch's mismatched answers",
    "napo": "its q follows the mean margin of the micro-batch",
}
TOLERANCE = 2e-5


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def run(name, tmp_path_factory):
    """The trainer of the smallest recipe, whose policy has left its reference."""
    folder = tmp_path_factory.mktemp(name)
    found = build(load(f"{name}/tiny", [f"train.output_dir={folder}", "train.eval_strategy=no", "report=none"]))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in found.model.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    found.state.max_steps = 1  # one that is done takes no batches
    return found


@pytest.fixture(scope="module")
def rows(run):
    """The first four rows that it would train, ready for the collator."""
    loader = run.get_train_dataloader()
    places = [place for batch in loader.batch_sampler for place in batch][:4]
    return [loader.dataset[place] for place in places]


@pytest.fixture(scope="module")
def collate(run):
    return run.get_train_dataloader().collate_fn


@pytest.fixture(scope="module")
def whole(run, rows, collate):
    return step(run, [collate(rows)])


def step(run, batches):
    """Loss and gradient of a step on these micro-batches, as training takes it."""
    run.model.train()
    run.model.zero_grad()
    random = torch.get_rng_state()
    batches, count = run.get_batch_samples(iter(batches), len(batches), run.args.device)
    values = [run.compute_loss(run.model, inputs, num_items_in_batch=count) for inputs in batches]
    sum(values).backward()
    assert torch.equal(torch.get_rng_state(), random), "a seed would matter"
    gradient = torch.cat([weight.grad.flatten() for weight in run.model.parameters() if weight.grad is not None])
    return sum(value.item() for value in values), gradient


def apart(one, other):
    """Relative difference of losses, or of gradients where that is larger."""
    (loss, gradient), (expected, expected_gradient) = one, other
    assert expected_gradient.norm() > 1e-3
    gap = (gradient - expected_gradient).norm() / expected_gradient.norm()
    return max(abs(loss - expected) / abs(expected), gap.item())


def test_the_order_of_rows(run, rows, collate, whole):
    assert apart(step(run, [collate(rows[::-1])]), whole) < TOLERANCE


def test_padding(run, rows, collate, whole):
    fill = {"input_ids": run.processing_class.pad_token_id, "labels": -100}
    batch = collate(rows)
    wide = {
        key: pad(value, (0, 5), value=fill.get(key.removeprefix("KL_"), 0))
        if key.endswith(("input_ids", "labels", "mask"))
        else value
        for key, value in batch.items()
    }
    assert wide["input_ids"].shape[1] == batch["input_ids"].shape[1] + 5
    assert apart(step(run, [wide]), whole) < TOLERANCE


def test_the_split_into_micro_batches(name, run, rows, collate, whole):
    """What takes a statistic of its micro-batch alone feels the split, as in the official codes."""
    pieces = [collate(rows[:1]), collate(rows[1:])]
    gap = apart(step(run, pieces), whole)
    assert (gap > TOLERANCE) == (name in OF_THE_MICRO_BATCH), gap


def test_the_split_with_the_statistics_of_the_whole(run, rows, collate, whole, monkeypatch):
    known, reduce = {}, run._reduce

    def over_ranks(statistics, weight=1):
        if statistics and "statistics" not in known:
            known["statistics"] = {name: (total.detach(), count) for name, (total, count) in statistics.items()}
        return known.get("statistics")

    def reduced(sums, weight=1):
        return known.setdefault("kl", reduce(sums, weight)) if list(sums) == ["kl"] else reduce(sums, weight)

    monkeypatch.setattr(run, "_over_ranks", over_ranks)
    monkeypatch.setattr(run, "_reduce", reduced)
    assert apart(step(run, [collate(rows)]), whole) < TOLERANCE  # from which the others now know
    assert apart(step(run, [collate([row]) for row in rows]), whole) < TOLERANCE
    assert apart(step(run, [collate(rows[:3]), collate(rows[3:])]), whole) < TOLERANCE


def test_a_row_that_stands_in_adds_nothing(run, rows, collate, whole):
    """The others' share is what it is without: a rank without rows takes part in the step, and in no sum or count."""
    nothing = StandIn(collate, rows[2])([])
    everything = StandIn(collate, rows[2])(rows)
    assert apart(step(run, [everything, nothing]), whole) < TOLERANCE
