"""How far a study is: a bar on a terminal, a line now and then elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

__all__ = ["StudyProgress", "pace"]

# Seconds between two lines where there is no terminal.
_NOW_AND_THEN = 30


class StudyProgress:
    """Tells the user how many models are done, how fast, and how long it will take.

    Parameters
    ----------
    n_models : int
        Of the whole study.

    n_done : int
        How many are in the store already.

    verbose : int or bool
        0 is silent, 2 tells every model.

    clock : callable, default=time.monotonic
        Says what time it is.
    """

    def __init__(self, n_models, n_done, verbose, clock=time.monotonic):
        self.n_models, self.n_before, self.n_done = n_models, n_done, n_done
        self.clock = clock
        self._start = self._last_line = clock()
        console = Console()
        self._console = console if verbose else None
        self._bar = None
        self._tells_all = verbose > 1
        if verbose and console.is_terminal:
            self._bar = Progress(
                TextColumn("models"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[pace]}"),
                console=console,
            )
            self._task = self._bar.add_task(
                "", total=n_models, completed=n_done, pace=""
            )

    def __enter__(self):
        if self._bar:
            self._bar.start()
        elif self._console:
            self._say(f"{self.n_models:,} models, {self.n_before:,} in the store")
        return self

    def __exit__(self, kind, error, traceback):
        if self._bar:
            self._bar.stop()
        elif self._console and self.n_done > self.n_before:
            self._say(self._line())

    def update(self, n_done):
        """Note that some models are finished.

        Parameters
        ----------
        n_done : int
            How many, with those of before.
        """
        self.n_done = n_done
        if self._bar:
            self._bar.update(self._task, completed=self.n_done, pace=self._pace())
        is_time = not self._bar and self.clock() - self._last_line >= _NOW_AND_THEN
        if self._console and (self._tells_all or is_time):
            self._last_line = self.clock()
            self._say(self._line())

    def _say(self, line):
        # Short lines may be wrapped where the width of the output is not known.
        self._console.print(line, soft_wrap=True, highlight=False)

    def _line(self):
        return f"{self.n_done:,} of {self.n_models:,} models, {self._pace()}"

    def _pace(self):
        n_new = self.n_done - self.n_before
        return pace(n_new, self.clock() - self._start, self.n_models - self.n_done)


def pace(n_new, seconds, n_left):
    """Say how fast it goes and how long it will still take.

    Parameters
    ----------
    n_new : int
        Models finished so far, at least one.

    seconds : float
        What they took.

    n_left : int
        Models not finished.

    Returns
    -------
    words : str
        Such as "12.0 a minute, 3 min left".
    """
    a_minute = 60 * n_new / max(seconds, 1e-9)
    if n_left <= 0:
        return f"{a_minute:.1f} a minute, {_duration(seconds)} in all"
    return f"{a_minute:.1f} a minute, {_duration(seconds * n_left / n_new)} left"


def _duration(seconds):
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
