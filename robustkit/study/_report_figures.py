"""The figures of the paper from a study's own data, and those of the joint table."""

from robustkit.study import _figures as draw
from robustkit.study._html import Html, join, scrolling, tag
from robustkit.study._report_findings import findings_of
from robustkit.study._words import split_measure, words

__all__ = ["joint_figure", "paper_figures"]

_STRUCTURE = (
    "density",
    "diameter",
    "directed_path_length",
    "average_path_length",
    "average_eccentricity",
    "directed_betweenness",
    "average_betweenness",
    "average_closeness",
)
_MOST_SCATTERS = 6


def paper_figures(evidence):
    """Draw figures 3 to 8.

    Parameters
    ----------
    evidence : Evidence
        Of the study.

    Returns
    -------
    content : Html
        A figure each, also where the study has no data for it: it then says so.
    """
    e = evidence
    whose = "steps of pruning" if e.is_pruned else "graphs"
    by_init = "by initialisation; the line in a box is the median, dots are outliers"
    return join(
        [
            _figure(
                "Figure 3",
                "Size of the networks"
                + ("" if e.is_pruned else ", and what their graphs were drawn with"),
                _histograms(e, [*_present(e, ["n_parameters"]), *e.parameters]),
            ),
            _figure(
                "Figure 4",
                f"Properties of the {whose}",
                _histograms(e, _present(e, _STRUCTURE)),
            ),
            _figure(
                "Figure 5",
                f"Error rate under attack, and macro F1 without, {by_init}",
                _by_init(
                    e, [*_of_attacks(e, "error_rate"), *_present(e, ["f1_macro"])]
                ),
            ),
            _figure(
                "Figure 6",
                f"Average eps of growing FGSM, and confidence in the wrong class, "
                f"{by_init}",
                _by_init(
                    e,
                    [
                        *_present(e, ["growing_average_eps"]),
                        *_of_attacks(e, "average_confidence"),
                    ],
                ),
            ),
            _figure_7(e),
            _figure(
                "Figure 8",
                "Number of parameters against the error rate and the average eps of "
                "FGSM",
                _scatters(
                    e,
                    [
                        ("n_parameters", "fgsm_error_rate"),
                        ("n_parameters", "growing_average_eps"),
                    ],
                ),
            ),
        ]
    )


def joint_figure(evidence):
    """Draw all pairs as a heat map, and the strongest that stand as points.

    Parameters
    ----------
    evidence : Evidence
        Of the study.

    Returns
    -------
    content : Html
        Empty without a correlation.
    """
    pairs = evidence.pairs
    if pairs["coefficient"].isna().all():
        return Html()
    correlator = evidence.correlator
    svg, alt = draw.heat_map(pairs, correlator.alpha, correlator.method_, words)
    caption = (
        "All pairs at once. A star: significant after the correction for all tests"
    )
    picture = scrolling(_image(svg, alt, class_="large"), caption)
    figures = [tag("figure", picture, tag("figcaption", f"{caption}."))]
    strongest = {}
    for finding in findings_of(evidence):
        if finding.verdict == "stands":
            strongest.setdefault(finding.property, finding.measure)
    if strongest:
        shown = list(strongest.items())[:_MOST_SCATTERS]
        caption = (
            "The properties that stand also with the controls held fixed, each with "
            "the measure that it goes with most."
        )
        panels = tag("div", *_scatters(evidence, shown), class_="panels")
        figures.append(tag("figure", panels, tag("figcaption", caption)))
    return join(figures)


def _figure_7(evidence):
    """Density, against the attack of the paper or the one that stands in."""
    attacks = [split_measure(m)[0] for m in _of_attacks(evidence, "error_rate")]
    attack = "one_pixel" if "one_pixel" in attacks or not attacks else attacks[0]
    measures = [f"{attack}_error_rate", f"{attack}_average_confidence"]
    name = words(measures[0]).removesuffix(" error rate")
    caption = f"Density against the error rate and the confidence of {name}"
    if attack != "one_pixel":
        caption += f". This study has no One Pixel attack; {name} stands in"
    panels = _scatters(evidence, [("density", measure) for measure in measures])
    return _figure("Figure 7", caption, panels)


def _figure(name, caption, panels):
    missing = "" if panels else " The study has no data for it."
    text = tag("figcaption", tag("b", f"{name}. "), f"{caption}.{missing}")
    return tag("figure", tag("div", *panels, class_="panels"), text)


def _image(svg, alt, **attributes):
    return tag("img", src=draw.data_uri(svg), alt=alt, **attributes)


def _present(evidence, names):
    known = {*evidence.properties, *evidence.measures}
    return [name for name in names if name in known]


def _of_attacks(evidence, measure):
    return [name for name in evidence.measures if split_measure(name)[1] == measure]


def _histograms(evidence, names):
    graphs = evidence.graphs()
    return [_image(*draw.histogram(graphs[name], words(name))) for name in names]


def _by_init(evidence, names):
    results = evidence.results
    if not evidence.inits:
        return []
    return [
        _image(
            *draw.boxes(
                {
                    str(i): results.loc[results["init"] == i, name]
                    for i in evidence.inits
                },
                words(name),
            )
        )
        for name in names
    ]


def _scatters(evidence, pairs):
    """Draw what was correlated; what was not as the rows are."""
    values = evidence.results
    if evidence.correlator is not None:
        values = evidence.correlator.values_
    return [
        _image(*draw.scatter(frame[x], frame[y], words(x), words(y)))
        for x, y in pairs
        for frame in (values if {x, y} <= {*values} else evidence.results,)
        if {x, y} <= {*frame} and (frame[x].notna() & frame[y].notna()).any()
    ]
