"""What was computed is kept, and known by configuration, data and one version number."""

# Raised by hand whenever the same configuration and data would give other results.
RESULTS_VERSION = 1
