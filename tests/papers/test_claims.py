"""What the pages of results say in words is what their tables have."""

import numpy as np
import pytest

from papers._claims import HERE
from papers.random_graphs.claims import claims as random_graphs_claims
from papers.regions.claims import MEASURES, Table
from papers.regions.claims import claims as regions_claims
from papers.topology.claims import claims as topology_claims

PAGES = {
    "topology": topology_claims,
    "regions": regions_claims,
    "random_graphs": random_graphs_claims,
}
KINDS = ("plain", "regularised")


def words(page):
    """Text of a page, without line breaks and marks of emphasis."""
    text = (HERE / page / "page.rst").read_text(encoding="utf-8")
    return " ".join(text.replace("*", "").split())


@pytest.mark.parametrize("page", PAGES)
def test_page_says_what_the_tables_hold(page):
    text = words(page)
    assert [claim for claim in PAGES[page]() if claim not in text] == []


@pytest.mark.parametrize("network", ["digits_mlp", "mnist_mlp", "mnist_cnn6"])
def test_regularised_networks_have_a_sixth_of_the_ratio(network):
    pairs = Table(f"{network}_matched")
    plain, other = (pairs.of(kind, measure="prs ratio") for kind in KINDS)
    assert np.all(np.divide(other, plain) < 1 / 6)
    clean = np.abs(pairs.of("difference", measure="clean accuracy"))
    assert np.all(clean < 0.01)


@pytest.mark.parametrize("network", ["digits_mlp", "mnist_mlp"])
def test_regularised_perceptrons_are_less_robust(network):
    pairs = Table(f"{network}_matched")
    falls = [pairs.intervals("difference", measure=name) for name in MEASURES]
    assert np.max(falls) < 0
