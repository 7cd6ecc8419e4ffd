"""The page of a study: complete for any table, escaped, and self-contained."""

import builtins
import re
from base64 import b64decode
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from robustkit.study.report import _figures, write_report
from tests.study import populations

SETTINGS = {
    "n_models": 240,
    "command": "robustkit study --seed 0",
    "attacks": {
        "fgsm": [{"robustkit.FGSMAttack": {"eps": 0.1, "clip": None}}, None],
        "pgd": [
            {"robustkit.PGDAttack": {"norm": "l2", "eps": 0.5, "max_iter": 10}},
            None,
        ],
        "one_pixel": [{"robustkit.OnePixelAttack": {}}, 100],
    },
}


class Page(HTMLParser):
    """What a reader, or a machine that reads aloud, finds on a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.tables, self._texts = [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        self.text = " ".join(" ".join(self._texts).split())

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))
        if name not in ("img", "meta", "source"):
            self.open.append(name)
        if name == "table":
            self.tables.append([])
        elif name == "tr":
            self.tables[-1].append([])
        elif name in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if "style" in self.open:
            return
        self._texts.append(data)
        if {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]

    def row(self, *start):
        (row,) = [r for t in self.tables for r in t if tuple(r[: len(start)]) == start]
        return row


def report(path, table, correlator="fit", columns=None, settings=SETTINGS):
    if correlator == "fit":
        correlator = populations.correlate(table)
    columns = populations.columns_of(table) if columns is None else columns
    write_report(table, columns, correlator, path, settings=settings)
    return Page(path)


@pytest.fixture
def unsaved_pictures(monkeypatch):
    """Draw, but do not write what was drawn: that takes most of the time."""

    def draw(draw, size=(3, 2)):
        from matplotlib.figure import Figure

        draw(Figure(figsize=size, layout="constrained"))
        return "<svg/>"

    monkeypatch.setattr(_figures, "_svg", draw)


@pytest.fixture(scope="module")
def table():
    return populations.with_failures(populations.graphs())


# One column of each kind is enough where it does not matter which: fewer pictures.
SLIM = [
    "average_eccentricity",
    "average_closeness",
    "directed_path_length",
    "directed_betweenness",
    "diameter",
    "fgsm_average_confidence",
    "pgd_median_logit_margin",
    "growing_average_eps",
    "one_pixel_average_confidence",
]


@pytest.fixture(scope="module")
def slim():
    return populations.graphs(8).drop(columns=SLIM)


@pytest.fixture(scope="module")
def slim_correlator(slim):
    return populations.correlate(slim)


@pytest.fixture(scope="module")
def page(table, tmp_path_factory):
    return report(tmp_path_factory.mktemp("report") / "report.html", table)


def pictures(page):
    for image in [*page.all("img"), *page.all("source")]:
        start = "data:image/svg+xml;base64,"
        address = image.get("src") or image["srcset"]
        assert address.startswith(start)
        yield b64decode(address.removeprefix(start)).decode()


def test_page_needs_no_network_and_no_script(page):
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "base", "form"}
    for _, attributes in page.tags:
        assert not any(key.startswith("on") for key in attributes)
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import", page.source)
    for svg in pictures(page):
        assert not re.search(r"href=\"(?!#|data:)", svg)
        ElementTree.fromstring(svg)


def test_page_can_be_read_aloud(page):
    assert page.open == []
    assert all(len(image["alt"]) > 20 for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all("scope" in th for th in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in page.all("a")} == {f"#{name}" for name in ids}
    assert page.all("html")[0]["lang"] == "en"


def test_page_has_a_dark_a_phone_and_a_print_form(page):
    assert "prefers-color-scheme: dark" in page.source
    assert "@media print" in page.source
    assert page.all("meta")[1]["content"].startswith("width=device-width")


def test_picture_comes_first_then_findings_then_tables(page):
    order = ("Findings</h2", "<picture>", "<ol>", "Coefficients</h2", "<table")
    places = [page.source.index(text) for text in order]
    assert places == sorted(places)
    # At most five findings before anything is unfolded.
    first = page.source[page.source.index("<ol>") :].partition("</ol>")[0]
    assert 1 <= first.count("<li>") <= 5
    assert page.all("source")[0]["media"] == "(max-width: 40rem)"


def test_page_names_no_paper(page):
    assert not re.search(r"\bpaper|published", page.text, re.I)


def test_header_says_what_was_done(page):
    assert (
        "238 sparse networks, built from 40 random graphs and trained with 6 "
        "initialisations of the weights. Attacks: FGSM (eps 0.1), PGD (l2, eps 0.5, 10 "
        "steps), growing FGSM and One Pixel (100 images)."
    ) in page.text
    assert "2 of 240 models failed" in page.text
    assert "planned models are missing" not in page.text
    assert "Models without a value: One Pixel confidence (11)." in page.text
    told = "40 graphs, each the mean of its repeats that are left, were correlated"
    assert told in page.text


@pytest.mark.usefixtures("unsaved_pictures")
def test_undertrained_models_are_left_out_and_listed(tmp_path, table):
    left_out = table["model"].isin([3, 7, 8])
    settings = {"max_accuracy_gap": 0.1}
    path = tmp_path / "report.html"
    columns, correlator = populations.columns_of(table), populations.correlate(table)
    write_report(
        table, columns, correlator, path, settings=settings, undertrained=left_out
    )
    page = Page(path)
    # Model 3 failed.
    assert "2 of 240 models failed" in page.text
    assert "236 sparse networks" in page.text
    # In print, nothing that is folded is seen.
    assert '<p class="alarm">2 of 240 models are left out everywhere' in page.source
    assert "more than 0.1 below the median" in page.text
    assert "model 7 (graph 1, glorot_uniform: 0.97" in page.text
    assert "2 of 240 models are left out" not in report(path, table).text


@pytest.mark.usefixtures("unsaved_pictures")
def test_unfinished_study_says_how_many_models_are_missing(tmp_path, table):
    page = report(tmp_path / "report.html", table, settings={"n_models": 600})
    assert "360 of 600 planned models are missing" in page.text


def test_models_are_summarised(page, table):
    values = table["f1_macro"]
    low, middle, high = values.min(), values.median(), values.max()
    row = ["macro F1", f"{low:.3f}", f"{middle:.3f}", f"{high:.3f}", "238"]
    assert page.row("macro F1") == row


def test_page_has_every_figure(page):
    for number in range(1, 5):
        assert f"Figure {number}." in page.text
    alts = [image["alt"] for image in page.all("img")]
    for start in (
        "Coefficients with intervals of 11 properties with 4 measures",
        "Scatter plot of 40 points: ",
        "Histogram of number of parameters: 40 values",
        "Bar chart of vertices of the prior. Counts: 250 ",
        "Histogram of density",
        "Box plots of FGSM error rate. Medians: glorot_normal 0.",
        "Box plots of growing FGSM average eps",
        "Box plots of macro F1",
    ):
        assert [alt for alt in alts if alt.startswith(start)], start


def test_pruning_has_a_page_of_its_own(tmp_path):
    page = report(tmp_path / "report.html", populations.pruning(), settings={})
    assert "4 dense networks were pruned step by step; every step is one of 84" in (
        page.text
    )
    assert "steps of one network are not independent" in page.text
    assert "Kendall's W" not in page.text


def test_table_has_coefficients_intervals_and_controls(page):
    (matrix,) = [t for t in page.tables if t[0][1:2] == ["FGSM error rate"]]
    assert matrix[0][2:] == [
        "PGD robust accuracy (margin)",
        "growing FGSM average eps",
        "One Pixel error rate",
    ]
    names = [row[0] for row in matrix[1:]]
    assert {"PRS ratio", "mapper purity", "number of parameters"} <= set(names)
    purity = matrix[1 + names.index("mapper purity")]
    assert re.fullmatch(
        r"−0\.\d\d\* \[−0\.\d\d, −0\.\d\d\] given −0\.\d\d\*", purity[1]
    )
    assert "All numbers of the 77 pairs" in page.text


def test_colours_of_the_table_mean_more_or_less_robust(page):
    cells = [a for a in page.all("td") if a.get("class")]
    assert {cell["class"] for cell in cells} <= {"more", "less", "neither"}
    assert all(re.fullmatch(r"--size: [01]\.\d\d", cell["style"]) for cell in cells)


def test_findings_say_how_many_tests_were_made(page):
    assert "tests (of every property, measure and method) were corrected" in page.text
    held = "the number of parameters, the density, the clean accuracy"
    assert f"the controls ({held}) held fixed" in page.text
    assert "so were the 77 with the controls held fixed" in page.text
    assert "As the mapper purity increases, the" in page.text
    assert "at least 0.15 in the same direction without the tenth of the graphs" in (
        page.text
    )
    assert re.search("Nothing was found for these properties: .*diameter", page.text)
    assert "before it by chance" in page.text


def test_gradient_masking_is_counted(page, table, tmp_path):
    fall = table["pgd_robust_accuracy_ce"] - table["pgd_robust_accuracy_margin"]
    n_masked = (fall > 0.1).sum()
    assert 0 < n_masked < 238
    assert f"PGD: in {n_masked} of 238 models the margin loss" in page.text
    only_ce = table.drop(columns="pgd_robust_accuracy_margin")
    found = report(tmp_path / "report.html", only_ce, None).text
    assert "No attack of this study was run with both losses" in found
    assert page.row("PGD share of zero gradients")[-1] == "238"


def test_settings_and_versions(page):
    assert "robustkit study --seed 0" in page.text
    assert page.row("attacks")[1].startswith("fgsm: [FGSMAttack(eps=0.1, clip=None)")
    assert page.row("version_torch") == ["version_torch", "2.13"]
    assert len(page.row("train")) == 3


def test_names_from_users_are_escaped(tmp_path, slim):
    evil = "<script>alert('&\"')</script>"
    table = slim.rename(
        columns={
            "mapper_purity": f"mapper_{evil}",
            "pgd_robust_accuracy_ce": f"pgd_{evil}_error_rate",
        }
    )
    table["init"] = table["init"] + evil
    table["prior__generator"] = evil
    page = report(
        tmp_path / "report.html",
        table,
        settings={"title": evil, "command": evil, evil: {evil: [evil]}},
    )
    assert not page.all("script")
    assert "<script" not in page.source
    assert page.text.count(evil) > 5
    assert all("<script" not in svg for svg in pictures(page))


@pytest.mark.usefixtures("unsaved_pictures")
@pytest.mark.parametrize("n_graphs", [0, 1, 2])
def test_page_with_too_few_models_to_correlate(tmp_path, n_graphs):
    table = populations.graphs(2)[: 6 * n_graphs]
    page = report(tmp_path / "report.html", table, None)
    assert "too few models to correlate" in page.text
    assert len(page.all("section")) == 5


def test_page_of_a_study_in_which_all_models_failed(tmp_path):
    table = populations.graphs(4)
    table[populations.columns_of(table)["measures"]] = np.nan
    page = report(tmp_path / "report.html", table, None)
    assert "24 of 24 models failed" in page.text


@pytest.mark.usefixtures("unsaved_pictures")
def test_page_with_constant_properties(tmp_path):
    table = populations.graphs(8)
    names = populations.columns_of(table)["properties"]
    page = report(tmp_path / "report.html", table.assign(**dict.fromkeys(names, 1.0)))
    assert "Of 0 pairs" in page.text
    assert not [image for image in page.all("img") if "Coefficients" in image["alt"]]


def test_page_of_an_empty_table(tmp_path):
    page = report(tmp_path / "report.html", pd.DataFrame(), None, {}, settings=None)
    assert "0 sparse networks" in page.text


def every_group(table):
    columns = populations.columns_of(table)
    yield from columns.values()
    yield ["graph"]
    yield ["init"]
    yield ["seed"]
    yield ["error"]
    yield ["n_parameters", "density"]
    yield [name for name in table if name.startswith(("version_", "seconds_"))]


@pytest.mark.usefixtures("unsaved_pictures")
@pytest.mark.parametrize("k", range(9))
def test_page_with_missing_columns(tmp_path, slim, slim_correlator, k):
    names = list(every_group(slim))[k]
    columns = populations.columns_of(slim)
    kept = slim.drop(columns=names)
    page = report(tmp_path / "a.html", kept, slim_correlator, columns)
    assert len(page.all("section")) == 5
    if "graph" not in names:
        empty = slim.assign(**dict.fromkeys(names, np.nan))
        page = report(tmp_path / "b.html", empty, slim_correlator, columns)
        assert len(page.all("section")) == 5


@pytest.mark.usefixtures("unsaved_pictures")
@pytest.mark.parametrize("method", ["kendall", "distance"])
def test_page_of_other_methods(tmp_path, slim, method):
    correlator = populations.correlate(
        slim, methods=method, n_permutations=20, correction=None, outliers=None
    )
    page = report(tmp_path / "report.html", slim, correlator)
    assert "no correction" in page.text
    assert {"kendall": "Kendall's τ with", "distance": "Distance"}[method] in page.text


@pytest.mark.usefixtures("unsaved_pictures")
def test_write_replaces_the_file_and_leaves_nothing_beside(tmp_path, slim):
    path = tmp_path / "report.html"
    path.write_text("old")
    report(path, slim, None)
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.usefixtures("unsaved_pictures")
def test_a_failed_write_leaves_the_old_report(tmp_path, slim, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(self, text, encoding):
        self.open("w").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_text", full)
    with pytest.raises(OSError, match=r"report\.html: No space left on device\.$"):
        report(path, slim, None)
    assert path.read_text("utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_paths_that_are_not_files(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"must be a file such as report\.html"):
        report(tmp_path, populations.graphs(3), None)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        report(tmp_path / "nowhere" / "report.html", populations.graphs(3), None)


def test_report_without_matplotlib(tmp_path, monkeypatch):
    load = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install 'robustkit\[plot\]'"):
        report(tmp_path / "report.html", populations.graphs(3), None)
    assert list(tmp_path.iterdir()) == []
