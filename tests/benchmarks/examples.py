"""What a store may hold."""

RESULT = {
    "name": "sort 1,000 numbers",
    "peer": "bubble 1.0",
    "ours": 0.0012,
    "theirs": 0.12,
    "ratio": 0.01,
    "ratio_low": 0.009,
    "ratio_high": 0.011,
    "limit": 0.5,
    "same": True,
    "note": "in place",
}
GROWN = {
    "name": "sort numbers",
    "peer": "bubble 1.0",
    "along": "numbers",
    "sizes": [100, 1000, 10_000],
    "ours": [0.001, 0.01, 0.1],
    "theirs": [0.001, 0.1],
    "same": False,
    "note": "theirs stopped before 10,000: more than 1 s",
}
ENTRY = {
    "machine": "Abacus, 4 cores",
    "versions": {"python": "3.11.7", "numpy": "2.4.6"},
    "date": "2026-11-21",
    "left_out": ['quick is not installed: `pip install --no-deps "quick"`'],
    "results": [RESULT],
    "growths": [GROWN],
}
BARE = ENTRY | {"left_out": [], "results": [], "growths": []}
