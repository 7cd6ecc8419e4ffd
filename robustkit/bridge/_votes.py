"""Votes as logits: margins with a gradient, where counted votes have none."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

__all__ = [
    "NEVER",
    "PairwiseVotes",
    "SecondWinsTies",
    "VotesAndConfidence",
    "WeightedVotes",
    "added_up",
    "let_win",
    "replaced",
    "spread",
]

# A logit of a class that never wins, and a logarithm of nothing: finite also in single
# precision, as a margin to it is computed.
NEVER = -1e30

# The softmax of the margins has no meaning of its own. Times this, it and its gradient
# are nearly all of the classes whose pairs are nearest to a flip.
_SHARPNESS = 16


def let_win(logits: Tensor, winner: Tensor) -> Tensor:
    """Lift the logit of each winner just above the others, where it is not largest.

    For what rounding, a threshold or a tie decides. The gradient stays as it was.
    """
    winner = winner[:, None]
    mine, best = logits.gather(1, winner), logits.detach().amax(dim=1, keepdim=True)
    # Not the next number, where that is too small for some devices.
    tiny = torch.finfo(logits.dtype).tiny
    above = torch.maximum(torch.nextafter(best, best + torch.inf), best + tiny)
    loses = logits.argmax(dim=1, keepdim=True) != winner
    return logits.scatter(1, winner, torch.where(loses, replaced(mine, above), mine))


def replaced(value: Tensor, by: Tensor) -> Tensor:
    """Replace a finite value by another, which gets the gradient of the first."""
    return value - value.detach() + by.detach()


def added_up(weights: Tensor, values: Tensor) -> Tensor:
    """Sum weighted values over the second axis.

    One after the other, as numpy adds them, so that rounding ties the same.
    """
    total = weights[0] * values[:, 0]
    for place in range(1, len(weights)):
        total = total + weights[place] * values[:, place]
    return total


class Duels(nn.Module):
    """What is known of classes from the decision between each pair of them.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    """

    first: Tensor
    second: Tensor

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes
        first, second = np.triu_indices(n_classes, k=1)
        self.register_buffer("first", torch.from_numpy(first))
        self.register_buffer("second", torch.from_numpy(second))

    def duels(self, decisions: Tensor) -> Tensor:
        """Arrange decisions as one matrix per sample: row against column."""
        duels = decisions.new_zeros(decisions.shape[0], self.n_classes, self.n_classes)
        duels[:, self.first, self.second] = decisions
        duels[:, self.second, self.first] = -decisions
        return duels

    def confidence(self, duels: Tensor) -> Tensor:
        """Sum the decisions of each class, in the order in which scikit-learn does."""
        return added_up(duels.new_ones(self.n_classes), duels.transpose(1, 2))

    def score(self, votes: Tensor, confidence: Tensor) -> Tensor:
        """Let confidences decide between as many votes."""
        return votes + confidence / (3 * (confidence.abs() + 1))


class VotesAndConfidence(Duels):
    """The decisions of a support vector machine for each class, from those of pairs.

    Votes are counted, so that the gradient is only that of the confidences, which break
    their ties.
    """

    def forward(self, decisions: Tensor) -> Tensor:
        """Count the votes of a batch."""
        duels = self.duels(decisions)
        # A decision of zero is for the first class of the pair.
        votes = (duels > 0) | ((duels == 0).triu(1))
        return self.score(votes.sum(dim=2), self.confidence(duels))


class PairwiseVotes(Duels):
    r"""Turn the decisions between pairs of classes into logits, as SVC votes on them.

    The class with the most votes has the logit 0. Any other class j has, up to a
    factor, minus the margin by which it loses to the winner w. With :math:`d_c^{(v)}`
    the v-th largest decision of class c against another, j has more votes than w
    exactly if :math:`\max_v \min(d_j^{(v)}, -d_w^{(v)}) > 0`, and at least as many
    exactly if :math:`\min_v \max(d_j^{(v)}, -d_w^{(v)}) > 0`. These margins are
    continuous, and their gradient is that of the pair whose flip decides.

    Parameters
    ----------
    n_classes : int
        Number of classes.

    norms : ndarray of shape (n_pairs,)
        Lengths of the gradients of the decisions. A decision divided by its length is a
        distance, so that the nearest flip, not the smallest number, decides.

    break_ties : bool
        Whether the sums of confidences decide between classes with the same number of
        votes; otherwise the first of them wins.
    """

    others: Tensor
    norms: Tensor

    def __init__(self, n_classes: int, norms: NDArray, break_ties: bool) -> None:
        super().__init__(n_classes)
        self.break_ties = break_ties
        # The diagonal, a class against itself, is left out.
        others = np.flatnonzero(~np.eye(n_classes, dtype=bool))
        self.register_buffer("others", torch.from_numpy(others))
        # Relative to each other, so that the unit of the decisions does not matter.
        norms = norms / (norms.max() or 1)
        norms = np.where(norms > 0, norms, 1)
        self.register_buffer("norms", torch.from_numpy(norms))

    def forward(self, decisions: Tensor) -> Tensor:
        """Vote on a batch of decisions, one column per pair."""
        tiny = torch.finfo(decisions.dtype).tiny
        # A decision of zero is for the second class of the pair, unless ties are
        # broken: then scikit-learn counts it for the first.
        zero = tiny if self.break_ties else -tiny
        decisions = decisions + zero * (decisions == 0).to(decisions.dtype)
        winner, advantage = self._decide(self.duels(decisions))
        ranked = self._ranked(self.duels(decisions / self.norms))
        of_winner = -ranked[torch.arange(ranked.shape[0], device=ranked.device), winner]
        behind = torch.minimum(ranked, of_winner[:, None]).amax(dim=2)
        level = torch.maximum(ranked, of_winner[:, None]).amin(dim=2)
        # Not `clamp`, which has no gradient where the two are equal.
        margins = torch.minimum(torch.maximum(advantage, behind), level)
        return _SHARPNESS * margins.scatter(1, winner[:, None], 0.0)

    def _ranked(self, duels: Tensor) -> Tensor:
        """Decisions of every class against the others, the largest first."""
        n = self.n_classes
        others = duels.flatten(1)[:, self.others].reshape(-1, n, n - 1)
        return others.sort(dim=2, descending=True).values

    def _decide(self, duels: Tensor) -> tuple[Tensor, Tensor]:
        """Find the winner, and by how much each class is ahead of it in a tie."""
        votes = (duels > 0).sum(dim=2)
        tiny = torch.finfo(duels.dtype).tiny
        if not self.break_ties:
            winner = votes.argmax(dim=1)
            later = torch.arange(self.n_classes, device=duels.device)
            advantage = torch.where(later < winner[:, None], torch.inf, -torch.inf)
            return winner, advantage.to(duels.dtype)
        confidence = self.confidence(duels)
        winner = self.score(votes, confidence).argmax(dim=1)
        advantage = confidence - confidence.gather(1, winner[:, None])
        return winner, advantage.clamp(max=-tiny)


class WeightedVotes(nn.Module):
    r"""Turn the logits of several classifiers into those of their majority vote.

    The class with the largest sum of weights has the logit 0. Any other class j has, up
    to a factor, minus the margin by which it loses to the winner w: with
    :math:`s_{ij}` the lead of class j in classifier i over its best other class, this
    is the weighted median of all :math:`s_{ij}` and :math:`-s_{iw}`. It is positive
    exactly if j has more votes, it is continuous, and its gradient is that of the
    classifier whose flip decides.

    Parameters
    ----------
    weights : array-like of shape (n_classifiers,)
        Weights of the votes.
    """

    weights: Tensor

    def __init__(self, weights: ArrayLike) -> None:
        super().__init__()
        weights = torch.as_tensor(np.array(weights), dtype=torch.float64)
        self.register_buffer("weights", weights)

    def forward(self, logits: Tensor) -> Tensor:
        """Vote on logits of shape (n_samples, n_classifiers, n_classes)."""
        logits = logits.to(self.weights.dtype)
        votes = nn.functional.one_hot(logits.argmax(dim=2), logits.shape[2])
        winner = added_up(self.weights, votes).argmax(dim=1)
        leads = self._leads(logits, votes)
        rows = torch.arange(winner.shape[0], device=winner.device)
        against = -leads[rows, :, winner][:, :, None].expand_as(leads)
        earlier = torch.arange(leads.shape[2], device=leads.device) < winner[:, None]
        values = torch.cat([leads, against], dim=1)
        margins = self._weighted_median(values, half_is_enough=earlier)
        margins = _SHARPNESS * margins.scatter(1, winner[:, None], 0.0)
        return let_win(margins, winner)

    def _leads(self, logits: Tensor, votes: Tensor) -> Tensor:
        """By how much each class leads; where it is a tie, a vote counts as a lead."""
        first, second = logits.topk(2, dim=2).values.unbind(2)
        is_first = votes.bool()
        leads = logits - torch.where(is_first, second[:, :, None], first[:, :, None])
        tiny = torch.finfo(logits.dtype).tiny
        decided = torch.where(is_first, leads.clamp_min(tiny), leads.clamp_max(-tiny))
        return torch.where(leads == decided, leads, replaced(leads, decided))

    def _weighted_median(self, values: Tensor, half_is_enough: Tensor) -> Tensor:
        """Find the value down to which there is more than half of all weights.

        Of two classes with equally many votes the first wins: half is enough for it.
        """
        ordered, order = values.sort(dim=1, descending=True)
        summed, half = self.weights.repeat(2)[order].cumsum(dim=1), self.weights.sum()
        passed = (summed > half) | (half_is_enough[:, None] & (summed == half))
        place = passed.to(torch.int8).argmax(dim=1, keepdim=True)
        return ordered.gather(1, place).squeeze(1)


class SpreadClasses(nn.Module):
    """Give columns to the classes that a member of an ensemble does not know.

    Parameters
    ----------
    places : ndarray of int
        Among all classes, those that it knows.

    n_classes : int
        The number of all classes.

    fill : tuple of float
        What the columns of the others hold; one number, or one of logarithms and one of
        probabilities.
    """

    places: Tensor

    def __init__(
        self, places: NDArray, n_classes: int, fill: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.register_buffer("places", torch.from_numpy(np.array(places, dtype=int)))
        self.n_classes, self.fill = n_classes, fill

    def forward(self, x: Tensor) -> Tensor:
        """Spread the last axis of a batch."""
        fill = x.new_tensor(self.fill)
        if len(self.fill) > 1:
            fill = fill[:, None]
        whole = (x.new_zeros(*x.shape[:-1], self.n_classes) + fill).contiguous()
        return whole.index_copy(-1, self.places, x)


def spread(
    module: nn.Module, known: ArrayLike, n_classes: int, *fill: float
) -> nn.Module:
    """Add `SpreadClasses` where not all classes are known."""
    if np.array_equal(known, np.arange(n_classes)):
        return module
    places = np.asarray(known)
    return nn.Sequential(module, SpreadClasses(places, n_classes, fill))


class SecondWinsTies(nn.Module):
    """Let the second of two logits win where they are equal, as a binary SVC does."""

    def forward(self, logits: Tensor) -> Tensor:
        """Decide the ties of a batch."""
        tie = (logits[:, 0] == logits[:, 1]).to(logits.dtype)
        ahead = torch.finfo(logits.dtype).tiny * tie
        return torch.stack([logits[:, 0], logits[:, 1] + ahead], dim=1)
