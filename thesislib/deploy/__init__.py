"""Nets exported for other runtimes, and galleries of people enrolled later."""
