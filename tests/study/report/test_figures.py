"""Pictures hold the data, say it in words, follow the page and leave pyplot alone."""

import re
from base64 import b64decode
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from robustkit.study.report import _figures
from robustkit.study.report._figures import (
    Picture,
    boxes,
    coefficients,
    draw_figures,
    histogram,
    scatter,
)
from robustkit.study.report._findings import gather
from robustkit.study.report._labels import label
from tests.study import populations

VALUES = pd.Series([1.0, 2.5, 3.0, 4.0, 5.5, 6.0, 7.0, 8.0, 9.0, 10.0, np.nan])
PAIRS = pd.DataFrame(
    {
        "property": ["a", "a", "b$^", "b$^"],
        "measure": ["x_error_rate", "y_average_eps"] * 2,
        "coefficient": [0.5, -0.25, np.nan, 0.75],
        "ci_low": [0.4, -0.5, np.nan, np.nan],
        "ci_high": [0.6, 0.1, np.nan, np.nan],
        "p_adjusted": [0.01, 0.5, np.nan, 0.02],
        "p_value": [0.005, 0.25, np.nan, 0.01],
    }
)


def forest(**options):
    """Coefficients of all pairs."""
    held = PAIRS.drop(columns=["ci_low", "ci_high"])
    measures = ["x_error_rate", "y_average_eps"]
    options = {"alpha": 0.05, "method": "spearman"} | options
    return coefficients(PAIRS, held, measures, **options)


PICTURES = {
    "histogram": lambda: histogram(VALUES, "size"),
    "bars": lambda: histogram(VALUES.round(-1), "size"),
    "names": lambda: histogram(pd.Series(["ring", "ring", "<tree>"]), "generator"),
    "boxes": lambda: boxes({"one": VALUES, "two": VALUES + 1}, "error $x$"),
    "scatter": lambda: scatter(VALUES, VALUES[::-1], "size_x", "<b>"),
    "coefficients": forest,
    "narrow coefficients": lambda: forest(is_narrow=True),
}


@pytest.fixture(params=PICTURES)
def picture(request):
    return PICTURES[request.param]()


def texts(svg):
    return ["".join(e.itertext()) for e in ElementTree.fromstring(svg).iter() if e.text]


def test_picture_is_well_formed_and_loads_nothing(picture):
    svg, alt = picture.svg, picture.alt
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "<script" not in svg
    assert alt.endswith(".")


def test_colours_follow_a_dark_page(picture):
    svg = picture.svg
    body = svg[svg.index("</style>") :]
    assert "var(--c0)" in body
    assert not set(re.findall("#[0-9a-f]{6}", body)) & set(_figures._COLORS)
    assert "prefers-color-scheme: dark" in svg[: svg.index("</style>")]


def test_same_data_give_the_same_picture():
    for make in PICTURES.values():
        assert make() == make()


def test_pyplot_is_left_alone(pyplot):
    for make in PICTURES.values():
        make()
    assert pyplot.get_fignums() == []


def test_alternative_texts():
    assert PICTURES["histogram"]().alt == (
        "Histogram of size: 10 values from 1.00 to 10.00, median 5.75."
    )
    assert PICTURES["bars"]().alt == "Bar chart of size. Counts: 0 4; 10 6."
    assert PICTURES["names"]().alt.endswith("Counts: ring 2; <tree> 1.")
    assert PICTURES["boxes"]().alt.endswith("Medians: one 5.75; two 6.75.")
    assert PICTURES["coefficients"]().alt.startswith(
        "Coefficients with intervals of 2 properties with 2 measures of robustness; "
        "2 of 4 are significant."
    )
    x = pd.Series([1.0, 2.0, np.nan, 3.0])
    y = pd.Series([1.0, 2.0, 3.0, np.nan])
    assert scatter(x, y, "x", "y").alt == (
        "Scatter plot of 2 points: y, from 1.00 to 2.00, against x, from 1.00 to 2.00."
    )


def test_names_are_not_read_as_mathematics():
    assert "error $x$" in texts(PICTURES["boxes"]().svg)
    assert "b$^" in texts(PICTURES["coefficients"]().svg)
    assert "<tree>" in texts(PICTURES["names"]().svg)


def test_boxes_leave_out_groups_without_values():
    picture = boxes({"one": VALUES, "none": VALUES * np.nan}, "error")
    assert "none" not in picture.alt


def test_scatter_has_a_point_per_complete_model():
    svg = scatter(VALUES, VALUES.shift(1), "x", "y").svg
    collection = svg[svg.index("PathCollection") :]
    collection = collection[: collection.index('<g id="matplotlib')]
    assert collection.count("<use") == 9


def test_uri_holds_the_picture():
    uri = Picture("<svg>ρ</svg>", "").uri
    start = "data:image/svg+xml;base64,"
    assert uri.startswith(start)
    assert b64decode(uri.removeprefix(start)).decode() == "<svg>ρ</svg>"


def test_panels_say_which_side_is_more_robust():
    assert {"← more robust", "more robust →"} <= set(texts(forest().svg))
    unsigned = texts(forest(method="distance").svg)
    assert not [text for text in unsigned if "more robust" in text]


@pytest.fixture
def figures(monkeypatch):
    """Keep what is drawn as figures."""
    from matplotlib.figure import Figure

    drawn = []

    def keep(draw, size=(3, 2)):
        drawn.append(Figure(figsize=size))
        draw(drawn[-1])
        return "<svg/>"

    monkeypatch.setattr(_figures, "_svg", keep)
    return drawn


@pytest.mark.parametrize("largest", [0.05, 0.96, 1.7])
def test_panels_hold_every_coefficient_and_no_empty_row(figures, largest):
    """Mutual information has no largest value."""
    pairs = PAIRS.assign(coefficient=[largest, 0.0, 0.0, 0.0])
    measures = ["x_error_rate", "y_average_eps"]
    pairs = pairs.assign(ci_low=np.nan, ci_high=np.nan)
    coefficients(pairs, pairs, measures, alpha=0.05, method="mutual_info")
    (figure,) = figures
    for ax in figure.axes:
        assert ax.get_ylim() == (-0.5, 1.5)
        low, high = ax.get_xlim()
        assert low < 0
        assert largest < high < max(largest, 0.2) + 0.2


def test_the_line_at_zero_and_grids_are_below_what_is_shown(figures):
    forest()
    boxes({"one": VALUES, "two": VALUES + 1}, "error")
    marks, compared = figures
    ax = marks.axes[0]
    (zero,) = (line for line in ax.lines if list(line.get_xdata()) == [0, 0])
    others = [mark.get_zorder() for mark in ax.collections]
    assert zero.get_zorder() < min(others)
    assert compared.axes[0].get_axisbelow() is True


def test_every_mark_stands_in_the_row_of_its_property(figures):
    """Above the coefficient, a circle; below, smaller, the one given the controls."""
    pairs = PAIRS.assign(coefficient=[0.5, 0.1, 0.2, 0.4])
    measures = ["x_error_rate", "y_average_eps"]
    coefficients(pairs, pairs, measures, alpha=0.05, method="spearman")
    # All panels share the names of the first.
    names = [tick.get_text() for tick in figures[0].axes[0].get_yticklabels()]
    for ax, measure in zip(figures[0].axes, measures, strict=True):
        of_panel = pairs[pairs["measure"] == measure]
        rows = of_panel["property"].map(label).map(names.index).to_list()
        given, plain = (c for c in ax.collections if isinstance(c, PathCollection))
        for marks, (low, high) in ((given, (-0.5, 0)), (plain, (0, 0.5))):
            x, y = marks.get_offsets().T
            assert x.tolist() == of_panel["coefficient"].to_list()
            assert ((low < y - rows) & (y - rows < high)).all()
        assert given.get_sizes() < plain.get_sizes()


def test_every_second_row_lies_on_a_band(figures):
    pairs = PAIRS.assign(coefficient=[0.1, 0.2, 0.3, 0.4])
    more = pairs.assign(property=["c", "c", "d", "d"])
    pairs = pd.concat([pairs, more], ignore_index=True)
    measures = ["x_error_rate", "y_average_eps"]
    coefficients(pairs, pairs, measures, alpha=0.05, method="spearman")
    for ax in figures[0].axes:
        bands = [(p.get_y(), p.get_y() + p.get_height()) for p in ax.patches]
        assert bands == [(-0.5, 0.5), (1.5, 2.5)]


def test_pictures_are_as_high_as_their_rows_need(figures):
    """Titles, ticks and labels of a panel take little more than an inch."""
    pairs = pd.concat([PAIRS.assign(property=[f"p{k}"] * 4) for k in range(12)])
    pairs = pairs.assign(coefficient=0.5)
    measures = ["x_error_rate", "y_average_eps"]
    kinds = {"alpha": 0.05, "method": "spearman"}
    coefficients(pairs, pairs, measures, **kinds)
    coefficients(pairs, pairs, measures, **kinds, is_narrow=True)
    for figure, n_panels in zip(figures, (1, 2), strict=True):
        height = figure.get_size_inches()[1] / n_panels
        assert 1 < height - 12 * 0.29 < 1.4


def test_many_properties_are_cut_to_the_strongest():
    many = pd.DataFrame(
        {
            "property": [f"property {k:02}" for k in range(30)],
            "measure": "x_error_rate",
            "coefficient": np.linspace(0.1, 0.9, 30),
            "ci_low": 0.0,
            "ci_high": 1.0,
            "p_value": 0.005,
            "p_adjusted": 0.01,
        }
    )
    picture = coefficients(many, many, ["x_error_rate"], alpha=0.05, method="kendall")
    shown = {text for text in texts(picture.svg) if text.startswith("property")}
    assert shown == {f"property {k}" for k in range(18, 30)}


def test_initialisations_are_compared_by_what_differs():
    table = populations.graphs(4).assign(nearest_error_rate=1.0)
    table["nearest_median_distance"] = np.resize([0.1, 0.2], len(table))
    columns = populations.columns_of(table)
    columns["measures"] += ["nearest_error_rate", "nearest_median_distance"]
    evidence = gather(table, columns, None, None)
    said = " ".join(
        picture.alt for picture in draw_figures(evidence, [])["initialisations"]
    )
    assert "nearest error median distance" in said
    assert "FGSM error rate" in said
    assert "nearest error error rate" not in said
