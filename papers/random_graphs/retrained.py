"""Study (a): the published population again, measured by distances.

The graphs, initialisations and training of design.toml: 100 graphs, 600 networks. FGSM
at .1 and with growing eps as in the paper, then what does not saturate: the distance to
the nearest error in two norms, the certified radius, and One Pixel by proof on 1,000
images. (That proof and the published search agreed on all images of all networks, so
the search is not repeated.) The networks are kept beside the store, so that
`RobustnessStudy.measure` adds what is asked next.

``python -m papers.random_graphs.retrained STORE`` carries it out, and continues it
where it was stopped: three hours on one core. With ``--publish`` it trains nothing, and
writes results/retrained.csv, the rows of all graphs that are finished.
"""

import argparse
from pathlib import Path

from papers._data import load
from papers.random_graphs.crossed import rows_of_store, whole_graphs
from papers.random_graphs.measures import measures
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


def main():
    """Do what is missing, or write what is finished."""
    parser = argparse.ArgumentParser(
        prog="python -m papers.random_graphs.retrained",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("store", help="file of the study, made or continued")
    parser.add_argument("--data-home", help="where MNIST is kept")
    parser.add_argument(
        "--publish", action="store_true", help="only write what is finished"
    )
    given = parser.parse_args()
    if given.publish:
        rows = rows_of_store(given.store)
        table = whole_graphs(rows, rows["init"].nunique())
        table.to_csv(HERE / "results" / "retrained.csv", index=False)
        return
    size = {"n_train": None, "n_test": None, "side": None}
    data = load("mnist", size, given.data_home)
    study = make(given.store, verbose=1)
    study.fit(data.X_train, data.y_train, data.X_test, data.y_test)


if __name__ == "__main__":
    main()
