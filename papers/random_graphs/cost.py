"""What the published study of 600 networks costs, from a part of it.

Run ``python -m papers.random_graphs.cost --data-home FOLDER``. Six networks of MNIST
are trained and attacked exactly as published: 30 epochs on 60,000 images, FGSM and
growing eps on 10,000, one pixel with 500 x 500 on 100. Their costs times 100 are those
of the study, on one core. One thread does everything, and seconds are CPU seconds.
"""

import argparse
import time
from unittest import mock

import torch

from robustkit.datasets import load_dataset
from robustkit.study import RobustnessStudy, find_preset

N_MODELS = 600
# Of all attacks of the preset, those of the paper.
PUBLISHED = ("fgsm", "growing", "one_pixel")


def run(dataset, data_home, n_graphs, inits):
    """Carry out a part of the study; return the study and its CPU seconds."""
    images = load_dataset(dataset, data_home=data_home)
    params = find_preset("random-graphs").params(images)
    study = RobustnessStudy(**params).set_params(
        n_graphs=n_graphs, random_state=0, engine="single", n_jobs=1
    )
    if inits:
        study.set_params(inits=inits)
    start = time.process_time()
    # So that the seconds of the table do not depend on who else uses the machine.
    with mock.patch("time.perf_counter", time.process_time):
        study.fit(images.X_train, images.y_train, images.X_test, images.y_test)
    return study, time.process_time() - start


def main():
    """Report the costs of a network, of the study, and of what is neither."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dataset", default="mnist", help="or a few images of it, .npz"
    )
    parser.add_argument("--data-home")
    parser.add_argument("--n-graphs", type=int, default=6)
    parser.add_argument("--inits", nargs="+", default=["he_uniform"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study, total = run(**vars(arguments))
    table = study.results_
    seconds = {
        "training": table["seconds_train"],
        "the published attacks": sum(table[f"seconds_{name}"] for name in PUBLISHED),
        "all attacks": sum(table[f"seconds_{name}"] for name in study.attacks),
    }
    print(f"{len(table)} networks, {total:.0f} CPU seconds")
    for what, each in seconds.items():
        print(
            f"{what}: {each.mean():.1f} s a network ({each.min():.1f} to "
            f"{each.max():.1f}), {each.mean() * N_MODELS / 3600:.2f} core-hours for "
            f"{N_MODELS}"
        )
    work = (seconds["training"] + seconds["all attacks"]).sum()
    print(
        f"all else, looking inside every network and correlating included: "
        f"{total / work - 1:.1%} of training and attacking"
    )


if __name__ == "__main__":
    main()
