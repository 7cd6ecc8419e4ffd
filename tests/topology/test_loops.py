"""As many loops as the nerve has holes, and the shortest ways around them."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from robustkit.topology import _loops
from robustkit.topology._loops import count_loops, filled_triangles, find_loops
from robustkit.topology._mapper import shared_samples


@st.composite
def memberships(draw):
    """Which of a few samples lies in which of a few nodes."""
    n_samples, n_nodes = draw(st.integers(1, 14)), draw(st.integers(1, 8))
    share = draw(st.sampled_from([0.15, 0.3, 0.5]))
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    return csr_matrix((rng.uniform(size=(n_samples, n_nodes)) < share).astype(float))


def rank_mod_2(rows):
    rows = [list(row) for row in rows]
    rank = 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((r for r in range(rank, len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for r in range(len(rows)):
            if r != rank and rows[r][column]:
                rows[r] = [a ^ b for a, b in zip(rows[r], rows[rank], strict=True)]
        rank += 1
    return rank


def boundary(cycle, edges):
    sides = [
        tuple(sorted(side)) for side in zip(cycle, cycle[1:] + cycle[:1], strict=True)
    ]
    assert all(side in edges for side in sides)
    return [sides.count(edge) % 2 for edge in edges]


def first_betti_number(edges, n_nodes, triangles):
    """Edges less the ranks of both boundary maps, over the integers modulo 2."""
    down = [[int(node in edge) for node in range(n_nodes)] for edge in edges]
    up = [boundary(list(triple), edges) for triple in triangles]
    return len(edges) - rank_mod_2(down) - rank_mod_2(up)


@given(memberships())
def test_triangles_are_the_triples_that_share_a_sample(membership):
    nodes = [set(column.nonzero()[0]) for column in membership.toarray().T]
    assert filled_triangles(membership) == [
        triple
        for triple in combinations(range(len(nodes)), 3)
        if set.intersection(*(nodes[k] for k in triple))
    ]


@given(memberships(), st.booleans())
def test_loops_go_once_around_every_hole(membership, are_filled):
    edges, _ = shared_samples(membership)
    triangles = filled_triangles(membership) if are_filled else []
    n_nodes = membership.shape[1]
    listed = [tuple(edge) for edge in edges.tolist()]
    expected = first_betti_number(listed, n_nodes, triangles)
    loops = find_loops(edges, n_nodes, triangles)
    assert count_loops(edges, n_nodes, triangles) == len(loops) == expected
    # Each is a simple cycle, and none is a sum of others and of filled triangles.
    assert all(len(set(loop)) == len(loop) > 2 for loop in loops)
    rows = [boundary(loop, listed) for loop in loops]
    filled = [boundary(list(triple), listed) for triple in triangles]
    assert rank_mod_2(rows + filled) == len(loops) + rank_mod_2(filled)


@given(memberships())
def test_loops_are_as_short_as_those_of_a_minimum_cycle_basis(membership):
    edges, _ = shared_samples(membership)
    loops = find_loops(edges, membership.shape[1], [])
    basis = nx.minimum_cycle_basis(nx.Graph(edges.tolist()))
    assert sorted(map(len, loops)) == sorted(map(len, basis))


@pytest.mark.parametrize(
    ("graph", "lengths"),
    [
        (nx.path_graph(6), []),
        (nx.cycle_graph(7), [7]),
        (nx.disjoint_union(nx.cycle_graph(4), nx.cycle_graph(5)), [4, 5]),
        (nx.ladder_graph(4), [4, 4, 4]),
        (nx.petersen_graph(), [5] * 6),
    ],
)
def test_loops_of_known_graphs(graph, lengths, monkeypatch):
    edges = np.array(sorted(map(sorted, graph.edges)))
    loops = find_loops(edges, len(graph), [])
    assert [len(loop) for loop in loops] == lengths
    # Also where only one cycle of each root may be looked at, all holes are found.
    monkeypatch.setattr(_loops, "_MOST_CYCLES", 1)
    assert len(find_loops(edges, len(graph), [])) == len(lengths)


def test_a_loop_begins_with_its_smallest_node():
    edges = np.array([[0, 3], [0, 4], [1, 2], [1, 3], [2, 4]])
    assert find_loops(edges, 5, []) == [[0, 3, 1, 2, 4]]
