"""Run the benchmarks of some rooms, or of all, and write the table."""

import argparse
import importlib
import json
import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# One thread, for us and for every peer: set before numpy or torch are loaded.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from benchmarks.harness import Result, measure

HERE = Path(__file__).parent
PACKAGES = ("robustkit", "scikit-learn", "numpy", "scipy", "torch", "networkx", "numba")


def rooms():
    """Names of the benchmark files, without their prefix."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def versions():
    """Versions of what is measured, where it is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine():
    """The processor and how many of them, in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if os.name == "posix" else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def run(room):
    """Yield the result of every case of a room, printing it as it comes."""
    module = importlib.import_module(f"benchmarks.bench_{room}")
    for case in module.cases():
        result = measure(case, room)
        print(row(result), flush=True)
        yield result.as_dict() | {"kept": result.kept}


def row(result):
    """One line of the Markdown table."""
    return (
        f"| {result.name} | {result.peer} | {seconds(result.ours)} "
        f"| {seconds(result.theirs)} | {result.ratio:.3g} "
        f"({result.ratio_low:.3g} to {result.ratio_high:.3g}) "
        f"| {'' if result.limit is None else f'{result.limit:.3g}'} "
        f"| {answer(result.kept)} | {answer(result.same)} | {result.note} |"
    )


def seconds(value):
    """A time in a unit that reads well."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def answer(value):
    """A yes, a no, or nothing where nobody asked."""
    return {True: "yes", False: "**no**", None: ""}[value]


HEADER = (
    "| work | peer | ours | theirs | ours / theirs (middle half) | promised | kept "
    "| same result | note |\n|---|---|---|---|---|---|---|---|---|"
)


def table(store):
    """The whole table as Markdown, from everything measured so far."""
    parts = [
        "# Benchmarks",
        "",
        "Times are CPU seconds a call on one thread. The two sides of a row ran in "
        "turn in one process; the ratio is the median over pairs, in brackets the "
        "middle half. Below 1 means that robustkit is faster. Written by "
        "`python -m benchmarks`; do not edit.",
    ]
    for room, entry in sorted(store.items()):
        found = ", ".join(f"{name} {v}" for name, v in entry["versions"].items())
        parts += [
            "",
            f"## {room}",
            "",
            f"{entry['machine']}; {found}; {entry['date']}.",
        ]
        parts += ["", HEADER]
        for result in entry["results"]:
            values = {key: value for key, value in result.items() if key != "kept"}
            parts.append(row(Result(**values)))
    return "\n".join(parts) + "\n"


def main():
    """Measure, and keep what other rooms measured before."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="room", help=", ".join(rooms()))
    chosen = parser.parse_args().rooms or rooms()
    unknown = set(chosen) - set(rooms())
    if unknown:
        parser.error(f"no benchmark called {sorted(unknown)}; there are {rooms()}")
    path = HERE / "results.json"
    store = json.loads(path.read_text()) if path.exists() else {}
    for room in chosen:
        print(f"## {room}\n\n{HEADER}", flush=True)
        store[room] = {
            "machine": machine(),
            "versions": versions(),
            "date": str(date.today()),
            "results": list(run(room)),
        }
        path.write_text(json.dumps(store, indent=1) + "\n")
        (HERE / "RESULTS.md").write_text(table(store))


if __name__ == "__main__":
    main()
