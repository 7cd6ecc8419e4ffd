"""What a person sees of the explorer and does to it: no more than the page shows."""

import io
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

NODE = re.compile(
    r"Node (?P<id>\d+): (?P<size>[\d,]+) samples?, mostly (?P<name>.*), "
    r"accuracy (?P<accuracy>[\d.]+) %, purity (?P<purity>[\d.]+)"
)


@dataclass(frozen=True)
class Node:
    """A node as the page's list tells of it."""

    id: int
    size: int
    name: str
    accuracy: float
    purity: float

    @classmethod
    def read(cls, text):
        found = NODE.search(text)
        return cls(
            int(found["id"]),
            int(found["size"].replace(",", "")),
            found["name"],
            float(found["accuracy"]) / 100,
            float(found["purity"]),
        )


class Seen:
    """One page of the explorer.

    Parameters
    ----------
    page : Page
        Playwright's.

    frame : FrameLocator, default=None
        Where in the page the explorer is, if it is not the whole.
    """

    def __init__(self, page, frame=None):
        from playwright.sync_api import expect

        self.page = page
        self.inside = page if frame is None else frame
        self.expect = lambda locator: expect(locator)

    def __call__(self, testid):
        return self.inside.get_by_test_id(testid)

    def settled(self, side="left"):
        """Wait until a pane shows the graph of its settings."""
        self.expect(self(f"status-{side}")).to_have_text(
            re.compile(r"^[\d,]+ nodes?, [\d,]+ edges?, ")
        )

    def shape(self, side="left"):
        """Nodes and edges that the status tells of."""
        text = self(f"status-{side}").inner_text()
        return tuple(
            int(n.replace(",", "")) for n in re.findall(r"([\d,]+) [ne]", text)
        )

    def expect_shape(self, shape, side="left"):
        """Wait until the status tells of so many nodes and edges."""
        nodes, edges = shape
        pattern = rf"^{nodes:,} nodes?, {edges:,} edges?, \d"
        self.expect(self(f"status-{side}")).to_have_text(re.compile(pattern))

    def nodes(self, side="left"):
        """All nodes of a pane, as its list tells of them, the largest first."""
        texts = self(f"nodes-{side}").get_by_role("option").all_inner_texts()
        return [Node.read(text) for text in texts]

    def selected(self, side="left"):
        """Nodes that the list says are selected."""
        chosen = self(f"nodes-{side}").get_by_role("option", selected=True)
        return [Node.read(text) for text in chosen.all_inner_texts()]

    def set_slider(self, testid, value):
        """Move a slider as a hand does: the page is told of the value on the way."""
        self(testid).fill(str(value))

    def active(self, side="left"):
        """The node that the keyboard is at."""
        option = self(f"nodes-{side}").get_attribute("aria-activedescendant")
        return Node.read(self.inside.locator(f"#{option}").inner_text())

    def go(self, *keys, side="left"):
        """Press keys in the graph, and return the node that they lead to."""
        self(f"nodes-{side}").focus()
        for key in keys:
            self.page.keyboard.press(key)
        return self.active(side)

    def place(self, *keys, side="left"):
        """Where on the screen the node lies that some keys lead to.

        The node's hint lies beside it, or where there is room; the pointer makes sure.
        """
        node = self.go(*keys, side=side)
        hint = self(f"hint-{side}")
        self.expect(hint).to_contain_text(f"Node {node.id}:")
        box, around = hint.bounding_box(), self(f"canvas-{side}").bounding_box()
        heights = (box["y"] - 16, box["y"] + box["height"] + 10)
        room = around["x"] + 9 < box["x"]
        room = room and box["x"] + box["width"] + 9 < around["x"] + around["width"]
        for y in heights if room else ():
            if self.points_at(node, box["x"] - 14, y, side):
                return box["x"] - 14, y
        # The hint was moved to stay within the canvas: the node is nearer to the edge.
        ends = around["x"] + 6, around["x"] + around["width"]
        if box["x"] - around["x"] > 9:
            ends = box["x"] - 14, ends[1]
        # The smallest node is 14 wide for the pointer.
        across = np.arange(*ends, 12)
        for y in heights:
            for x in across:
                if self.points_at(node, x, y, side):
                    return self._middle(node, x, y, side)
        raise AssertionError(f"the pointer does not find node {node.id}")

    def points_at(self, node, x, y, side="left"):
        """Whether the pointer finds a node at a place."""
        self.page.mouse.move(float(x), float(y))
        return self.pointed_at(side) == node.id

    def _middle(self, node, x, y, side):
        """The middle of a node, of which some point is known."""
        for dx, dy in ((3, 0), (0, 3)):
            reach = [0, 0]
            for k, sign in enumerate((-1, 1)):
                while self.points_at(
                    node,
                    x + sign * (reach[k] + 1) * dx,
                    y + sign * (reach[k] + 1) * dy,
                    side,
                ):
                    reach[k] += 1
            x += dx * (reach[1] - reach[0]) / 2
            y += dy * (reach[1] - reach[0]) / 2
        return float(x), float(y)

    def pointed_at(self, side="left"):
        """The id of the node whose hint is shown."""
        hint = self(f"hint-{side}")
        text = hint.evaluate("(hint) => (hint.hidden ? '' : hint.textContent)")
        return Node.read(text).id if text else None

    def colours_at(self, places):
        """The colours of some points of the screen."""
        shot = self.page.screenshot(animations="disabled")
        image = Image.open(io.BytesIO(shot)).convert("RGB")
        return [image.getpixel((round(x), round(y))) for x, y in places]

    def colour_at(self, x, y):
        """The colour of a point of the screen."""
        return self.colours_at([(x, y)])[0]

    def corner(self, side="left"):
        """The upper left corner of a canvas, where no node lies."""
        box = self(f"canvas-{side}").bounding_box()
        return box["x"] + 2, box["y"] + 2

    def select_all(self, side="left"):
        """Draw a box around all nodes."""
        box, (x, y) = self(f"canvas-{side}").bounding_box(), self.corner(side)
        self.page.keyboard.down("Shift")
        self.drag((x, y), (x + box["width"] - 60, y + box["height"] - 4))
        self.page.keyboard.up("Shift")

    def drag(self, start, end):
        """Press the pointer at a place, and release it at another."""
        mouse = self.page.mouse
        mouse.move(*start)
        mouse.down()
        mouse.move(*((a + b) / 2 for a, b in zip(start, end, strict=True)))
        mouse.move(*end)
        mouse.up()

    def cards(self):
        """The texts of the images that are shown, each as words."""
        return [" ".join(text.split()) for text in self("image-card").all_inner_texts()]

    def download(self, testid):
        """Choose an item of the menu, and return the path of the file that comes."""
        self("export-menu").locator("summary").click()
        with self.page.expect_download() as waiting:
            self(testid).click()
        return waiting.value.path()

    def canvas_pixels(self, side="left"):
        """The pixels of a pane's graph as they are on the screen."""
        box = self(f"canvas-{side}").bounding_box()
        shot = self.page.screenshot(clip=box, animations="disabled")
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def colours_of(pixels):
    """How often each colour occurs."""
    red, green, blue = np.moveaxis(pixels.astype(int), -1, 0)
    values, counts = np.unique(red << 16 | green << 8 | blue, return_counts=True)
    colours = zip(values >> 16, values >> 8 & 255, values & 255, strict=True)
    return {
        tuple(map(int, colour)): int(n)
        for colour, n in zip(colours, counts, strict=True)
    }
