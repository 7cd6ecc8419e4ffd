"""A clock that only work moves."""


class Clock:
    """Tells the time; `work` makes a function that takes some of it."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def __call__(self):
        return self.now

    def work(self, seconds, returned=None):
        def do():
            self.calls.append(seconds)
            self.now += seconds
            return returned

        return do
