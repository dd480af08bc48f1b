"""Find anomalies, learning from normal images only, at a stated rate of false alarms.

fitted.py       what a fitted detector does, with scores.py, neighbors.py, spaces.py (edges.py,
                colors.py, cells.py), heat.py, choice.py, calibration.py and stored.py
detector.py     how it is fitted, with learn.py, choose.py, corruptions.py and suspects.py
detections.py   the table, the pictures and the page that `convae detect` leaves
"""

from convae.jobs.kind import JobKind, JobOption

JOB = JobKind(
    name="anomalies",
    summary="Treat the images as normal, hold a fifth out, and flag others (`detect`).",
    what="an anomaly detector",
    estimator="convae.jobs.anomaly.detector:AnomalyDetector",
    fitted="convae.jobs.anomaly.fitted:FittedDetector",
    options=(
        JobOption(
            "most_anomalies",
            float,
            0.0,
            "SHARE",
            "largest share of the images that may be anomalies, at most 0.25; suspects.csv lists "
            "the images least like the others.",
        ),
    ),
)
