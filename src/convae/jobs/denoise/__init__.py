"""Take noise away, learned from clean pictures to which it was added, or from noisy ones alone.

fitted.py       what a fitted denoiser does, with arrays.py, level.py and stored.py
denoiser.py     how it is fitted, with noise.py, patches.py and blind.py
pictures.py     the folder that `convae denoise` leaves
"""

from convae.jobs.kind import JobKind, JobOption

DEFAULT_NOISE, DEFAULT_STRENGTH, DEFAULT_STEPS = "gaussian", 0.5, 14_000

JOB = JobKind(
    name="denoising",
    summary="Learn to take noise away from pictures like these, which are clean (`denoise`).",
    what="a denoiser",
    estimator="convae.jobs.denoise.denoiser:Denoiser",
    fitted="convae.jobs.denoise.fitted:FittedDenoiser",
    options=(
        JobOption(
            "noise",
            str,
            DEFAULT_NOISE,
            "KIND",
            "gaussian, poisson, speckle, salt-and-pepper, blur or blocks.",
        ),
        JobOption(
            "strength",
            float,
            DEFAULT_STRENGTH,
            "S",
            "the strongest noise, from 0 to 1: the standard deviation, or the share of values.",
        ),
        JobOption(
            "blind",
            bool,
            False,
            "",
            "the pictures are noisy ones; the noise is gaussian, and its strength is found.",
        ),
        JobOption("steps", int, DEFAULT_STEPS, "N", "steps of training the denoiser."),
    ),
)
