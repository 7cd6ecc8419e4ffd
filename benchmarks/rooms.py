"""The files ``bench_*.py``, one a room: measured, each in a process of its own."""

import importlib
import inspect
import multiprocessing
import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import peers, report, store
from benchmarks.harness import Growth, PeerError, measure, measure_growth

HERE = Path(__file__).parent
PACKAGES = ("robustkit", "scikit-learn", "numpy", "scipy", "torch", "networkx", "numba")


def names():
    """Names of the benchmark files, without their prefix."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def versions():
    """Versions of what every room uses; a row says that of its peer."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine(device="cpu"):
    """The processor and how many of them, in words; before it the GPU that worked."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    words = f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
    if device == "cpu":
        return words
    import torch

    return f"{torch.cuda.get_device_name(device)}; {words}"


def devices():
    """Where rooms can work: a GPU too, if torch sees one."""
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def works_on(room, device):
    """Whether a room has work for a device."""
    cases = importlib.import_module(f"benchmarks.bench_{room}").cases
    return device == "cpu" or "device" in inspect.signature(cases).parameters


def run(room, device="cpu"):
    """Measure a room, printing each row as it comes.

    Returns
    -------
    entry : dict
        What the store keeps of a room.
    """
    module = importlib.import_module(f"benchmarks.bench_{room}")
    entry = {
        "machine": machine(device),
        "versions": versions(),
        "date": str(date.today()),
        "left_out": peers.missing(getattr(module, "PEERS", ())),
        "results": [],
        "growths": [],
    }
    print(f"\n## {room} on {device}\n{report.left_out(entry)}", flush=True)
    takes_device = "device" in inspect.signature(module.cases).parameters
    for each in module.cases(device) if takes_device else module.cases():
        try:
            if isinstance(each, Growth):
                entry["growths"].append(measure_growth(each).as_dict())
                cells = report.growth_cells(entry["growths"][-1])
            else:
                entry["results"].append(measure(each).as_dict())
                cells = report.case_cells(entry["results"][-1])
        except PeerError as error:
            entry["left_out"].append(str(error))
            cells = [str(error)]
        print(report.markdown_row(cells), flush=True)
    return entry


def record(room, device, folder):
    """Measure a room and keep what came out."""
    if folder is not None:
        peers.use(folder)
    name = room if device == "cpu" else f"{room} on a GPU"
    store.merge(name, run(room, device))


def record_alone(room, device, folder):
    """Do it in a process of its own: none grows by what the others leave behind."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=record, args=(room, device, folder))
    process.start()
    process.join()
    return process.exitcode == 0
