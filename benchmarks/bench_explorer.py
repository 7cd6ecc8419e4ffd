"""The explorer under load: a slider that moves over 60,000 points.

``python -m benchmarks.bench_explorer`` measures the whole way of a slider, through the
server: seconds of each change, how far behind 20 quick moves leave it, and how much
memory 200 changes take.
"""

import threading
import time
from dataclasses import replace
from itertools import cycle

import networkx as nx
import numpy as np

from benchmarks.bench_topology import logits
from benchmarks.harness import Case
from robustkit.explorer import View
from robustkit.explorer._graphs import GraphParameters, Graphs
from robustkit.explorer._layout import lay_out
from robustkit.explorer._run import make_run
from robustkit.topology import MapperGraph

BASE = GraphParameters(0, "l2norm", "uniform", 40, 0.3, "auto", 5)


def run_of_logits():
    X, _ = logits()
    label = X.argmax(axis=1)
    return make_run(y=label, views=[View("M", 0.0, X, label)])


def cases():
    """Each slider against a mapper fitted anew, and the layout against a peer's."""
    run = run_of_logits()
    X = run.views[0].activations
    # Nothing computed before is found again; only the neighbours are.
    graphs = Graphs(run, n_kept=1)
    eps = graphs.compute(BASE).eps
    base = replace(BASE, eps=eps)
    for name, values in {
        "n_intervals": (60, 61),
        "overlap": (0.5, 0.51),
        "min_samples": (8, 9),
        "eps": (0.9 * eps, 0.89 * eps),
    }.items():
        turn = cycle([replace(base, **{name: value}) for value in values])
        p = next(turn)
        cold = MapperGraph(
            n_intervals=p.n_intervals, overlap=p.overlap, eps=p.eps,
            min_samples=p.min_samples,
        )  # fmt: skip
        yield Case(
            name=f"60,000 x 10, another {name}",
            peer="MapperGraph fitted anew",
            ours=lambda turn=turn: graphs.compute(next(turn)),
            theirs=lambda cold=cold: cold.fit(X),
            limit=1.0,
            repeats=5,
            seconds=0,
            note="with the purity and accuracy of all nodes; promised: less than 0.5 s",
        )
    graph = graphs.compute(
        replace(BASE, n_intervals=200, eps=eps * 0.65, min_samples=2)
    )
    plain = nx.Graph(graph.edges.tolist())
    plain.add_nodes_from(range(graph.n_nodes))
    yield Case(
        name=f"layout of {graph.n_nodes:,} nodes and {len(graph.edges):,} edges",
        peer=f"networkx {nx.__version__} spring_layout",
        ours=lambda: lay_out(graph),
        theirs=lambda: nx.spring_layout(plain, seed=0),
        limit=1 / 10,
        repeats=3,
    )


def load():
    """Ask a server, as the page does."""
    import httpx
    import psutil

    from robustkit.explorer._explore import Explorer

    run = run_of_logits()
    explorer = Explorer(run, Graphs(run))
    explorer.start()
    process = psutil.Process()
    with httpx.Client(base_url=explorer.url, timeout=120) as client:

        def ask(seq, **changes):
            body = {"tab": "t", "pane": "left", "seq": seq, **vars(BASE), **changes}
            start = time.perf_counter()
            answer = client.post("api/graph", json=body)
            return answer, time.perf_counter() - start

        first, seconds = ask(0)
        eps = first.json()["eps"]
        print(f"first graph: {seconds:.2f} s")
        rng = np.random.default_rng(0)

        def any_change():
            return {
                "n_intervals": int(rng.integers(20, 120)),
                "overlap": float(rng.uniform(0.2, 0.5)),
                "eps": float(eps * rng.uniform(0.7, 1)),
                "min_samples": int(rng.integers(3, 9)),
            }

        times, memory = [], []
        for seq in range(1, 201):
            answer, seconds = ask(seq, **any_change())
            assert answer.status_code == 200, answer.text
            times.append(seconds)
            memory.append(process.memory_info().rss / 2**20)
        print(
            f"200 changes: median {np.median(times):.2f} s, 95 % within "
            f"{np.quantile(times, 0.95):.2f} s; memory after 50 of them "
            f"{memory[49]:.0f} MiB, after 200 {memory[-1]:.0f} MiB"
        )
        statuses, threads = {}, []

        def move(seq):
            statuses[seq] = ask(seq, n_intervals=seq - 200)[0].status_code

        start = time.perf_counter()
        for seq in range(230, 250):
            threads.append(threading.Thread(target=move, args=(seq,)))
            threads[-1].start()
            time.sleep(0.03)
        for thread in threads:
            thread.join()
        n_done = sum(status == 200 for status in statuses.values())
        print(
            f"20 moves in 0.6 s: {n_done} computed, the last one answered "
            f"{time.perf_counter() - start - 0.6:.2f} s after the last move"
        )
    explorer.close()


if __name__ == "__main__":
    load()
