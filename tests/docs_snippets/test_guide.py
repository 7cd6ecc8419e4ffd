"""Every page of the guide says what a newcomer wants to know."""

import re

import pytest

import robustkit
from tests.docs_snippets.pages import all_pages, text_of

# What several rooms do together has a page besides those of the rooms.
NOT_OF_A_ROOM = ("guide/index", "guide/distances")
ROOMS = [p for p in all_pages() if p.startswith("guide/") and p not in NOT_OF_A_ROOM]
SECTIONS = ("What it costs", "The mathematics", "References")
# A loader and a page of the browser have none.
WITHOUT_MATHEMATICS = ("guide/datasets", "guide/explorer")


def missing(page, text):
    """What the guide owes its reader, and a page does not have."""
    headings = re.findall(r"^(.+)\n(?:-{3,}|={3,})$", text, re.M)
    owed = [name for name in SECTIONS if name not in headings]
    if page in WITHOUT_MATHEMATICS:
        owed = [name for name in owed if name != "The mathematics"]
    return owed + ([] if ".. figure::" in text else ["a picture"])


@pytest.mark.parametrize("page", ROOMS)
def test_a_page_of_the_guide_is_complete(page):
    assert not missing(page, text_of(page))


def test_a_page_that_owes_something_is_seen():
    text = text_of("guide/graphs")
    assert missing("guide/graphs", text.replace("What it costs", "Price")) == [
        "What it costs"
    ]
    assert missing("guide/x", "X\n===\n") == [*SECTIONS, "a picture"]


def test_every_room_has_a_page():
    # Displays are shown on the pages of what they draw, bounds beside distances.
    elsewhere = {"plotting", "bounds"}
    pages = {page.removeprefix("guide/") for page in ROOMS}
    assert pages == set(robustkit._ROOMS) - elsewhere
