"""The vote between pairs of classes, as a margin that a gradient can follow."""

import numpy as np
import torch
from torch import nn

__all__ = ["PairwiseVotes", "SecondWinsTies"]

# The softmax of the margins has no meaning of its own. Times this, it and its gradient
# are nearly all of the classes whose pairs are nearest to a flip.
_SHARPNESS = 16


class PairwiseVotes(nn.Module):
    r"""Turn the decisions between pairs of classes into logits, as SVC votes on them.

    The class with most votes has the logit 0. Any other class j has, up to a factor,
    minus the margin by which it loses to the winner w. With :math:`d_c^{(v)}` the v-th
    largest decision of class c against another, j has more votes than w exactly if
    :math:`\max_v \min(d_j^{(v)}, -d_w^{(v)}) > 0`, and at least as many exactly if
    :math:`\min_v \max(d_j^{(v)}, -d_w^{(v)}) > 0`. These margins are continuous, and
    their gradient is that of the pair whose flip decides.

    Parameters
    ----------
    n_classes : int
        Number of classes.

    norms : ndarray of shape (n_pairs,)
        Lengths of the gradients of the decisions. A decision divided by its length is a
        distance, so that the nearest flip, not the smallest number, decides.

    break_ties : bool
        Whether the sums of confidences decide between classes of equally many votes;
        otherwise the first of them wins.
    """

    def __init__(self, n_classes, norms, break_ties):
        super().__init__()
        self.n_classes, self.break_ties = n_classes, break_ties
        first, second = np.triu_indices(n_classes, k=1)
        self.register_buffer("first", torch.from_numpy(first))
        self.register_buffer("second", torch.from_numpy(second))
        # Relative to each other: what is decided in any unit stays so.
        norms = norms / (norms.max() or 1)
        norms = np.where(norms > 0, norms, 1)
        self.register_buffer("norms", torch.from_numpy(norms))

    def forward(self, decisions):
        """Vote on a batch of decisions, one column a pair."""
        tiny = torch.finfo(decisions.dtype).tiny
        # A decision of zero is for the second class of the pair, unless ties are
        # broken: then scikit-learn counts it for the first.
        zero = tiny if self.break_ties else -tiny
        decisions = decisions + zero * (decisions == 0).to(decisions.dtype)
        winner, advantage = self._decide(self._duels(decisions))
        ranked = self._ranked(self._duels(decisions / self.norms))
        of_winner = -ranked[torch.arange(len(ranked), device=ranked.device), winner]
        behind = torch.minimum(ranked, of_winner[:, None]).amax(dim=2)
        level = torch.maximum(ranked, of_winner[:, None]).amin(dim=2)
        # Not `clamp`, which has no gradient where the two are equal.
        margins = torch.minimum(torch.maximum(advantage, behind), level)
        return _SHARPNESS * margins.scatter(1, winner[:, None], 0.0)

    def _duels(self, decisions):
        """Arrange decisions as a matrix a sample: row against column."""
        duels = decisions.new_zeros(len(decisions), self.n_classes, self.n_classes)
        duels[:, self.first, self.second] = decisions
        duels[:, self.second, self.first] = -decisions
        return duels

    def _ranked(self, duels):
        """Decisions of every class against the others, the largest first."""
        n = self.n_classes
        # Left out is the diagonal, where a class would meet itself.
        others = ~torch.eye(n, dtype=torch.bool, device=duels.device).flatten()
        others = duels.flatten(1)[:, others].reshape(-1, n, n - 1)
        return others.sort(dim=2, descending=True).values

    def _decide(self, duels):
        """Find the winner, and by how much each class is ahead of it in a tie."""
        votes = (duels > 0).sum(dim=2)
        tiny = torch.finfo(duels.dtype).tiny
        if not self.break_ties:
            winner = votes.argmax(dim=1)
            later = torch.arange(self.n_classes, device=duels.device)
            advantage = torch.where(later < winner[:, None], torch.inf, -torch.inf)
            return winner, advantage.to(duels.dtype)
        confidence = duels.sum(dim=2)
        # As scikit-learn adds votes and confidences, so that rounding ties the same.
        score = votes + confidence / (3 * (confidence.abs() + 1))
        winner = score.argmax(dim=1)
        advantage = confidence - confidence.gather(1, winner[:, None])
        return winner, advantage.clamp(max=-tiny)


class SecondWinsTies(nn.Module):
    """Let the second of two logits win where they are equal, as a binary SVC does."""

    def forward(self, logits):
        """Decide the ties of a batch."""
        tie = (logits[:, 0] == logits[:, 1]).to(logits.dtype)
        ahead = torch.finfo(logits.dtype).tiny * tie
        return torch.stack([logits[:, 0], logits[:, 1] + ahead], dim=1)
