"""Layouts of folders in which not all pictures are ones to train on."""

import os
from pathlib import Path

from convae.errors import DataError
from convae.storage.files import printable

# What people call the subfolders, in small letters.
MASKS = {"mask", "masks", "ground_truth", "groundtruth", "gt", "annotations", "segmentation"}
NORMAL = {"normal", "good", "ok", "no_defect", "non_defective", "healthy"}
ANOMALOUS = {
    "abnormal", "anomaly", "anomalies", "anomalous", "bad", "broken", "defect", "defective",
    "defects", "faulty", "ng", "not_ok",
}  # fmt: skip


def check_training_folder(data: str | os.PathLike[str], *, for_anomalies: bool) -> None:
    """Refuse a folder that holds, beside pictures to train on, masks or anomalies.

    Args:
        data: What is to be trained on; anything but a folder passes.
        for_anomalies: Whether a detector is trained, which learns from normal images alone.

    Raises:
        DataError: There are such subfolders; it says which to pass instead.
    """
    folder = Path(data)
    try:
        subfolders = sorted(path.name for path in folder.iterdir() if path.is_dir())
    except (OSError, ValueError):  # no folder, or one whose reading will say what is wrong
        return
    if "train" in subfolders:
        return
    others = [name for name in subfolders if not name.startswith(".")]
    masks = [name for name in others if name.lower() in MASKS]
    anomalous = [name for name in others if name.lower() in ANOMALOUS] if for_anomalies else []
    kept = [name for name in others if name not in (*masks, *anomalous)]
    if not kept or not (masks or anomalous):
        return
    what = " and ".join([*(["anomalies"] if anomalous else []), *(["masks"] if masks else [])])
    best = next((name for name in kept if name.lower() in NORMAL), kept[0])
    beside, left = (", ".join(map(printable, names)) for names in ((*anomalous, *masks), kept))
    raise DataError(
        f"A folder to train on must hold pictures of one kind; {printable(folder)} has {beside} "
        f"beside {left}, which look like {what}. Pass the folder to learn from, as in "
        f"{printable(folder / best)}, or move the others elsewhere."
    )
