"""Datasets: their form on disk, reading photos, splits, training crops, synthetic people."""
