"""A run, a server that shows it, and a browser that opens it, as a person would."""

import re
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

from robustkit.explorer import View, explore, load_run, save_run
from robustkit.topology import MapperGraph
from tests.explorer.browser.seen import Seen
from tests.processes import PATIENCE

LEVELS = (0.0, 0.1, 0.3)
MARKUP = "<b>nine</b>"
TITLE = "Digits <i>seen</i> twice"
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight"]
CLASS_NAMES = [*DIGITS, MARKUP]
EPS = 1.0


def _save_digits(path, n_samples=480):
    """Digits as two models see them at three levels; the first suffers more."""
    X, y = load_digits(return_X_y=True)
    X, y = (X / 16)[:n_samples], y[:n_samples]
    rng = np.random.RandomState(0)

    def view(model, level, suffers, projection):
        moved = np.clip(X + level * rng.choice([-1, 1], size=X.shape), 0, 1)
        is_wrong = rng.rand(n_samples) < 0.03 + suffers * level
        return View(
            model,
            level,
            X @ projection + suffers * level * rng.normal(size=(n_samples, 4)),
            np.where(is_wrong, (y + 1 + rng.randint(2, size=n_samples)) % 10, y),
            np.round(0.5 + rng.rand(n_samples) / 2, 2),
            X=None if level == 0 else moved,
            regions=rng.randint(40, size=n_samples),
        )

    views = [
        view(model, level, suffers, projection)
        for model, suffers in (("M_clean", 2.0), ("M_adv", 0.7))
        for projection in [rng.normal(size=(64, 4))]
        for level in LEVELS
    ]
    save_run(
        path,
        X=X,
        y=y,
        views=views,
        image_shape=(8, 8),
        class_names=CLASS_NAMES,
        title=TITLE,
    )


@pytest.fixture(scope="package")
def run_folder(tmp_path_factory):
    """The folder of a run: M_clean and M_adv at three levels."""
    path = tmp_path_factory.mktemp("browser") / "run"
    _save_digits(path)
    return path


@pytest.fixture(scope="package")
def run(run_folder):
    """What the page is to show; views 0 to 2 are M_clean's, 3 to 5 are M_adv's."""
    return load_run(run_folder)


@pytest.fixture(scope="package")
def mapper():
    """The parameters that the page begins with."""
    return MapperGraph(n_intervals=10, overlap=0.3, eps=EPS, min_samples=3)


@pytest.fixture(scope="package")
def graph_of(run, mapper):
    """Compute a graph without the explorer, to compare with what its page says."""

    def computed(view=0, **changes):
        return clone(mapper).set_params(**changes).fit(run.views[view].activations)

    return computed


@pytest.fixture(scope="package")
def explorer(run_folder, mapper):
    """The page, served."""
    explorer = explore(run_folder, mapper=mapper, open_browser=False, block=False)
    yield explorer
    explorer.close()


@pytest.fixture(scope="package")
def browser():
    """Chromium, as Debian packages it.

    It ends with this package: while Playwright runs, no other test can run asyncio.
    """
    api = pytest.importorskip(
        "playwright.sync_api", reason="the browser tests need playwright"
    )
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the browser tests need the program 'chromium'")
    # Only a test that fails waits for so long.
    api.expect.set_options(timeout=1000 * PATIENCE)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu"],
            timeout=1000 * PATIENCE,
        )
        yield browser
        browser.close()


@dataclass
class Watch:
    """What the pages of a test asked for and complained about."""

    home: str
    requests: list = field(default_factory=list)
    complaints: list = field(default_factory=list)
    expected: list = field(default_factory=list)

    @contextmanager
    def following(self, context):
        """Listen to every page of a browser context, also to those not yet open."""
        listeners = {
            "request": lambda request: self.requests.append(request),
            "console": self._hear,
            "weberror": lambda error: self.complaints.append(str(error.error)),
        }
        for event, listener in listeners.items():
            context.on(event, listener)
        yield
        for event, listener in listeners.items():
            context.remove_listener(event, listener)

    def _hear(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def expect(self, pattern):
        """Let a complaint pass that a test provokes."""
        self.expected.append(pattern)

    def asked(self, route):
        """Requests made so far to a route of the server."""
        return [r for r in self.requests if f"/api/{route}" in r.url]

    def check(self):
        """Fail for what no test may cause."""
        local = (self.home, "data:", "blob:")
        assert [r.url for r in self.requests if not r.url.startswith(local)] == []
        assert [
            text
            for text in self.complaints
            if not any(re.search(pattern, text) for pattern in self.expected)
        ] == []


@pytest.fixture
def watch(explorer):
    """Fails the test if a page complains, or asks anyone but the server."""
    watch = Watch(explorer.url)
    yield watch
    watch.check()


def context_of(browser, **options):
    """Make a fresh browser, which shares nothing with others."""
    defaults = {"viewport": {"width": 1300, "height": 900}, "reduced_motion": "reduce"}
    context = browser.new_context(**defaults | options)
    context.set_default_timeout(1000 * PATIENCE)
    # The policy's breaches are told here, whatever the browser writes.
    context.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => "
        "console.error('policy breached: ' + event.violatedDirective))"
    )
    return context


@pytest.fixture
def new_context(browser, watch):
    """Make fresh browsers, of some size and taste."""
    with ExitStack() as stack:

        def make(**options):
            context = stack.enter_context(context_of(browser, **options))
            stack.enter_context(watch.following(context))
            return context

        yield make


@pytest.fixture
def open_page(new_context, explorer):
    """Open the explorer in a browser of its own."""

    def opened(fragment="", **options):
        page = new_context(**options).new_page()
        page.goto(explorer.url + fragment)
        view = Seen(page)
        view.settled()
        return view

    return opened


@pytest.fixture(scope="package")
def kept_page(browser):
    """A browser window that many tests use one after the other."""
    with context_of(browser) as context:
        yield context.new_page()


@pytest.fixture
def seen(kept_page, watch, explorer):
    """The explorer, opened anew: nothing of the tests before is left."""
    page = kept_page
    with watch.following(page.context):
        page.goto(explorer.url)
        view = Seen(page)
        view.settled()
        yield view
    page.unroute_all()
    page.evaluate("() => localStorage.clear()")
    # An address that differs in its fragment alone would not be opened anew.
    page.goto("about:blank")
    page.mouse.move(0, 0)
