"""Compare an archive with other formats, and say whether its model pays for itself."""

from convae.baselines.formats import break_even
from convae.jobs.codec.fitted import ArchiveSummary


def compare_formats(summary: ArchiveSummary, peers: dict[str, int], with_model: bool) -> list[str]:
    """The sizes as lines, the smallest first, and a conclusion.

    Args:
        summary: The result of compressing.
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
        lines.append(
            f"Do not use it for these images: {best}, takes less, even without counting the model."
        )
    elif whole >= size:
        lines.append(
            f"The model pays for itself from about {enough:,} such images; for these images alone, "
            f"{best}, takes less."
        )
    else:
        lines.append(f"The model pays for itself from about {enough:,} such images.")
    return lines
