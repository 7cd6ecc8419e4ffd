"""What the paper that the study repeats has published: the only numbers not ours."""

from dataclasses import dataclass

__all__ = ["F1_SCORES", "SOURCE", "TABLES", "PublishedTable", "Row"]

SOURCE = (
    "Ben Amor, M., Stier, J., & Granitzer, M. (2021). Correlation Analysis between the "
    "Robustness of Sparse Neural Networks and their Random Hidden Structural Priors. "
    "Procedia Computer Science, 192, 4073-4082. doi:10.1016/j.procs.2021.09.182"
)

# Population -> lowest, mean and highest macro F1 on MNIST, in percent (section 6).
F1_SCORES = {"graphs": (96.6, 97.3, 97.8), "pruning": (97.5, 97.7, 97.9)}


@dataclass(frozen=True)
class Row:
    """A property and a measure as the paper names them, and where a study has them."""

    property: str
    measure: str
    property_columns: tuple
    """The first one that a study has."""

    measure_column: str
    rho: float | None
    """None where the paper leaves the cell empty."""

    tau: float | None


@dataclass(frozen=True)
class PublishedTable:
    """One table of coefficients."""

    number: int
    title: str
    population: str
    rows: tuple


_PROPERTIES = {
    "Number of parameters": ("n_parameters",),
    "Density": ("density",),
    # The authors' paths follow the directions of the edges.
    "Average path length": ("directed_path_length", "average_path_length"),
    "Average eccentricity": ("average_eccentricity",),
}
_MEASURES = {
    "FGSM: error rate": "fgsm_error_rate",
    "FGSM: confidence": "fgsm_average_confidence",
    # With eps fixed there is nothing to average: this one comes from growing eps.
    "FGSM: eps": "growing_average_eps",
    "One Pixel: error rate": "one_pixel_error_rate",
    "One Pixel: confidence": "one_pixel_average_confidence",
}


def _rows(cells):
    """Turn rows of (rho, tau), in the order of the paper's columns, around."""
    return tuple(
        Row(name, measure, columns, column, *(pair or (None, None)))
        for k, (measure, column) in enumerate(_MEASURES.items())
        for (name, columns), pair in zip(
            _PROPERTIES.items(), (row[k] for row in cells), strict=True
        )
    )


# As printed, also where the signs of rho and tau contradict each other.
TABLES = (
    PublishedTable(
        1,
        "Robustness and the properties of random graphs",
        "graphs",
        _rows(
            [
                [
                    (-0.16, -0.11),
                    (0.38, 0.25),
                    (0.43, 0.30),
                    (-0.58, -0.40),
                    (0.40, 0.27),
                ],
                [
                    (0.32, 0.24),
                    (-0.66, -0.52),
                    (-0.17, -0.13),
                    (0.29, 0.21),
                    (-0.63, -0.49),
                ],
                [(-0.15, -0.11), (0.37, 0.25), (-0.30, -0.22), None, None],
                [None, None, None, (0.33, 0.21), (0.21, 0.14)],
            ]
        ),
    ),
    PublishedTable(
        2,
        "Robustness over 20 steps of random pruning",
        "pruning",
        _rows(
            [
                [
                    (-0.51, -0.35),
                    (-0.64, -0.45),
                    (0.66, 0.46),
                    (-0.62, -0.44),
                    (0.36, -0.39),
                ],
                [
                    (-0.51, -0.35),
                    (-0.64, -0.45),
                    (0.66, -0.46),
                    (-0.62, -0.44),
                    (-0.56, -0.39),
                ],
                [
                    (0.51, 0.35),
                    (0.64, 0.45),
                    (-0.66, -0.46),
                    (0.62, 0.44),
                    (0.56, 0.39),
                ],
                [None, None, None, (-0.34, -0.22), (0.26, 0.17)],
            ]
        ),
    ),
)
