"""What a frame of the explorer's page costs while a large graph moves.

``python -m benchmarks.explorer_frames`` opens the page in Chromium with Playwright, and
drags, zooms and pans 2,000 nodes. What counts is the processor's time for the page's
thread, which draws here too: other programs on the machine do not count.
"""

import argparse
import shutil
from importlib.util import find_spec

import numpy as np

from robustkit.explorer import View
from robustkit.explorer._run import make_run

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


def show(n_samples, n_frames, chromium):
    """Serve the page, open it, and move it."""
    from playwright.sync_api import sync_playwright

    from robustkit.explorer._explore import Explorer
    from robustkit.explorer._graphs import Graphs
    from robustkit.topology import MapperGraph

    eps = 6000 / n_samples
    mapper = MapperGraph(0, n_intervals=200, overlap=0.3, eps=eps, min_samples=3)
    run = crowded_run(n_samples)
    explorer = Explorer(run, Graphs(run, mapper))
    explorer.start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            for ratio in (1, 2):
                page = browser.new_page(
                    device_scale_factor=ratio, viewport={"width": 1300, "height": 900}
                )
                page.goto(explorer.url)
                status = page.get_by_test_id("status-left").filter(has_text="edges")
                status.wait_for()
                print(f"{ratio} pixels a point, {status.inner_text()}:")
                measure(page, n_frames)
            browser.close()
    finally:
        explorer.close()


def main():
    """Measure, where there is a browser."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.explorer_frames", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--n-samples", type=int, default=60_000)
    parser.add_argument("--n-frames", type=int, default=40)
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None or find_spec("playwright") is None:
        print("Left out: it needs the program chromium and the package playwright.")
        return
    show(arguments.n_samples, arguments.n_frames, chromium)


if __name__ == "__main__":
    main()
