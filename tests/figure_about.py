"""What a figure of the tests is saved with, beside its caption."""

ABOUT = {
    "dataset": "synthetic",
    "split": "photo",
    "notebook": "data.ipynb",
    "data_hash": "abc",
    "profile": "quick",
    "seed": 0,
    "private": False,
}
