"""What the explorer's page costs in a browser.

``python -m benchmarks.explorer_page`` opens it in Chromium with Playwright, without
graphics hardware, for 60,000 points:

- *first graph*: seconds from opening the page to the graph, of a stored run and of one
  that is not stored, each in a new tab and in a new browser;
- *frames*: drags, zooms and pans 2,000 nodes. What counts is the processor's time for
  the page's thread, which draws here too: other programs on the machine do not count.
"""

import argparse
import shutil
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.bench_explorer import run_of
from robustkit.explorer import View, load_run, save_run
from robustkit.explorer._explore import Explorer
from robustkit.explorer._graphs import Graphs
from robustkit.explorer._run import make_run
from robustkit.topology import MapperGraph

# Every frame the pointer moves once, as a hand moves it at 60 frames a second.
GESTURE = """async ([kind, x, y, nFrames]) => {
    const canvas = document.querySelector('[data-testid="canvas-left"]');
    const fire = (Type, name, more) => canvas.dispatchEvent(new Type(name, {
        clientX: x, clientY: y, pointerId: 1, pointerType: "mouse",
        bubbles: true, cancelable: true, ...more,
    }));
    if (kind !== "zoom") fire(PointerEvent, "pointerdown", { button: 0 });
    for (let k = 1; k <= nFrames; k += 1) {
        const way = 30 * (1 - Math.cos((2 * Math.PI * k) / nFrames));
        const deltaY = k % 20 < 10 ? -9 : 9;
        if (kind === "zoom") fire(WheelEvent, "wheel", { deltaY });
        else fire(PointerEvent, "pointermove", { clientX: x + way, clientY: y + way });
        await new Promise(requestAnimationFrame);
    }
    if (kind !== "zoom") fire(PointerEvent, "pointerup", { button: 0 });
}"""


def gesture(page, kind, place, n_frames):
    """Make a gesture that takes so many frames; return how many were drawn."""
    frames = page.get_by_test_id("canvas-left")
    before = int(frames.get_attribute("data-frames"))
    page.evaluate(GESTURE, [kind, *place, n_frames])
    return int(frames.get_attribute("data-frames")) - before


def crowded_run(n_samples):
    """Ten strands that cross all intervals: 200 intervals give 2,000 nodes."""
    rng = np.random.RandomState(0)
    along = np.tile(np.linspace(0, 100, n_samples // 10), 10)
    strand = np.repeat(np.arange(10), n_samples // 10)
    X = np.column_stack([along, 10 * strand])
    y = np.where(rng.rand(n_samples) < 0.35, rng.randint(10, size=n_samples), strand)
    predicted = np.where(rng.rand(n_samples) < 0.1, (y + 1) % 10, y)
    return make_run(y=y, views=[View("M", 0.0, X, predicted, rng.rand(n_samples))])


def measure(page, n_frames):
    """Print what a frame of each gesture costs."""
    canvas = page.get_by_test_id("canvas-left")
    box = canvas.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    places = {
        "drag": _place_of_a_node(page, box),
        "zoom": middle,
        "pan": (box["x"] + 2, box["y"] + 2),
    }
    session = page.context.new_cdp_session(page)
    session.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})
    session.send("Performance.enable")
    for kind, place in places.items():
        before = _busy(session)
        n_drawn = gesture(page, kind, place, n_frames)
        print(f"  {kind}: {(_busy(session) - before) / max(1, n_drawn):.1f} ms a frame")


def _place_of_a_node(page, box):
    """Where the pointer finds a node."""
    hint = page.get_by_test_id("hint-left")
    y = box["y"] + box["height"] / 2
    for x in np.arange(box["x"], box["x"] + box["width"], 2).tolist():
        page.mouse.move(x, y)
        if hint.is_visible():
            return x, y
    raise RuntimeError("the pointer finds no node")


def _busy(session):
    """Milliseconds that the processor has worked for the page's thread."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return 1000 * next(m["value"] for m in metrics if m["name"] == "TaskDuration")


def first_graphs(launch, n_samples, n_times, folder):
    """Print how long the first graph takes from opening the page."""
    run = run_of(n_samples)
    for name, given in (
        ("a run", run),
        ("a stored run", load_run(save_run(folder / "run", run))),
    ):
        seconds = {
            kind: [_first_graph(launch, given, kind) for _ in range(n_times)]
            for kind in ("a new tab", "a new browser")
        }
        for kind, values in seconds.items():
            low, middle, high = np.quantile(values, [0, 0.5, 1])
            print(
                f"  {name}, {kind}: {low:.2f} to {high:.2f} s, median {middle:.2f}, "
                f"of {n_times}"
            )


def _first_graph(launch, run, kind):
    browser = launch()
    if kind == "a new tab":
        browser.new_page().goto("about:blank")
    # As `explore` does: what can be computed ahead begins here, and the browser opens.
    explorer = Explorer(run, Graphs(run))
    explorer.start()
    try:
        if kind == "a new browser":
            browser.close()
            browser = launch()
        page = browser.new_page()
        start = time.perf_counter()
        page.goto(explorer.url)
        page.get_by_test_id("status-left").filter(has_text="edges").wait_for()
        return time.perf_counter() - start
    finally:
        explorer.close()
        browser.close()


def frames(launch, n_samples, n_frames):
    """Serve a large graph, open its page, and move it."""
    eps = 6000 / n_samples
    mapper = MapperGraph(0, n_intervals=200, overlap=0.3, eps=eps, min_samples=3)
    run = crowded_run(n_samples)
    explorer = Explorer(run, Graphs(run, mapper))
    explorer.start()
    browser = launch()
    try:
        for ratio in (1, 2):
            page = browser.new_page(
                device_scale_factor=ratio, viewport={"width": 1300, "height": 900}
            )
            page.goto(explorer.url)
            status = page.get_by_test_id("status-left").filter(has_text="edges")
            status.wait_for()
            print(f"{ratio} pixels a point, {status.inner_text()}:")
            measure(page, n_frames)
    finally:
        browser.close()
        explorer.close()


def main():
    """Measure, where there is a browser."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.explorer_page", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--n-samples", type=int, default=60_000)
    parser.add_argument("--n-times", type=int, default=5)
    parser.add_argument("--n-frames", type=int, default=40)
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None or find_spec("playwright") is None:
        print("Left out: it needs the program chromium and the package playwright.")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, TemporaryDirectory() as folder:
        launch = partial(
            playwright.chromium.launch,
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu"],
        )
        # The first one after installation, and the first search, take longer.
        _first_graph(launch, run_of(10_000), "a new browser")
        print(f"First graph of {arguments.n_samples:,} points of 10 coordinates")
        first_graphs(launch, arguments.n_samples, arguments.n_times, Path(folder))
        frames(launch, arguments.n_samples, arguments.n_frames)


if __name__ == "__main__":
    main()
