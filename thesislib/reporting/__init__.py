"""Tables and pages, figures and maps: drawn and printed from result tables alone."""
