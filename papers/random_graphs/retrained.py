"""Study (a): the published population again, measured by distances.

The graphs, initialisations and training of design.toml: 100 graphs, 600 networks. FGSM
at .1 and with growing eps as in the paper, then what does not saturate: the distance to
the nearest error in two norms, the certified radius, and One Pixel by proof on 1,000
images. (That proof and the published search agreed on all images of all networks, so
the search is not repeated.) The networks are kept beside the store, so that
`RobustnessStudy.measure` adds what is asked next.

``python -m papers.random_graphs.retrained STORE`` carries it out, and continues it
where it was stopped: three hours on one core. With ``--publish`` it trains nothing, and
writes results/retrained.csv, the rows of all graphs that are finished; with
``--continue-published`` it begins with those rows, where the store is gone, and with
those of results/retrained_begun.csv, whose graphs are not finished.
"""

from pathlib import Path

from papers.random_graphs.crossed import run, whole_graphs
from papers.random_graphs.measures import measures
from papers.random_graphs.tables import keep_amount_of_rows, size_rows, write
from robustkit.attacks import GrowingEpsilonAttack
from robustkit.study import RobustnessStudy

HERE = Path(__file__).parent
N_PIXEL = 1000


def make(store, *, attacks=None, **params):
    """The study, not carried out yet; `params` replace those of a RobustnessStudy."""
    study = RobustnessStudy.from_config(HERE / "design.toml")
    if attacks is None:
        attacks = measures(n_pixel=N_PIXEL) | {"growing": GrowingEpsilonAttack()}
    return study.set_params(
        attacks=attacks,
        analyses={},
        store=store,
        keep_models=True,
        device="cpu",
        random_state=0,
        **params,
    )


def publish(rows):
    """Write the results of the graphs that are finished."""
    planned = make(None)
    table = whole_graphs(rows, len(planned.inits))
    table.to_csv(HERE / "results" / "retrained.csv", index=False)
    write(size_rows(table), "retrained_sizes")
    keep_amount_of_rows("retrained", table, planned.n_graphs, planned.inits)


if __name__ == "__main__":
    run(make, publish, "python -m papers.random_graphs.retrained", __doc__)
