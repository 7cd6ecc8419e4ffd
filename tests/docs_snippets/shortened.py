"""What is run in place of what a page shows, and what is not run at all.

A page shows what its reader wants: hundreds of networks, sixteen workers, all of MNIST.
A test runs the same commands on little. Nothing is left out here because it is slow.
"""

# How a command begins that no test runs: reason. All of them are parsed.
NOT_RUN = {
    "python -m venv": "installs: .ci/run does it",
    "source .venv": "the environment that was not made",
    "python -m pip install": "installs: .ci/run does it, the README's word for word",
    "python -m pytest": "runs this very test: .ci/run does it",
}

# Of two equal options the last one counts. `belongings.py` makes the files.
_GRAPHS = "--n-graphs 3 --inits he_uniform --dataset few.npz --n-jobs 1"
_NETS = "--n-graphs 1 --dataset pale.npz --n-jobs 1"
_QUICK = "--n-graphs 4 --inits he_normal --n-jobs 1"
_REGIONS = "--n-seeds 2 --n-rivals 1 --batch-sizes 64 --strengths .8 --n-test 10"
_TOPOLOGY = "--n-seeds 1 --n-test 20 --parts linf --epochs 1"
_TINY = "python -m benchmarks tiny --device cpu"
_WORKER = "dask worker tcp://127.0.0.1:{port} --host 127.0.0.1 --no-dashboard"

# A command on a page -> what is run in its place. "..." is the command as it is shown,
# "{port}" one that is free.
COMMANDS = {
    "robustkit study": f"... {_QUICK}",
    # "quick", if none is named.
    "robustkit study --preset NAME": f"robustkit study {_QUICK}",
    "robustkit study --preset random-graphs": f"... {_GRAPHS}",
    "python -m papers.random_graphs.mismatched --n-graphs 60 --inits he_uniform": (
        "... --n-graphs 3 --dataset few.npz"
    ),
    "robustkit study --preset graph-families --n-graphs 60 --inits "
    "he_uniform": f"... {_GRAPHS} --n-graphs 4",
    "robustkit study --preset pruning": f"... {_NETS}",
    "python -m papers.random_graphs.mismatched --pruning": (
        "... --n-graphs 1 --dataset pale.npz"
    ),
    # Over so few images some attacks do the same to all networks of the others.
    "python -m papers.random_graphs study-*/study.store": (
        "python -m papers.random_graphs "
        "study-random-graphs/study.store study-graph-families/study.store"
    ),
    "python -m benchmarks.defaults": "... --seeds 1 --folds 2",
    "python -m benchmarks.rewiring": "... --dataset digits --seeds 1 --epochs 2",
    "python -m benchmarks.bracket_cases 1000000 FILE": (
        "python -m benchmarks.bracket_cases 500 cases.json"
    ),
    "robustkit study mine.toml": "... --n-jobs 1",
    "robustkit study --store study-mine/study.store": "... --n-jobs 1",
    # What the page stored before it comes to this.
    "robustkit report STORE": "robustkit report study.store --out report",
    "robustkit export STORE --store FOLDER": (
        "robustkit export study.store --store copied.store"
    ),
    "robustkit explore --demo": "... --export demo.html",
    "robustkit explore RUN": "robustkit explore run --no-open",
    "dask scheduler": "... --host 127.0.0.1 --port {port} --no-dashboard",
    "dask worker tcp://scheduler:8786 --nworkers 16 --nthreads 1": (
        f"{_WORKER} --nworkers 1 --nthreads 1"
    ),
    "CUDA_VISIBLE_DEVICES=0 dask worker tcp://scheduler:8786 --nthreads 1": (
        f"env CUDA_VISIBLE_DEVICES=0 {_WORKER} --nthreads 1"
    ),
    "CUDA_VISIBLE_DEVICES=1 dask worker tcp://scheduler:8786 --nthreads 1": (
        f"env CUDA_VISIBLE_DEVICES=1 {_WORKER} --nthreads 1"
    ),
    # Rooms are measured for minutes; peers are installed.
    "python -m benchmarks --peers FOLDER": _TINY,
    "python -m benchmarks networks graphs": _TINY,
    "python -m benchmarks networks": _TINY,
    "python -m benchmarks study": _TINY,
    "python -m benchmarks attacks": _TINY,
    "python -m benchmarks.bench_bounds": "... --small --n-images 5",
    "python -m benchmarks.bench_explorer": "... --n-samples 2000 --n-changes 4",
    "python -m benchmarks.explorer_page": (
        "... --n-samples 6000 --n-times 1 --n-frames 2"
    ),
    "python -m papers.random_graphs.cost": "... --dataset few.npz --n-graphs 3",
    "python -m benchmarks.stream_regions": "... --n-samples 20000",
    "python -m papers.regions --n-seeds 10 --smoothings .1": (
        f"... {_REGIONS} --epochs 10"
    ),
    "python -m papers.regions --dataset mnist --network mlp --n-seeds 10 --smoothings "
    ".1": (f"... {_REGIONS} --epochs 5 --n-train 100"),
    "python -m papers.regions --dataset mnist --network cnn6": (
        f"... {_REGIONS} --strengths --epochs 2 --n-train 32 --side 14"
    ),
    "python -m papers.topology --dataset mnist": (f"... {_TOPOLOGY} --n-train 100"),
    "python -m papers.topology --dataset mnist --parts linf --n-seeds 10": (
        f"... {_TOPOLOGY} --n-train 100"
    ),
    "python -m papers.topology.two_by_two": (
        "... --dataset digits --n-seeds 1 --epochs 1"
    ),
    "python -m papers.topology --dataset cifar10 --n-seeds 2": (
        f"... {_TOPOLOGY} --n-train 50"
    ),
}

# A piece of a page's Python -> what is run in its place.
CODE = {'Client("tcp://scheduler:8786")': 'Client("tcp://127.0.0.1:{port}")'}

# How a command begins, as it is run, that serves until it is stopped -> what it says
# when it is ready. It is stopped when the page is at its end.
SERVES = {
    "dask scheduler": "Scheduler at:",
    "dask worker": "Registered to:",
    "env CUDA_VISIBLE_DEVICES=": "Registered to:",
    "robustkit explore run": "http://",
}
