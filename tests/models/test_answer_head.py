import pytest
import torch
from torch.nn import functional as F

from alignkit.models import answer_head
from alignkit.models.answer_head import FIELDS, Logits, score
from alignkit.studies.memory import peak_bytes

FORMS = [
    Logits(),
    Logits(scale=0.3, temperature=0.7),
    Logits(softcap=5.0),
    Logits(scale=2.0, softcap=3.0, temperature=2),
]


def case(tokens=13, width=8, vocabulary=37, **options):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=generator, **options).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=generator, **options).requires_grad_()
    bias = torch.randn(vocabulary, generator=generator, **options).requires_grad_()
    return hidden, weight, bias, torch.randint(vocabulary, (tokens,), generator=generator)


def expected(hidden, weight, bias, targets, form):
    """The long way, in float64, by autograd."""
    logits = F.linear(hidden, weight, bias) * form.scale
    if form.softcap is not None:
        logits = form.softcap * torch.tanh(logits / form.softcap)
    logits = logits / form.temperature
    logps = logits.log_softmax(-1)
    own = logps.gather(1, targets[:, None]).squeeze(1)
    return own, -(logps.exp() * logps).sum(-1), logits.mean(-1), logits.argmax(-1) == targets


@pytest.fixture(params=["one tile", "many tiles"])
def tiles(request, monkeypatch):
    if request.param == "many tiles":
        monkeypatch.setattr(answer_head, "TOKENS", 5)
        monkeypatch.setattr(answer_head, "TILE", 50)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("trained", [("hidden",), ("hidden", "weight"), ("hidden", "weight", "bias"), ("weight",), ()])
def test_values_and_gradients_are_those_of_all_logits(form, trained):
    names = ("hidden", "weight", "bias")
    tensors = dict(zip(names, case(), strict=False))
    *exact, targets = case(dtype=torch.float64)
    for name, tensor in tensors.items():
        tensor.requires_grad_(name in trained)
        exact[names.index(name)].data = tensor.data.double()
    wanted = expected(*exact, targets, form)
    factors = torch.linspace(-1, 2, len(targets))
    scores = score(*tensors.values(), targets, form, FIELDS)
    for mine, right in zip(scores, wanted, strict=True):
        torch.testing.assert_close(mine.to(right.dtype), right, atol=1e-5, rtol=1e-5)
    assert not any(field.requires_grad for field in scores[1:])
    if trained:
        (scores[0] * factors).sum().backward()
        (wanted[0] * factors).sum().backward()
    for name, right in zip(names, exact, strict=True):
        if name in trained:
            torch.testing.assert_close(tensors[name].grad.double(), right.grad, atol=1e-5, rtol=1e-5, msg=name)
        else:
            assert tensors[name].grad is None


def test_only_the_fields_asked_for_come():
    hidden, weight, bias, targets = case()
    assert score(hidden, weight, bias, targets, Logits())[1:] == (None, None, None)
    logps, entropy, mean, top = score(hidden, weight, None, targets, Logits(), ("is_top1",))
    assert logps.requires_grad
    assert (entropy, mean) == (None, None)
    assert top.dtype is torch.bool


@pytest.mark.parametrize("frozen", [True, False])
def test_no_token_is_a_zero_that_reaches_the_parameters(frozen):
    hidden, weight, bias, targets = case(tokens=0)
    weight.requires_grad_(not frozen)
    bias.requires_grad_(not frozen)
    score(hidden, weight, bias, targets, Logits())[0].sum().backward()
    assert hidden.grad.shape == (0, 8)
    assert frozen or (weight.grad == 0).all()


def test_huge_logits_stay_finite():
    hidden, weight, bias, targets = case()
    logps, entropy, _, _ = score(hidden * 1e4, weight, bias, targets, Logits(), ("entropy",))
    logps.sum().backward()
    assert logps.isfinite().all()
    assert (entropy >= -1e-3).all()
    assert weight.grad.isfinite().all()


def test_ties_go_to_the_first_token_also_across_tiles(monkeypatch):
    monkeypatch.setattr(answer_head, "TILE", 2)
    hidden, weight, targets = torch.ones(2, 1), torch.tensor([[1.0], [0.0], [1.0], [1.0]]), torch.tensor([0, 3])
    assert score(hidden, weight, None, targets, Logits(), ("is_top1",))[3].tolist() == [True, False]


def test_half_precision_products_are_summed_in_float32():
    hidden, weight, bias, targets = case(tokens=40)
    right = expected(*(x.bfloat16().double() for x in (hidden, weight, bias)), targets, Logits())[0]
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = score(hidden, weight, bias, targets, Logits())[0]
    in_half = score(*(x.bfloat16() for x in (hidden, weight, bias)), targets, Logits())[0]
    assert under_autocast.dtype is in_half.dtype is torch.float32
    for logps in (under_autocast, in_half):
        torch.testing.assert_close(logps.double(), right, atol=0.05, rtol=0)
    in_half.sum().backward()
    assert weight.grad.dtype is torch.float32


def test_memory_does_not_grow_with_the_vocabulary(monkeypatch):
    """No tensor that lives in the forward or backward pass is larger than a tile, the head's own gradient apart."""
    monkeypatch.setattr(answer_head, "TILE", 1000)
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                sizes.append(result.untyped_storage().nbytes() // result.element_size())
            return result

    hidden, weight, _, targets = case(tokens=50, vocabulary=5000)
    with Watch():
        score(hidden, weight, None, targets, Logits(), FIELDS)[0].sum().backward()
    assert max(sizes) <= weight.numel()
    assert sorted(set(sizes))[-2] <= 1000


@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize("fields", [(), FIELDS], ids=["log-probs", "all"])
def test_peak_memory_does_not_grow_with_the_vocabulary(trained, fields, monkeypatch):
    """Bytes of tensors at the peak, a trained head's own gradient apart."""
    monkeypatch.setattr(answer_head, "TILE", 2**14)

    def peak(vocabulary):
        weight = torch.randn(vocabulary, 16, requires_grad=trained)
        hidden, targets = torch.randn(64, 16, requires_grad=True), torch.randint(vocabulary, (64,))
        found = peak_bytes(lambda: score(hidden, weight, None, targets, Logits(), fields)[0].sum().backward())
        return found - (weight.numel() * 4 if trained else 0)

    assert peak(2**14) <= 1.01 * peak(2**11)
    assert peak(2**14) < 64 * 2**14 * 4 / 10  # a tenth of the logits of all tokens
