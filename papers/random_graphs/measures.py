"""What version 2 of the study measures of every network: distances first."""

import numpy as np
import pandas as pd

from robustkit.attacks import (
    FGSMAttack,
    MinimalDistanceAttack,
    OnePixelAttack,
    PGDAttack,
)
from robustkit.bounds import CertifiedRadius

# Sizes of perturbation at which robust accuracy does not saturate on MNIST.
SIZES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06)


class DistanceProfile(MinimalDistanceAttack):
    """Quantiles of the minimal distance, and the robust accuracies that they imply.

    For images in [0, 1]. Where no error is found, the distance is the largest possible.
    """

    def report(self, X, y=None, target=None):
        """Attack once, and read everything off the distances."""
        distance = np.asarray(self.perturb(X, y, target).distance)
        not_found = np.isinf(distance)
        # No two images are farther apart than the corners of their range.
        farthest = 1.0 if self.norm == "linf" else np.sqrt(self.n_features_in_)
        distance = np.where(not_found, farthest, distance)
        levels = {f"distance_q{q}": q / 100 for q in (10, 25, 75, 90)}
        report = {
            "median_distance": np.median(distance),
            **{
                name: np.quantile(distance, level, method="inverted_cdf")
                for name, level in levels.items()
            },
            "not_found": not_found.mean(),
        }
        if self.norm == "linf":
            for size in SIZES:
                report[f"robust_at_{size:.2f}"] = (distance > size).mean()
        return pd.Series({name: float(value) for name, value in report.items()})


def measures(n_distances=300, n_certified=200, n_pixel=500, image_shape=(1, 28, 28)):
    """Attacks and proofs, by the names of their columns.

    Parameters
    ----------
    n_distances : int, default=300
        Of how many test images, the first that a network gets right, the distance to
        the nearest error is searched, in both norms.

    n_certified : int, default=200
        Of how many a radius is proved.

    n_pixel : int, default=500
        For how many it is proved whether one pixel can change the prediction.

    image_shape : tuple of int, default=(1, 28, 28)
        Shape of an image.

    Returns
    -------
    attacks : dict
        As RobustnessStudy takes them.
    """
    return {
        "linf": (DistanceProfile(norm="linf", max_iter=50), n_distances),
        "l2": (DistanceProfile(norm="l2", max_iter=50), n_distances),
        "certified": (CertifiedRadius(norm="linf"), n_certified),
        "fgsm": FGSMAttack(eps=0.1),
        "pgd": (
            PGDAttack(eps=0.03, max_iter=20, loss="rotate", random_state=0),
            1000,
        ),
        "one_pixel": (
            OnePixelAttack(method="certified", image_shape=image_shape),
            n_pixel,
        ),
    }
