"""Results of every public estimator, recorded and compared."""
