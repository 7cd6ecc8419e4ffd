"""Large graphs: what is measured stays right, and the memory bounded."""

import subprocess
import sys

import networkx as nx
import numpy as np
import pytest

from robustkit.graphs import graph_properties

MEGABYTE = 2**20

# Everything is loaded, compiled and drawn before the limit is set, so that it is one on
# what measuring takes. A failure is a MemoryError, and kills nothing.
LIMITED = f"""
import resource
import networkx as nx
from robustkit.graphs import graph_properties

def measure(graph):
    for directed in (False, True):
        yield graph_properties(graph, directed=directed)["average_path_length"]

print(*measure(nx.complete_graph(4)))
graphs = nx.star_graph(50_000), nx.random_regular_graph(4, 20_000, seed=0)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + {200 * MEGABYTE}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for graph in graphs:
    print(*measure(graph))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_graph_properties_memory_is_not_quadratic():
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    _, star, regular = (
        [float(length) for length in line.split()] for line in done.stdout.splitlines()
    )
    # Of two leaves one is two steps from the other, and one from the hub, which comes
    # first: every directed path is one edge.
    assert star == pytest.approx([2 * 50_000 / 50_001, 1])
    # So many vertices are within d steps at most: 1 + 4 (1 + 3 + ... + 3 ** (d - 1)).
    nearest = np.minimum(2 * 3.0 ** np.arange(1, 11) - 1, 20_000)
    shortest = (20_000 - np.append(1, nearest)).sum() / 19_999
    assert shortest <= regular[0] < 2 * np.log(20_000) / np.log(3)
    assert regular[1] > 1


def test_assortativity_of_large_star_does_not_overflow():
    """Their variance over all ends of edges, times the number squared, is 1.3e19."""
    properties = graph_properties(nx.star_graph(60_000))
    assert properties["assortativity"] == pytest.approx(-1)
    assert properties["average_clustering"] == 0


def test_clustering_of_large_wheel():
    """A leaf's two triangles of three possible; the hub's n of n (n - 1) / 2."""
    n = 20_000
    properties = graph_properties(nx.wheel_graph(n + 1))
    expected = (n * 2 / 3 + 2 / (n - 1)) / (n + 1)
    assert properties["average_clustering"] == pytest.approx(expected, rel=1e-12)
    # Next to each other, or else over the hub.
    total = n * (1 + 1) + n * (2 + 2 * (n - 3))
    assert properties["average_path_length"] == pytest.approx(total / (n * (n + 1)))
