"""Of the computations that one pane asks for, only the newest matters."""

import asyncio
import threading
from collections import OrderedDict

__all__ = ["SupersededError", "NewestOnly", "in_thread"]


class SupersededError(Exception):
    """What was asked for is not wanted any more."""

    def __init__(self):
        super().__init__("something newer was asked for")


async def in_thread(function, *args):
    """Run a function in a thread that does not keep the process from ending.

    Parameters
    ----------
    function : callable
        What to run.

    *args : object
        Its arguments.

    Returns
    -------
    result : object
        What it returns.
    """
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def finish(setter, value):
        # The server may have stopped meanwhile, and then nobody waits.
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
    def __init__(self):
        self.cancelled = threading.Event()
        # Set while it waits: resolved when its turn comes, or when it is cancelled.
        self.turn = None

    def cancel(self):
        self.cancelled.set()
        if self.turn is not None and not self.turn.done():
            self.turn.set_exception(SupersededError())


class _Pane:
    def __init__(self):
        self.seq = -1
        self.running = None
        self.waiting = None


class NewestOnly:
    """Run one computation for each pane at a time, and let one wait: the newest.

    A newer one cancels those before it. One that waits is answered at once; one that
    runs sees its flag at its next step.

    Parameters
    ----------
    n_at_once : int, default=2
        Computations of all panes that run at the same time.

    n_panes : int, default=64
        Panes remembered.
    """

    def __init__(self, n_at_once=2, n_panes=64):
        self.n_panes = n_panes
        self._panes = OrderedDict()
        self._slots = asyncio.Semaphore(n_at_once)

    async def run(self, key, seq, function):
        """Compute something for a pane, unless something newer is asked for.

        Parameters
        ----------
        key : hashable
            The pane.

        seq : int
            Larger is newer.

        function : callable
            Takes the flag, an Event, and raises SupersededError soon after it is set.

        Returns
        -------
        result : object
            What `function` returns.
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
        # It holds the place until it goes on, so that nobody comes between.
        pane.running = ticket
        if ticket is not None and not ticket.turn.done():
            ticket.turn.set_result(None)
        elif ticket is not None:
            pane.running = None
