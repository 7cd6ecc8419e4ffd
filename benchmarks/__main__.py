"""Measure some rooms, or all, and write the table.

``python -m benchmarks --peers FOLDER`` does everything: it installs the peers into the
folder, unless they are there, and measures every room against them.
"""

import argparse
import os
from pathlib import Path

# One thread, for us and for every peer: set before numpy or torch are loaded.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from benchmarks import peers, rooms


def main(arguments=None):
    """Measure, and keep what other rooms measured before."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "rooms", nargs="*", metavar="room", help=", ".join(rooms.names())
    )
    parser.add_argument(
        "--peers",
        metavar="FOLDER",
        type=Path,
        help="where peers are, or go; without it, those that are installed are used",
    )
    parser.add_argument(
        "--device", help="cpu or cuda; by default cpu, then cuda if torch sees one"
    )
    options = parser.parse_args(arguments)
    chosen = options.rooms or rooms.names()
    unknown = set(chosen) - set(rooms.names())
    if unknown:
        parser.error(
            f"no benchmark called {sorted(unknown)}; there are {rooms.names()}"
        )
    devices = [options.device] if options.device else rooms.devices()
    if not set(devices) <= set(rooms.devices()):
        parser.error(f"no {options.device} here; torch sees {rooms.devices()}")
    if options.peers is not None:
        for module, reason in peers.install(options.peers).items():
            print(f"{peers.PEERS[module].title} could not be installed: {reason}")
    failed = [
        f"{room} on {device}"
        for device in devices
        for room in chosen
        if rooms.works_on(room, device)
        and not rooms.record_alone(room, device, options.peers)
    ]
    if failed:
        parser.exit(1, f"These rooms failed: {', '.join(failed)}.\n")


if __name__ == "__main__":
    main()
