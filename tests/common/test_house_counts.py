"""Few and whole files, and doors between rooms."""

import pytest

import robustkit
from robustkit.attacks import functional
from tests.common.architecture import ROOT
from tests.common.house import (
    all_private_imports,
    long_parameter_lists,
    median_length,
)

SOURCES = sorted(ROOT.rglob("*.py"))
# Names whose signatures are promised to users.
PUBLIC = {*robustkit.__all__, *functional.__all__}

# A new attack, a claim, a display is a file of its own, and so are the rules of
# verdicts, which claims and the correlator share, the converters of calibrated models,
# how classifiers are stored without code, what arithmetic proofs assume, which patches
# of images they are about, where several boundaries meet, exact regions, the polygons
# they cut, their display, costly properties of graphs, what a report says in sentences,
# networks side by side, classifiers around them, and attacks on them; how networks are
# rewired, the forms of published tables, how a study leaves for other programs, and the
# callback that logs to MLflow, how the models of a study are kept and measured again,
# the distance at which a shape is connected, and how long components and loops persist,
# with its display; what grows is not split.
# Of mapper graphs: how much comes back in resamples, which loops there are, how far
# apart two are, the display of several, the few neighbours that decide where pairs
# are too many, the graphs of all layers and their display, and the filters, one or two
# of them. The explorer as a widget; how many threads compute; the search
# for minimal distances on devices, and blocks of products, which devices compute, too.
MOST_FILES = 178
SMALLEST_MEDIAN = 220
MOST_PARAMETERS = 9
MOST_PRIVATE_IMPORTS = 8


def test_files_are_few_and_whole():
    assert len(SOURCES) <= MOST_FILES
    assert median_length(SOURCES) >= SMALLEST_MEDIAN


def test_rooms_have_one_door():
    assert len(all_private_imports()) <= MOST_PRIVATE_IMPORTS


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_inner_functions_have_few_parameters(path):
    source = path.read_text("utf-8")
    assert not long_parameter_lists(source, PUBLIC, MOST_PARAMETERS)
