"""NLL: ordinary supervised fine-tuning."""

from dataclasses import dataclass

from alignkit.objectives._base import Loss, TokenObjective
from alignkit.objectives._batches import TokenLogps
from alignkit.objectives._ops import token_loss, trained_logps


@dataclass(frozen=True, kw_only=True)
class NLL(TokenObjective):
    """-log pi(x_t | x_<t), averaged over the trained tokens.

    Optimum: the distribution of the data.
    Source: maximum likelihood; the language-model form is Bengio et al. 2003, JMLR 3, section 2.
    """

    def __call__(self, batch: TokenLogps) -> Loss:
        return token_loss(-trained_logps(batch), batch)
