"""Measures of the experiments: pure functions over arrays and tables.

From boxes to conclusions: ``boxes`` and ``matching`` judge detections against the ground truth;
``similarity``, ``verification``, ``retrieval``, ``identification``, ``compactness`` and
``projection`` judge embeddings; ``statistics`` says how sure a number is. ``checks`` and
``operating_points`` hold what several of them need.
"""
