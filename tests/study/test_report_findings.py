"""The words say what the numbers say, and never more."""

import numpy as np
import pandas as pd
import pytest

from robustkit.study._evidence import gather
from robustkit.study._report_findings import SURENESS, findings_of, in_one_sentence
from tests.study import populations

PAIR = {
    "property": "density",
    "measure": "fgsm_error_rate",
    "coefficient": 0.6,
    "p_value": 0.001,
    "p_adjusted": 0.01,
    "ci_low": 0.4,
    "ci_high": 0.7,
    "n": 50,
    "strength": "large",
}
GIVEN = {"coefficient": 0.5, "p_value": 0.001, "p_adjusted": 0.02, "n": 50}


class Correlator:
    """Of a correlator, what a finding needs."""

    alpha = 0.05

    def __init__(self, method):
        self.method_ = method


class Evidence:
    """Of the evidence, what a finding needs."""

    def __init__(self, *pairs, method="spearman"):
        self.correlator = Correlator(method)
        self.pairs = pd.DataFrame([PAIR | pair for pair, _ in pairs])
        self.held = pd.DataFrame([GIVEN | given for _, given in pairs])


def found(pair=(), given=(), method="spearman"):
    return findings_of(Evidence((dict(pair), dict(given)), method=method))


@pytest.mark.parametrize(
    ("pair", "given", "verdict"),
    [
        ({}, {}, "stands"),
        ({}, {"p_adjusted": 0.2}, "shared"),
        ({}, {"coefficient": -0.5}, "turns"),
        ({}, {"coefficient": -0.1, "p_adjusted": 0.5}, "shared"),
        ({}, {"coefficient": np.nan, "p_adjusted": np.nan}, "inseparable"),
        ({"p_adjusted": 0.2}, {}, "hidden"),
        ({"p_adjusted": 0.2}, {"p_adjusted": 0.2}, None),
        ({"p_adjusted": np.nan}, {"p_adjusted": np.nan}, None),
    ],
)
def test_verdicts(pair, given, verdict):
    verdicts = [finding.verdict for finding in found(pair, given)]
    assert verdicts == ([] if verdict is None else [verdict])
    assert verdict is None or verdict in SURENESS


@pytest.mark.parametrize(
    ("measure", "coefficient", "sentence"),
    [
        (
            "fgsm_error_rate",
            0.6,
            "The larger the density, the higher the FGSM error rate: less robust.",
        ),
        (
            "fgsm_error_rate",
            -0.6,
            "The larger the density, the lower the FGSM error rate: more robust.",
        ),
        (
            "pgd_robust_accuracy",
            0.6,
            "The larger the density, the higher the PGD robust accuracy: more robust.",
        ),
        (
            "fgsm_average_confidence",
            0.6,
            "The larger the density, the higher the FGSM confidence.",
        ),
    ],
)
def test_sentences(measure, coefficient, sentence):
    some = found(
        {"measure": measure, "coefficient": coefficient}, {"coefficient": coefficient}
    )
    assert in_one_sentence(some)[0] == sentence


def test_a_sentence_says_what_its_verdict_rests_on():
    """The pair goes the other way here; what was found is with controls fixed."""
    some = found({"coefficient": -0.1, "p_adjusted": 1.0})
    assert "the higher the FGSM error rate" in in_one_sentence(some)[0]


def test_several_measures_share_a_sentence():
    eps = {"measure": "growing_average_eps", "coefficient": -0.7}
    pgd = {"measure": "pgd_error_rate", "coefficient": 0.65}
    evidence = Evidence(({}, {}), (eps, {"coefficient": -0.3}), (pgd, {}))
    sentence, numbers = in_one_sentence(findings_of(evidence))
    assert sentence == (
        "The larger the density, the lower the growing FGSM average eps; the higher "
        "the PGD error rate and the FGSM error rate: less robust."
    )
    assert numbers == (
        "ρ of size 0.60 to 0.70, adjusted p up to 0.010; with the controls held fixed "
        "of size 0.30 to 0.50, adjusted p up to 0.020"
    )


def test_many_measures_are_counted():
    names = [f"attack {k}_error_rate" for k in range(6)]
    some = findings_of(Evidence(*(({"measure": name}, {}) for name in names)))
    sentence, _ = in_one_sentence(some)
    assert "attack 3 error rate (and 2 more): less robust." in sentence
    assert "attack 4" not in sentence


def test_measures_that_disagree_mean_nothing():
    other = {"measure": "pgd_error_rate", "coefficient": -0.6}
    some = findings_of(Evidence(({}, {}), (other, {"coefficient": -0.5})))
    assert "robust" not in in_one_sentence(some)[0]


def test_a_coefficient_without_sign_has_no_direction():
    sentence, numbers = in_one_sentence(found(method="distance"))
    assert sentence == "The density goes with the FGSM error rate."
    assert numbers.startswith("Distance correlation = 0.60 [0.40, 0.70], ")
    assert found(given={"coefficient": -0.5}, method="distance")[0].verdict == "stands"


def test_numbers_of_one_finding_are_complete():
    _, numbers = in_one_sentence(found({"p_adjusted": 0.0001}, {"coefficient": np.nan}))
    assert numbers == (
        "ρ = 0.60 [0.40, 0.70], adjusted p < 0.001; with the controls held fixed there "
        "is none"
    )
    _, numbers = in_one_sentence(found({"ci_low": np.nan, "ci_high": np.nan}))
    assert numbers == (
        "ρ = 0.60, adjusted p = 0.010; with the controls held fixed = 0.50, "
        "adjusted p = 0.020"
    )


def test_finds_what_is_planted_and_says_what_is_borrowed():
    table = populations.graphs(60)
    evidence = gather(
        table, populations.columns_of(table), populations.correlate(table), None
    )
    verdicts = {}
    for finding in findings_of(evidence):
        verdicts.setdefault(finding.property, set()).add(finding.verdict)
    assert verdicts["mapper_purity"] == {"stands"}
    assert verdicts["directed_path_length"] == {"shared"}
    assert not {"diameter", "regions_prs_ratio"} & set(verdicts)
    sizes = [abs(finding.coefficient) for finding in findings_of(evidence)]
    assert sizes == sorted(sizes, reverse=True)


def test_without_a_correlation_nothing_is_found():
    table = populations.graphs(2)
    assert findings_of(gather(table, populations.columns_of(table), None, None)) == []
