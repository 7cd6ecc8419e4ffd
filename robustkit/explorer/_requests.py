"""Requests of the page: validation of their fields, scheduling, and the answers."""

import asyncio
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robustkit._validation import did_you_mean
from robustkit.explorer._graphs import (
    NO_FILTER,
    GraphParameters,
    Graphs,
    SupersededError,
)
from robustkit.explorer._layout import Picture, next_picture, picture_beside
from robustkit.explorer._page import (
    COLUMNS,
    LIMITS,
    column_as_bytes,
    describe_graph,
    describe_run,
    members_as_bytes,
    page_as_html,
)
from robustkit.explorer._run import Run

__all__ = [
    "Api",
    "Fields",
    "File",
    "GoneError",
    "NewestOnly",
    "Reply",
    "RequestError",
    "in_thread",
    "refusal",
    "reply",
]

_LOG = logging.getLogger(__name__)

_EPS = (1e-12, 1e12)
_LARGEST_SEQ = 2**53
_FARTHEST = 1e6

_PARAMETERS = (
    "filter", "cover", "n_intervals", "overlap", "eps", "min_samples",
    "second_filter", "second_intervals",
)  # fmt: skip
_MOST_IMAGES = 500
_MOST_PANES = 64


@dataclass(frozen=True)
class File:
    """A response that the browser saves as a file."""

    name: str
    media_type: str
    text: str


# A request handler; it gets the untrusted values of the request.
Answer = Callable[[object], Awaitable[dict | bytes | File]]


@dataclass(frozen=True)
class Reply:
    """What is sent back for a request, with a status as in HTTP."""

    status: int
    body: bytes
    media_type: str
    file_name: str | None = None


class GoneError(LookupError):
    """A resource does not exist, or is no longer kept."""


class RequestError(ValueError):
    """A request is invalid; the message says why."""


async def reply(answer: Answer, values: object) -> Reply:
    """Answer a request; an error becomes one line that says why there is no answer."""
    try:
        result = await answer(values)
    except SupersededError:
        return _json({"superseded": True}, 409)
    except RequestError as error:
        return refusal(400, error)
    except GoneError as error:
        return refusal(404, error)
    except (ValueError, MemoryError) as error:
        # Caused by the parameters, not by an error in the program.
        return refusal(500, f"The computation failed: {str(error) or 'out of memory'}")
    except Exception as error:
        _LOG.exception("A request failed")
        return refusal(500, f"{type(error).__name__}: {error}")
    if isinstance(result, bytes):
        return Reply(200, result, "application/octet-stream")
    if isinstance(result, File):
        return Reply(200, result.text.encode(), result.media_type, result.name)
    return _json(result)


def refusal(status: int, message: object) -> Reply:
    """Say in one line why there is no answer."""
    return _json({"error": " ".join(str(message).split())}, status)


def _json(content, status=200):
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return Reply(status, text.encode(), "application/json")


class Fields:
    """The fields of a request, from JSON or from a query string.

    Each value is validated when it is read; names that are not `known` are rejected.
    """

    def __init__(self, values: object, known: Collection[str]):
        if not isinstance(values, dict):
            raise RequestError("The request must be a JSON object.")
        for name in values:
            if name not in known:
                raise RequestError(f"unknown field {name!r}{did_you_mean(name, known)}")
        self._values = dict(values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def _get(self, name: str):
        if name not in self._values:
            raise RequestError(f"the field {name!r} is missing")
        return self._values[name]

    def is_text(self, name: str, text: str) -> bool:
        """Whether a value equals this string."""
        return self._get(name) == text

    def integer(self, name: str, low: int, high: int) -> int:
        """Return an integer from `low` to `high`."""
        value = self._get(name)
        if isinstance(value, str) and _is_digits(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(name, f"an integer from {low} to {high}", value)
        if not low <= value <= high:
            raise _wrong(name, f"an integer from {low} to {high}", value)
        return value

    def number(self, name: str, low: float, high: float) -> float:
        """Return a finite number from `low` to `high`."""
        value = self._get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # NaN fails this comparison, too.
        if not is_number or not low <= value <= high:
            raise _wrong(name, f"a number from {low} to {high}", value)
        return float(value)

    def choice(self, name: str, choices: Collection[str]) -> str:
        """Return one of the allowed strings."""
        value = self._get(name)
        if not isinstance(value, str) or value not in choices:
            raise _wrong(name, f"one of {', '.join(choices)}", value)
        return value

    def text(self, name: str, longest: int) -> str:
        """Return a string that is not empty and not too long."""
        value = self._get(name)
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            raise _wrong(name, f"a string of 1 to {longest} characters", value)
        return value

    def numbers(self, name: str, farthest: float) -> list[float]:
        """Return a list of numbers from -`farthest` to `farthest`."""
        value = self._get(name)
        is_list = isinstance(value, list) and all(
            type(v) in (int, float) for v in value
        )
        if not is_list or not all(-farthest <= v <= farthest for v in value):
            what = f"a list of numbers from {-farthest:g} to {farthest:g}"
            raise _wrong(name, what, value)
        return [float(v) for v in value]

    def integers(self, name: str, n: int, most: int) -> list[int]:
        """Return at most `most` indices below `n`, from a list or "1,2,3"."""
        value = self._get(name)
        what = f"at most {most} integers from 0 to {n - 1}"
        if isinstance(value, str):
            words = value.split(",") if value else []
            if not all(map(_is_digits, words)):
                raise _wrong(name, what, value)
            value = [int(word) for word in words]
        if not isinstance(value, list) or len(value) > most:
            raise _wrong(name, what, value)
        if not all(type(i) is int and 0 <= i < n for i in value):
            raise _wrong(name, what, value)
        return value


def _is_digits(word):
    # No signs, no digits of other scripts, nothing that is slow to parse.
    return word.isascii() and word.isdecimal() and len(word) <= 15


def _wrong(name, what, value):
    got = repr(value)
    got = got if len(got) <= 80 else f"{got[:77]}..."
    return RequestError(f"the field {name!r} must be {what}. Got {got}.")


async def in_thread(function: Callable, *args):
    """Run a function in a daemon thread, which does not delay the exit."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def finish(setter, value):
        # The server may have stopped in the meantime.
        if not loop.is_closed():
            loop.call_soon_threadsafe(lambda: None if future.done() else setter(value))

    def run():
        try:
            result = function(*args)
        except BaseException as error:
            finish(future.set_exception, error)
        else:
            finish(future.set_result, result)

    threading.Thread(target=run, daemon=True).start()
    return await future


class _Ticket:
    """A computation that is running or waiting."""

    def __init__(self):
        self.cancelled = threading.Event()
        # Set while it waits; resolved when it may run, or when it is cancelled.
        self.turn: asyncio.Future | None = None

    def cancel(self):
        self.cancelled.set()
        if self.turn is not None and not self.turn.done():
            self.turn.set_exception(SupersededError())


class _Pane:
    def __init__(self):
        self.seq = -1
        self.running: _Ticket | None = None
        self.waiting: _Ticket | None = None


class NewestOnly:
    """Scheduler that runs one computation per pane and queues only the newest.

    A newer computation cancels the older ones: a waiting one is answered immediately, a
    running one sees its flag at its next step. At most `n_at_once` computations of all
    panes run at the same time; `n_panes` panes are remembered.
    """

    def __init__(self, n_at_once: int = 2, n_panes: int = 64):
        self.n_panes = n_panes
        self._panes: OrderedDict[Hashable, _Pane] = OrderedDict()
        self._slots = asyncio.Semaphore(n_at_once)

    async def run(
        self, key: Hashable, seq: int, function: Callable[[threading.Event], object]
    ):
        """Run a computation for a pane, unless a newer one is requested.

        A larger `seq` is newer. `function` takes the flag and should raise
        SupersededError soon after the flag is set.
        """
        pane = self._pane(key)
        if seq < pane.seq:
            raise SupersededError
        pane.seq = seq
        ticket = _Ticket()
        for older in (pane.waiting, pane.running):
            if older is not None:
                older.cancel()
        if pane.running is not None:
            ticket.turn = asyncio.get_running_loop().create_future()
            pane.waiting = ticket
            await ticket.turn
        pane.running = ticket
        try:
            async with self._slots:
                if ticket.cancelled.is_set():
                    raise SupersededError
                result = await in_thread(function, ticket.cancelled)
            if ticket.cancelled.is_set():
                raise SupersededError
            return result
        finally:
            self._hand_over(pane)

    def _pane(self, key):
        pane = self._panes.setdefault(key, _Pane())
        self._panes.move_to_end(key)
        idle = [k for k, p in self._panes.items() if p.running is None]
        for old in idle[: max(0, len(self._panes) - self.n_panes)]:
            if old != key:
                del self._panes[old]
        return pane

    @staticmethod
    def _hand_over(pane):
        ticket, pane.waiting = pane.waiting, None
        # It reserves the place until it continues, so that no other can take it.
        pane.running = ticket
        if ticket is not None and not ticket.turn.done():
            ticket.turn.set_result(None)
        elif ticket is not None:
            pane.running = None


class Api:
    """Request handlers: a dict becomes JSON, bytes an array, a File a download.

    Questions about a graph that is computed are answered by the page itself, from
    arrays.

    Parameters
    ----------
    run : Run
        The samples and views.

    graphs : Graphs
        Computes and keeps the graphs.

    Attributes
    ----------
    gets, posts : dict
        Name -> coroutine function of the values of a request. A GET reads data; a POST
        computes something, and cancels what its pane requested before.
    """

    def __init__(self, run: Run, graphs: Graphs):
        self.run, self.graphs = run, graphs
        self._newest = NewestOnly(n_panes=_MOST_PANES)
        self._pictures: OrderedDict[tuple, Picture] = OrderedDict()
        self.gets: dict[str, Answer] = {
            "run": self.describe_run,
            "column": self.column,
            "members": self.members,
            "images": self.images,
            "page.html": self.page,
        }
        self.posts: dict[str, Answer] = {
            "graph": self.graph,
            "purities": self.purities,
        }

    async def describe_run(self, values: object) -> dict:
        """Describe the run: its samples, models, views and parameters."""
        Fields(values, [])
        return describe_run(self.run, self.graphs)

    async def column(self, values: object) -> bytes:
        """Return a column: an array with one number per sample."""
        fields = Fields(values, ["name", "view"])
        own = [f"column {k}" for k in range(len(self.run.columns))]
        name = fields.choice("name", [*COLUMNS, *own])
        if name == "y" or name in own:
            return column_as_bytes(self.run, name)
        view = fields.integer("view", 0, len(self.run.views) - 1)
        if name == "regions" and self.run.views[view].regions is None:
            raise GoneError("this view has no regions")
        return column_as_bytes(self.run, name, view)

    async def members(self, values: object) -> bytes:
        """Return the samples of every node of a graph."""
        graph = self.graphs.find(Fields(values, ["graph"]).text("graph", 64))
        if graph is None:
            raise GoneError("the graph was forgotten; ask for it anew")
        return members_as_bytes(graph)

    async def images(self, values: object) -> bytes:
        """Return images as bytes, one after the other."""
        fields = Fields(values, ["view", "ids"])
        if self.run.images is None:
            raise GoneError("this run has no images")
        images = self.run.images
        if not fields.is_text("view", "clean"):
            view = self.run.views[fields.integer("view", 0, len(self.run.views) - 1)]
            images = images if view.images is None else view.images
        ids = fields.integers("ids", self.run.n_samples, _MOST_IMAGES)
        return images[np.array(ids, dtype=np.int64)].tobytes()

    async def page(self, values: object) -> File:
        """Return the run at some parameters as one page that needs no server."""
        if isinstance(values, dict):
            values = {name: _as_json(value) for name, value in values.items()}
        parameters = self._parameters(Fields(values, _PARAMETERS), view=0)
        text = await in_thread(page_as_html, self.run, self.graphs, parameters)
        return File("robustkit.html", "text/html; charset=utf-8", text)

    async def graph(self, values: object) -> dict:
        """Compute a graph and its layout."""
        known = ["tab", "pane", "seq", "x", "y", "view", "beside", *_PARAMETERS]
        fields = Fields(values, known)
        tab, seq = self._order(fields)
        places = None
        if "x" in fields or "y" in fields:
            places = fields.numbers("x", _FARTHEST), fields.numbers("y", _FARTHEST)
        side = fields.choice("pane", ["left", "right"])
        pane, other = (tab, side), (tab, "left" if side == "right" else "right")
        beside = fields.text("beside", 64) if "beside" in fields else None
        view = fields.integer("view", 0, len(self.run.views) - 1)
        parameters = self._parameters(fields, view)

        def compute(cancelled):
            start = time.perf_counter()
            graph = self.graphs.compute(parameters, cancelled, soon=True)
            shown = self._pictures.get(other)
            # The other pane may have moved on; then the page asks once more.
            if shown is not None and shown.graph.parameters.key == beside:
                picture = picture_beside(graph, shown)
            else:
                picture = next_picture(graph, self._pictures.get(pane), places)
            return picture, time.perf_counter() - start

        picture, seconds = await self._newest.run(pane, seq, compute)
        self.graphs.look_ahead(parameters)
        self._pictures[pane] = picture
        self._pictures.move_to_end(pane)
        while len(self._pictures) > _MOST_PANES:
            self._pictures.popitem(last=False)
        return describe_graph(self.run, picture, seconds)

    async def purities(self, values: object) -> dict:
        """Compute the weighted purity of the graphs of some views."""
        fields = Fields(values, ["tab", "seq", "views", *_PARAMETERS])
        tab, seq = self._order(fields)
        views = fields.integers("views", len(self.run.views), len(self.run.views))
        parameters = self._parameters(fields, view=0)

        def compute(cancelled):
            return [
                self.graphs.mean_purity(replace(parameters, view=view), cancelled)
                for view in views
            ]

        purities = await self._newest.run((tab, "purities"), seq, compute)
        return {"purities": purities}

    @staticmethod
    def _order(fields: Fields) -> tuple[str, int]:
        return fields.text("tab", 64), fields.integer("seq", 0, _LARGEST_SEQ)

    def _parameters(self, fields: Fields, view: int) -> GraphParameters:
        eps: float | str = "auto"
        if not fields.is_text("eps", "auto"):
            eps = fields.number("eps", *_EPS)
        second: dict[str, Any] = {}
        if "second_filter" in fields:
            names = [NO_FILTER, *self.graphs.filters]
            second["second_filter"] = fields.choice("second_filter", names)
        if second.get("second_filter", NO_FILTER) != NO_FILTER:
            second["second_intervals"] = fields.integer(
                "second_intervals", *LIMITS["second_intervals"]
            )
        return GraphParameters(
            view=view,
            filter=fields.choice("filter", self.graphs.filters),
            cover=fields.choice("cover", self.graphs.covers),
            n_intervals=fields.integer("n_intervals", *LIMITS["n_intervals"]),
            overlap=fields.number("overlap", *LIMITS["overlap"]),
            eps=eps,
            min_samples=fields.integer("min_samples", *LIMITS["min_samples"]),
            **second,
        )


def _as_json(text):
    """Parse a value of a query string as JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
