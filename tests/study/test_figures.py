"""Pictures hold the data, say it in words, follow the page and leave pyplot alone."""

import re
from base64 import b64decode
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from robustkit.study import _figures
from robustkit.study._figures import boxes, data_uri, heat_map, histogram, scatter

VALUES = pd.Series([1.0, 2.5, 3.0, 4.0, 5.5, 6.0, 7.0, 8.0, 9.0, 10.0, np.nan])
PAIRS = pd.DataFrame(
    {
        "property": ["a", "a", "b$^", "b$^"],
        "measure": ["x", "y", "x", "y"],
        "coefficient": [0.5, -0.25, np.nan, 0.75],
        "p_adjusted": [0.01, 0.5, np.nan, 0.02],
    }
)
PICTURES = {
    "histogram": lambda: histogram(VALUES, "size"),
    "bars": lambda: histogram(VALUES.round(-1), "size"),
    "names": lambda: histogram(pd.Series(["ring", "ring", "<tree>"]), "generator"),
    "boxes": lambda: boxes({"one": VALUES, "two": VALUES + 1}, "error $x$"),
    "scatter": lambda: scatter(VALUES, VALUES[::-1], "size_x", "<b>"),
    "heat map": lambda: heat_map(PAIRS, 0.05, "spearman", str.upper),
}


@pytest.fixture(params=PICTURES)
def picture(request):
    return PICTURES[request.param]()


def texts(svg):
    return ["".join(e.itertext()) for e in ElementTree.fromstring(svg).iter() if e.text]


def test_is_well_formed_and_loads_nothing(picture):
    svg, alt = picture
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "<script" not in svg
    assert alt.endswith(".")


def test_has_no_ink_that_a_dark_page_would_swallow(picture):
    svg, _ = picture
    body = svg[svg.index("</style>") :]
    assert "var(--c0)" in body
    assert not set(re.findall("#[0-9a-f]{6}", body)) & set(_figures._COLORS)
    assert "prefers-color-scheme: dark" in svg[: svg.index("</style>")]


def test_same_data_same_picture():
    for make in PICTURES.values():
        assert make() == make()


def test_leaves_pyplot_alone(pyplot):
    for make in PICTURES.values():
        make()
    assert pyplot.get_fignums() == []


def test_words_for_those_who_do_not_see():
    assert PICTURES["histogram"]()[1] == (
        "Histogram of size: 10 values from 1.00 to 10.00, median 5.75."
    )
    assert PICTURES["bars"]()[1] == "Bar chart of size. Counts: 0 4; 10 6."
    assert PICTURES["names"]()[1].endswith("Counts: ring 2; <tree> 1.")
    assert PICTURES["boxes"]()[1].endswith("Medians: one 5.75; two 6.75.")
    assert PICTURES["heat map"]()[1].startswith(
        "Heat map of 2 properties by 2 measures of robustness; 2 of 4 cells have a "
    )
    x = pd.Series([1.0, 2.0, np.nan, 3.0])
    y = pd.Series([1.0, 2.0, 3.0, np.nan])
    assert scatter(x, y, "x", "y")[1] == (
        "Scatter plot of 2 points: y, from 1.00 to 2.00, against x, from 1.00 to 2.00."
    )


def test_text_stays_text_also_where_it_looks_like_mathematics():
    assert "error $x$" in texts(PICTURES["boxes"]()[0])
    assert "B$^" in texts(PICTURES["heat map"]()[0])
    assert "<tree>" in texts(PICTURES["names"]()[0])


def test_groups_without_values_are_left_out():
    _, alt = boxes({"one": VALUES, "none": VALUES * np.nan}, "error")
    assert "none" not in alt


def test_points_are_as_many_as_models_that_have_both():
    svg, _ = scatter(VALUES, VALUES.shift(1), "x", "y")
    collection = svg[svg.index("PathCollection") :]
    collection = collection[: collection.index('<g id="matplotlib')]
    assert collection.count("<use") == 9


def test_address_holds_the_picture():
    uri = data_uri("<svg>ρ</svg>")
    start = "data:image/svg+xml;base64,"
    assert uri.startswith(start)
    assert b64decode(uri.removeprefix(start)).decode() == "<svg>ρ</svg>"
