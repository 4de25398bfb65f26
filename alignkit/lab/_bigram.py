"""A random bigram language, texts drawn from it, and the small network that learns it: the set-up of the MixCE paper.

Zhang et al. 2023, arXiv:2305.16958, and bloomberg/MixCE-acl2023, file synthetic.py, which this follows in every number:
Dirichlet(1/2) rows, half of the entries 0, texts of at most 500 tokens, an embedding and two layers of 50, dropout 0.1,
Adam with 1e-3 and weight decay 1e-4, batches of 1000 texts, patience 5, the epoch chosen by the objective itself.

A bigram model's loss is a sum over transitions, so texts are kept as lists of transitions, and the first layer is
computed once for each token of the vocabulary in place of once for each transition. Neither changes the loss; dropout
still draws a mask for every transition.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from alignkit.objectives import Objective, TokenLogps

LONGEST = 500  # tokens; a text that has not ended by then is made to
BATCH = 1000  # texts
PATIENCE = 5  # epochs


@dataclass(frozen=True)
class Language:
    """Token 0 begins a text, token V - 1 ends it. `table[a, b]` is the probability that b follows a, (V - 1, V)."""

    table: np.ndarray

    @classmethod
    def draw(cls, vocabulary: int, random: np.random.Generator) -> "Language":
        """The first token is uniform; of the other rows' entries, but for the end of the text, half are made 0."""
        tokens = vocabulary - 1
        rows = random.dirichlet(np.full(tokens, 0.5), size=tokens - 1)
        rows[:, :-1] *= random.random((tokens - 1, tokens - 1)) >= 0.5
        rows /= rows.sum(axis=1, keepdims=True)
        table = np.concatenate([np.full((1, tokens), 1 / tokens), rows])
        return cls(np.pad(table, ((0, 0), (1, 0))))  # nothing leads back to token 0

    def texts(self, number: int, random: np.random.Generator) -> "Texts":
        """Texts drawn token by token, all at once."""
        size = self.table.shape[1]
        cumulative = self.table.cumsum(axis=1)
        cumulative[:, -1] = 1
        ladder = (cumulative + np.arange(size - 1)[:, None]).ravel()  # all rows' inverse distribution functions in one
        alive, previous, transitions = np.arange(number), np.zeros(number, dtype=np.int64), []
        for position in range(LONGEST):
            step = np.searchsorted(ladder, previous + random.random(len(alive)), side="right") - size * previous
            following = np.full_like(previous, size - 1) if position == LONGEST - 1 else np.minimum(step, size - 1)
            transitions.append(np.stack([alive, previous, following]))
            goes_on = following < size - 1
            alive, previous = alive[goes_on], following[goes_on]
        text, before, after = np.concatenate(transitions, axis=1)
        return Texts(number, text, before, after)


@dataclass(frozen=True)
class Texts:
    """All transitions of `number` texts: token `after` follows token `before` in text `text`, (N,) each."""

    number: int
    text: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def batches(self, random: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Tokens before and after, of the transitions in one shuffled batch of texts after another."""
        batch = random.permutation(self.number)[self.text] // min(BATCH, self.number)
        order, ends = np.argsort(batch, kind="stable"), np.bincount(batch).cumsum()
        for rows in np.split(order, ends)[: max(self.number // BATCH, 1)]:  # the last, incomplete batch is left out
            yield torch.from_numpy(self.before[rows]), torch.from_numpy(self.after[rows])

    def counts(self, vocabulary: int) -> Tensor:
        """How often each token follows each, (V, V)."""
        cells = np.bincount(self.before * vocabulary + self.after, minlength=vocabulary**2)
        return torch.from_numpy(cells).double().view(vocabulary, vocabulary)


class Network(nn.Module):
    """Log-probabilities of the next token after each token."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(50, 50), nn.ReLU())
        self.embedding = nn.Embedding(vocabulary, 50)
        self.last = nn.Sequential(nn.Dropout(0.1), nn.Linear(50, vocabulary))
        self.double()

    def forward(self, before: Tensor) -> Tensor:
        """(N,) tokens in, (N, V) out."""
        return self.last(self.first(self.embedding.weight)[before]).log_softmax(-1)

    @torch.no_grad()
    def table(self) -> Tensor:
        """What has been learned, without dropout, (V, V)."""
        training = self.training
        logps = self.eval()(torch.arange(self.embedding.num_embeddings))
        self.train(training)
        return logps


def train(objective: Objective, train: Texts, held_out: Texts, vocabulary: int, epochs: int, seed: int) -> Tensor:
    """Learned probabilities (V, V) of the epoch at which the objective was lowest on held-out texts."""
    random, counts = np.random.default_rng(seed), held_out.counts(vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(vocabulary)
        adam = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
        best, table, patience = torch.inf, network.table(), PATIENCE
        for _ in range(epochs):
            for before, after in train.batches(random):
                logps = network(before).gather(1, after[:, None])
                adam.zero_grad()
                (_terms(objective, logps).sum() / min(BATCH, train.number)).backward()
                adam.step()
            value = (counts * _terms(objective, network.table())).sum().item() / held_out.number
            if value < best:
                best, table, patience = value, network.table(), PATIENCE
            else:
                patience -= 1
            if patience == 0:
                break
    return table.exp()


def average_divergence(learned: np.ndarray, true: np.ndarray) -> float:
    """avg_js: mean over rows of their Jensen-Shannon divergence, nats; (R, C) each, normalised here."""
    learned, true = (rows / rows.sum(axis=1, keepdims=True) for rows in (learned, true))
    middle = (learned + true) / 2
    return float((_divergence(learned, middle) + _divergence(true, middle)).mean() / 2)


def average_zeros(learned: np.ndarray, true: np.ndarray) -> float:
    """avg_0s: mean learned probability where the true one is 0; (R, C) each."""
    return float(learned[true == 0].mean())


def _terms(objective: Objective, logps: Tensor) -> Tensor:
    return objective(TokenLogps(logps=logps, mask=torch.ones_like(logps, dtype=torch.bool))).terms


def _divergence(rows: np.ndarray, other: np.ndarray) -> np.ndarray:
    """KL of `rows` from `other`, nats, (R,); 0 log 0 is 0."""
    ratio = np.divide(rows, other, out=np.ones_like(rows), where=rows > 0)
    return (rows * np.log(ratio)).sum(axis=1)
