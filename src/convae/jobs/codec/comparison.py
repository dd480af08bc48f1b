"""How an archive stands beside other ways to keep the same images, and whether its model pays."""

from convae.baselines.formats import break_even
from convae.jobs.codec.fitted import ArchiveSummary


def compare_formats(summary: ArchiveSummary, peers: dict[str, int], with_model: bool) -> list[str]:
    """The sizes in sentences, the smallest first, and what follows from them.

    Args:
        summary: What compressing came to.
        peers: Bytes by format, as `convae.baselines.formats.FormatSizes` counts them.
        with_model: Whether the model is in the archive.
    """
    packed = summary.num_bytes - (summary.model_bytes if with_model else 0)
    whole = packed + summary.model_bytes
    ours = {"convae, without the model": packed, "convae, with the model": whole}
    rows = sorted({**ours, **peers}.items(), key=lambda row: row[1])
    lines = [f"  {size:>14,} bytes  {name}" for name, size in rows]
    best, size = min(peers.items(), key=lambda row: row[1])
    enough = break_even(summary.model_bytes, packed / summary.num_images, size / summary.num_images)
    if enough is None:
        lines.append(f"Do not use it for these images: {best}, takes less, the model not counted.")
    elif whole >= size:
        lines.append(
            f"The model, counted once, is paid for from about {enough:,} such images on; for these "
            f"alone {best}, takes less."
        )
    else:
        lines.append(f"The model, counted once, is paid for from about {enough:,} such images on.")
    return lines
