"""Bytes of live tensors."""

import torch

from alignkit.studies.memory import peak_bytes


def test_what_is_gone_no_longer_counts_and_views_count_nothing():
    before = torch.zeros(1000)

    def step():
        one = before + 1  # 4000 bytes
        two = one * 2
        del one
        three = two.view(10, 100).add_(1)
        return three.half()  # 2000

    assert peak_bytes(step) == 8000


def test_what_the_backward_needs_is_counted():
    weight = torch.zeros(1000, requires_grad=True)

    def step():
        ((weight * 2) * weight).sum().backward()
        weight.grad = None

    forward_alone = peak_bytes(lambda: (weight * 2).sum())
    assert forward_alone == 4004
    assert peak_bytes(step) > 2 * 4000
