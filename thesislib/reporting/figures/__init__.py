"""Figures, drawn from tables alone: a module per subject."""

from thesislib.environment import require

require("matplotlib", extra="figures")
