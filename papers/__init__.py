"""One folder per paper: its design, the published numbers, the claims, our results."""
