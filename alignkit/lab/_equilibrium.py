"""Where gradient descent comes to rest, to machine precision, also for gradients that no loss has as its derivative."""

from collections.abc import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor], Tensor]  # gradients at K points, (K, d) -> (K, d)


def stationary_point(gradients: Field, start: Tensor, limit: float = 200.0) -> Tensor:
    """The zero of the gradient that descent from `start` reaches, (d,).

    Implicit Euler steps along x' = -gradient(x), longer and longer until they are Newton's (Kelley & Keyes 1998). The
    Jacobian is taken by differences of the gradient: where a loss detaches a part, autograd would leave out its share.

    Raises:
        ArithmeticError: x ran past `limit`, the gradient only fades away, or 500 steps were not enough.
    """
    x, identity = start, torch.eye(len(start), dtype=start.dtype)
    slope = gradients(x[None])[0]
    step, curvature = 1 / slope.norm().clamp(min=1e-30), torch.zeros_like(slope[0])
    for _ in range(500):
        jacobian = _jacobian(gradients, x)
        curvature = torch.maximum(curvature, jacobian.abs().max())
        # on a hill a long implicit step would go up, to the top
        damping = torch.maximum(1 / step, -2 * torch.linalg.eigvals(jacobian).real.min())
        move = torch.linalg.solve(damping * identity + jacobian, -slope)
        size = x.abs().max().clamp(min=4) / 4
        move = move / (move.abs().max() / size).clamp(min=1)  # not too far: the picture is linear only nearby
        x, before = x + move, slope.norm()
        slope = gradients(x[None])[0]
        if move.abs().max() < 1e-11 * size:
            if torch.linalg.svdvals(jacobian).min() < 1e-9 * curvature:
                raise ArithmeticError("no stationary point: the gradient fades away instead of crossing 0")
            return x
        if x.abs().max() > limit:
            raise ArithmeticError(f"no stationary point: logits grew past {limit:g}")
        step = (step * before / slope.norm().clamp(min=1e-30)).clamp(max=1e30)
    raise ArithmeticError(f"no stationary point after 500 steps; the gradient's norm is {slope.norm():.1e}")


def _jacobian(gradients: Field, x: Tensor, width: float = 1e-5) -> Tensor:
    shifts = width * torch.eye(len(x), dtype=x.dtype)
    above, below = gradients(torch.cat([x + shifts, x - shifts])).chunk(2)
    return ((above - below) / (2 * width)).T
