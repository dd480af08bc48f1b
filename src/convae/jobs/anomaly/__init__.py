"""Finding anomalies after seeing normal images alone, at a stated rate of false alarms."""

from convae.jobs.anomaly.detector import AnomalyDetector

__all__ = ["AnomalyDetector"]
