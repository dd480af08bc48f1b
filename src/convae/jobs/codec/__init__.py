"""Images as small files and back.

fitted.py       what a fitted codec does, with stored.py; extraction.py unpacks an archive
codec.py        how it is fitted, with pixels.py and latents.py
"""

from convae.jobs.kind import JobKind

JOB = JobKind(
    name="codec",
    summary="Learn to code such images (`compress`); up to 45,000 more steps per channel.",
    what="a codec",
    estimator="convae.jobs.codec.codec:ImageCodec",
    fitted="convae.jobs.codec.fitted:FittedCodec",
)
