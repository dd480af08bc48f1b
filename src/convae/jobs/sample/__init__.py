"""New images, from a density over the latents of those trained on.

mixture.py      the density: Gaussians in the space of latents
fitted.py       what a fitted sampler does; pictures.py writes it down
sampler.py      how it is fitted
"""

from convae.jobs.kind import JobKind, JobOption

JOB = JobKind(
    name="sampling",
    summary="Learn which latents such images have, to make new ones (`sample`).",
    what="a sampler",
    estimator="convae.jobs.sample.sampler:LatentSampler",
    fitted="convae.jobs.sample.fitted:FittedSampler",
    options=(
        JobOption(
            "by_label",
            bool,
            False,
            "",
            "learn each kind of picture by itself, by the labels of the data set or the folders "
            "that pictures are in.",
        ),
    ),
)
