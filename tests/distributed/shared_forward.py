"""What each of two processes runs: the shared forward on pairs of its own, in a wrapper, beside plain rows in none."""

import sys

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from alignkit.models import forward
from alignkit.models.forward import answer_logps
from tests.models.shared import model_of, pairs

BATCHES = (pairs(prompts=(70,)), pairs(prompts=(40, 25), answers=(12, 30)))


def gradients(model, batch):
    answers = answer_logps(model, batch, shared_prefix=True)
    answers.logps.sum().backward()
    return answers.logps.detach(), {
        name.removeprefix("module."): weight.grad.full_tensor() if isinstance(weight.grad, DTensor) else weight.grad
        for name, weight in model.named_parameters()
    }


def wrapped(wrapper):
    model = model_of("mistral")
    model.gradient_checkpointing_enable({"use_reentrant": False})
    if wrapper == "ddp":
        return DistributedDataParallel(model)
    for layer in model.model.layers:
        fully_shard(layer)
    return fully_shard(model)


def main(wrapper):
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    packed_rows, sizes = forward.packed_rows, []

    def noted(*args, **options):
        packed = packed_rows(*args, **options)
        sizes.append(packed.input_ids.numel())
        return packed

    forward.packed_rows = noted
    logps, found = gradients(wrapped(wrapper), BATCHES[rank])
    assert sizes == [70 + 29 + 8 + 16 if rank == 0 else 40 + 25 + 2 * (11 + 29)], sizes  # each prompt once
    forward.packed_rows = lambda *_, **__: None
    alone = [gradients(model_of("mistral"), batch) for batch in BATCHES]
    forward.packed_rows = packed_rows
    torch.testing.assert_close(logps, alone[rank][0], atol=1e-5, rtol=0)
    for name, gradient in found.items():
        expected = (alone[0][1][name] + alone[1][1][name]) / 2
        assert (gradient - expected).norm() <= 1e-4 * expected.norm(), name
    print(f"{wrapper} agrees on rank {rank} in {len(found)} tensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
