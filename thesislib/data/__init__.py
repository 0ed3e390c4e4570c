"""Datasets: their form on disk, splits, reading photos, training crops, importers."""
