"""Samples in the order of their filter values, prepared for the search of pairs.

They are split into the Voronoi cells of a few centres. The plane halfway between two
centres lies between the samples of their cells, so the distance of two such samples is
at least the sum of their depths, the distances to that plane. If it is at most eps, one
of the two depths is at most eps / 2: each cell need only be compared with itself and
with the shallow samples of others. Where the data fall into clusters, most pairs are
never looked at. The centres are guesses; the pairs found do not depend on them.
"""

import numpy as np
from sklearn.cluster import kmeans_plusplus

# Bytes of the float32 copy; larger data are centred anew whenever they are needed.
_LARGEST_COPY = 150e6

# Numbers that are float64 at one time.
_CHUNK = 2**20

_N_CENTERS = 16
_N_SAMPLES_FOR_CENTERS = 2048


class OrderedSamples:
    """Samples in the order of their filter values.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples, float32 or float64, C-contiguous.

    values : ndarray of shape (n_samples,)
        Their filter values.

    Attributes
    ----------
    order : ndarray of shape (n_samples,)
        The sample at each position.

    values : ndarray of shape (n_samples,)
        Ascending.

    scale : float
        What the centred samples are multiplied with.

    norms : ndarray of shape (n_samples,)
        Squared norm of each centred and scaled sample, in float64.
    """

    def __init__(self, X, values):
        self.X = X
        self.order = np.argsort(values, kind="stable")
        self.values = values[self.order]
        # Centring shrinks the norms, and with them the rounding errors.
        self._mean = X.mean(axis=0, dtype=np.float64)
        self.scale = _power_of_two_scale(X, self._mean)
        centers = self._guess_centers()
        fits = 4 * X.size <= _LARGEST_COPY
        self._copy = np.empty(X.shape, dtype=np.float32) if fits else None
        self.norms = np.empty(len(X))
        self._cells = np.empty(len(X), dtype=np.int32)
        self._depths = np.empty((len(X), len(centers)), dtype=np.float32)
        step = max(1, _CHUNK // X.shape[1])
        for start in range(0, len(X), step):
            chunk = slice(start, start + step)
            rows = self._centered(self.order[chunk])
            self.norms[chunk] = np.einsum("ij,ij->i", rows, rows)
            self._depths[chunk], self._cells[chunk] = _voronoi(
                rows, self.norms[chunk], centers
            )
            if fits:
                self._copy[chunk] = rows

    def rows(self, positions):
        """Centred and scaled samples at some positions, float32."""
        if self._copy is not None:
            if len(positions) and positions[-1] - positions[0] == len(positions) - 1:
                return self._copy[positions[0] : positions[-1] + 1]
            return self._copy[positions]
        return self._centered(self.order[positions]).astype(np.float32)

    def _centered(self, samples):
        rows = self.X[samples] - self._mean
        rows *= self.scale
        return rows

    def cells(self, eps):
        """Split the samples into cells for the search of pairs within eps.

        Parameters
        ----------
        eps : float
            The distance.

        Returns
        -------
        cells : ndarray of shape (n_samples,)
            The cell of the sample at each position.

        is_shallow : ndarray of shape (n_samples, n_cells), dtype=bool
            Whether the sample is within eps / 2 of the plane towards each cell; true
            for its own. Of two samples within eps in different cells, one at least is
            shallow towards the cell of the other.
        """
        is_shallow = self._depths <= eps / 2 * self.scale
        if is_shallow.mean() < 0.5:
            return self._cells, is_shallow
        # No clusters, or none at this distance: one cell is cheaper.
        return np.zeros_like(self._cells), np.ones((len(self._cells), 1), dtype=bool)

    def may_be_near(self, rows, columns, eps):
        """Tell which positions may be within a distance of some others.

        Parameters
        ----------
        rows, columns : ndarray
            Positions.

        eps : float
            The distance.

        Returns
        -------
        may_be : ndarray of shape (len(columns),), dtype=bool
            False for columns that are farther than eps from every one of the rows.
        """
        depths = self._depths[rows].min(axis=0).astype(np.float64)
        cells = np.unique(self._cells[rows])
        bounds = depths[self._cells[columns]]
        bounds += self._depths[columns[:, None], cells].min(axis=1)
        return bounds <= eps * self.scale

    def cell_of(self, positions):
        """Return the cells of some positions."""
        return self._cells[positions]

    def _guess_centers(self):
        """Run a few steps of k-means on samples spread evenly over the values."""
        n_samples = len(self.order)
        step = max(1, n_samples // _N_SAMPLES_FOR_CENTERS)
        rows = self._centered(self.order[::step])
        n_centers = min(_N_CENTERS, len(rows))
        centers, _ = kmeans_plusplus(rows, n_centers, random_state=0)
        for _ in range(3):
            nearest = (0.5 * (centers**2).sum(axis=1) - rows @ centers.T).argmin(axis=1)
            one_hot = nearest == np.arange(len(centers))[:, None]
            centers = one_hot[one_hot.any(axis=1)] @ rows
            centers /= one_hot.sum(axis=1)[one_hot.any(axis=1), None]
        return centers


def _power_of_two_scale(X, mean):
    """Return a power of two: it changes no digit, and float32 does not overflow."""
    largest = max((X.max(axis=0) - mean).max(), (mean - X.min(axis=0)).max())
    return 2.0 ** -np.ceil(np.log2(largest)) if largest > 0 else 1.0


def _voronoi(rows, norms, centers):
    """Lower bounds on the depths, the distances to the planes between cells.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features)
        Samples.

    norms : ndarray of shape (n_rows,)
        Their squared norms.

    centers : ndarray of shape (n_centers, n_features)
        The centres.

    Returns
    -------
    depths : ndarray of shape (n_rows, n_centers)
        How far a sample is from the plane between its cell and each other one, less
        the rounding error; minus infinity for its own cell.

    cells : ndarray of shape (n_rows,)
        The cell of each sample.
    """
    center_norms = np.einsum("ij,ij->i", centers, centers)
    # Half the squared distance to each centre, but for a term of the sample alone.
    potentials = 0.5 * center_norms - rows @ centers.T
    cells = potentials.argmin(axis=1)
    gaps = np.linalg.norm(centers[:, None] - centers[None], axis=2)[cells]
    error = 1e-10 * (norms + center_norms.max())
    depths = potentials - (potentials[np.arange(len(cells)), cells] + error)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        depths /= gaps
    # They are kept in float32.
    depths -= 1e-7 * np.abs(depths)
    # Its own cell, and centres that coincide, have no plane between them.
    depths[gaps == 0] = -np.inf
    return depths, cells
