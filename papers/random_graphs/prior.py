"""Small worlds between as many sources and sinks in every graph.

In the graphs of the paper, the number of sources follows from all else: it decides on
the number of parameters and is the width through which the image is seen. Here both
ends are given, so that size, degree and rewiring can be chosen one by one.
"""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from robustkit.graphs import GraphPrior, LayeredGraph


class MatchedPrior(BaseEstimator):
    """A Watts-Strogatz graph, whose edges climb a random order, between two ends.

    Parameters
    ----------
    n_nodes : int, default=100
        Vertices of the small world.

    n_neighbors : int, default=4
        How many neighbours each has on each side of the ring before rewiring.

    rewiring : float, default=0.5
        Probability that an end of an edge is moved.

    n_ends : int, default=64
        Sources, and sinks, beside the vertices of the small world.

    n_links : int, default=256
        Edges from the sources into the small world, and from there to the sinks. Those
        vertices that lack a predecessor, or a successor, come first.

    random_state : int, default=None
        Draws the graph.
    """

    def __init__(
        self,
        n_nodes=100,
        n_neighbors=4,
        rewiring=0.5,
        n_ends=64,
        n_links=256,
        random_state=None,
    ):
        self.n_nodes = n_nodes
        self.n_neighbors = n_neighbors
        self.rewiring = rewiring
        self.n_ends = n_ends
        self.n_links = n_links
        self.random_state = random_state

    def sample(self, random_state=None):
        """Draw one graph."""
        if random_state is None:
            random_state = self.random_state
        rng = check_random_state(random_state)
        inner = self._inner_prior().sample(rng)
        edges = inner.edges + self.n_ends
        first_sink = self.n_ends + self.n_nodes
        into = self._links(inner.sources, rng)
        out = self._links(inner.sinks, rng)
        into[1] += self.n_ends
        out = np.stack([out[1] + self.n_ends, out[0] + first_sink])
        edges = np.concatenate([into, edges, out], axis=1)
        return LayeredGraph(edges, first_sink + self.n_ends)

    def _inner_prior(self):
        return GraphPrior(
            n_nodes=self.n_nodes,
            n_neighbors=self.n_neighbors,
            rewiring=self.rewiring,
            orientation="random",
        )

    def _links(self, needy, rng):
        """Pairs of an end and an inner vertex, all different; every one has a share."""
        if len(needy) > self.n_links:
            raise ValueError(
                f"n_links must be at least {len(needy)}, the vertices that lack a "
                f"neighbour on one side. Got {self.n_links}."
            )
        rest = np.setdiff1d(np.arange(self.n_nodes), needy)
        inner = np.concatenate([rng.permutation(needy), rng.permutation(rest)])
        # Round after round over both: the ends are shifted each round, since pairs
        # would come back where one number divides the other.
        places = np.arange(self.n_links)
        ends = rng.permutation(self.n_ends)
        shift = places // np.lcm(self.n_ends, self.n_nodes)
        return np.stack(
            [ends[(places + shift) % self.n_ends], inner[places % self.n_nodes]]
        )


class MatchedFamilyPrior(MatchedPrior):
    """A graph of one of five families, between ends as those of MatchedPrior.

    Every family has ``n_nodes * n_neighbors`` edges: watts_strogatz and random_regular
    exactly but for edges that rewiring makes twice, erdos_renyi and stochastic_block on
    average, and barabasi_albert but for those of its first vertices. So what differs is
    how the edges lie.

    Parameters
    ----------
    generator : str, default="watts_strogatz"
        The family, one of the five above.

    n_nodes, n_neighbors, n_ends, n_links, random_state
        As in MatchedPrior; `n_neighbors` is half the average degree.

    rewiring : float, default=0.1
        Of watts_strogatz, the probability that an end of an edge is moved; of
        stochastic_block, how much rarer an edge between blocks is than one within.
    """

    def __init__(
        self,
        generator="watts_strogatz",
        n_nodes=200,
        n_neighbors=4,
        rewiring=0.1,
        n_ends=64,
        n_links=256,
        random_state=None,
    ):
        super().__init__(n_nodes, n_neighbors, rewiring, n_ends, n_links, random_state)
        self.generator = generator

    def _inner_prior(self):
        size = self.n_nodes
        n_edges, n_pairs = size * self.n_neighbors, size * (size - 1) / 2
        probability = n_edges / n_pairs
        prior = super()._inner_prior().set_params(generator=self.generator)
        if self.generator == "stochastic_block":
            block = size / prior.n_blocks
            n_within = prior.n_blocks * block * (block - 1) / 2
            n_between = n_pairs - n_within
            probability = n_edges / (n_within + self.rewiring * n_between)
        return prior.set_params(
            edge_probability=min(probability, 1.0), n_attachments=self.n_neighbors
        )
