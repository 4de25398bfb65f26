import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from alignkit.recipe.estimate.live import LiveBytes, nbytes


def test_the_peak_is_what_is_alive_together():
    known = torch.zeros(100)
    with LiveBytes([known]) as live:
        first = known + 1  # 400 bytes
        second = first * 2  # 800 with the first
        del first
        third = second.double()  # 400 + 800
    assert live.peak() == 1200
    assert live.peak(without=[third]) == 800
    assert live.asked(below=800) == 800


def test_views_and_what_was_there_before_cost_nothing():
    known = torch.zeros(100)
    with LiveBytes([known]) as live:
        known.view(10, 10).add_(1)
    assert live.peak() == 0


def test_fake_tensors_are_counted_as_real_ones_are():
    with FakeTensorMode(allow_non_fake_inputs=True):
        weight = torch.empty(1000, 1000, requires_grad=True)
    with LiveBytes([weight]) as live:
        (torch.ones(2, 1000) @ weight).sum().backward()
    assert nbytes([weight.grad]) == 4_000_000
    assert live.peak() >= 4_000_000
    assert live.peak(without=[weight.grad]) < 100_000
