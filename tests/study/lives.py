"""Studies in processes of their own that are killed: run as a script.

The heavy modules are loaded once; every life of a study is a fork of this process,
which computes nothing itself.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

from tests.study.studies import small_data, small_study

# Networks of one seed are trained together: many seeds are more groups than twenty
# lives of at most a few models each can finish.
N_SEEDS = 20


def study_of(store, log, n_seeds):
    """A study that notes who trained what."""

    def noted(model, X, y, X_test, y_test):
        with open(log, "a") as file:
            file.write(f"{os.getpid()}\n")
        return {}

    analyses = {"noted": noted}
    return small_study(store, n_graphs=3, n_seeds=n_seeds, analyses=analyses)


def begin(store, log, n_seeds=N_SEEDS):
    """Start a study; return the process."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        study_of(store, log, n_seeds).fit(*small_data())
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Nothing of the parent's is to be cleaned up here.
        os._exit(status)


def n_models(store):
    """How many models are in the store, asked from outside."""
    shards = [shard.read_bytes() for shard in Path(store).glob("*.rows")]
    # The first line of a shard says what study it is of.
    return sum(max(shard.count(b"\n") - 1, 0) for shard in shards)


def kill_after(child, store, wanted, seconds):
    """Kill a study once it has so many models and some time has gone by.

    A fast machine cuts that time short, or the study would be at its end before it is
    killed often enough. Say whether it was still at work; else it has ended by itself.
    """
    has_ended = False
    while not has_ended and n_models(store) < wanted:
        time.sleep(0.002)
        has_ended = os.waitpid(child, os.WNOHANG)[0] != 0
    if not has_ended:
        end = time.monotonic() + seconds
        while time.monotonic() < end and n_models(store) <= wanted:
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        has_ended = not os.WIFSIGNALED(status)
    return not has_ended


def live_and_die(store, log, n_kills, seed, n_seeds=N_SEEDS):
    """Kill a study again and again, at random points; then let it end."""
    rng = random.Random(seed)
    counts = []
    while len(counts) < n_kills:
        wanted = n_models(store) + rng.choice([0, 0, 1])
        child = begin(store, log, n_seeds)
        if not kill_after(child, store, wanted, rng.uniform(0, 0.1)):
            break
        counts.append(n_models(store))
    _, status = os.waitpid(begin(store, log, n_seeds), 0)
    return {"counts": counts, "status": status}


def live_together(store, log):
    """Let two processes work on one store."""
    children = [begin(store, log) for _ in range(2)]
    return {"status": [os.waitpid(child, 0)[1] for child in children]}


def live_once(store, log):
    """Let one process do it all."""
    return {"status": os.waitpid(begin(store, log), 0)[1]}


if __name__ == "__main__":
    how, folder, *numbers = sys.argv[1:]
    paths = [str(Path(folder) / name) for name in ("study.store", "log")]
    lives = {"once": live_once, "together": live_together, "killed": live_and_die}
    told = lives[how](*paths, *map(int, numbers))
    sys.stdout.write(f"{json.dumps(told)}\n")
