"""Finding anomalies after seeing normal images alone, at a stated rate of false alarms.

fitted.py       what a fitted detector does, with scores.py, neighbors.py, spaces.py (edges.py,
                colors.py, cells.py), heat.py, choice.py, calibration.py and stored.py
detector.py     how it is fitted, with learn.py, choose.py, corruptions.py and suspects.py
detections.py   the table, the pictures and the page that `convae detect` leaves
"""

from convae.jobs.kind import JobKind, JobOption

JOB = JobKind(
    name="anomalies",
    summary="The images are normal ones: hold a fifth of them out, and flag others (`detect`).",
    what="an anomaly detector",
    estimator="convae.jobs.anomaly.detector:AnomalyDetector",
    fitted="convae.jobs.anomaly.fitted:FittedDetector",
    options=(
        JobOption(
            "most_anomalies",
            float,
            0.0,
            "SHARE",
            "share of the images that may be anomalies themselves, at most 0.25. suspects.csv "
            "then names the images that are least like the others.",
        ),
    ),
)
