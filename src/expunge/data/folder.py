"""A folder of images, one sub-folder per class: PATH/CLASS/*.png or *.jpg.

PATH/train/CLASS and PATH/test/CLASS are taken as the split where both are there (15 % of train becomes
holdout); else all pictures are divided 70 : 15 : 15 at random.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from expunge.data.pictures import Pictures, Pixels, decoded, opened
from expunge.data.rows import Indices, byte_ids
from expunge.data.splits import SHARE, Request, Splits, drawn, official
from expunge.errors import ProblemError, StoreError

SUFFIXES = (".png", ".jpg", ".jpeg")
GREY, COLOUR = ("1", "L"), ("P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr")


def load_folder(request: Request) -> Splits:
    """`folder:PATH`: inputs `[1, height, width]` where every picture is grey, else `[3, height, width]`.

    Classes are the sub-folders in order of name. Ids are hashes of the files. Mean and standard deviation are
    measured on the training rows that are loaded.

    Raises:
        NeedsError: there is no such folder.
        ProblemError: it holds no pictures, a class of test is not in train, or sizes differ.
        StoreError: a file is no image, or is damaged.
    """
    path = request.given(request.rest)
    split = (path / "train").is_dir() and (path / "test").is_dir()
    train = pictures_in(path / "train" if split else path)
    test = pictures_in(path / "test") if split else []
    classes = tuple(sorted({file.parent.name for file in train}))
    strange = sorted({file.parent.name for file in test} - set(classes))
    if strange:
        raise ProblemError(f"{path}: expected the classes of train in test too, got {', '.join(strange)}")
    files = train + test
    labels = np.array([classes.index(file.parent.name) for file in files], dtype=np.int64)
    contents = [_bytes(file) for file in files]
    mode = common_mode(files, contents)

    def decode(at: Indices) -> Pixels:
        return np.stack([decoded(contents[i], mode, str(files[i])) for i in at])

    ids = byte_ids(data + b"/" + files[i].parent.name.encode() for i, data in enumerate(contents))
    holdout = len(train) * SHARE // 100
    parts = official(len(train), len(test), holdout=holdout) if split else drawn(len(train))
    return Pictures(labels, ids, classes, decode).splits(request.spec, parts.first(request.first))


def pictures_in(path: Path) -> list[Path]:
    """The pictures of every class below `path`, in order of class and name.

    Raises:
        ProblemError: there are none.
    """
    found = [
        file
        for folder in sorted(path.iterdir() if path.is_dir() else [])
        if folder.is_dir() and not folder.name.startswith(".")
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    if not found:
        raise ProblemError(f"{path}: expected pictures CLASS/*.png or CLASS/*.jpg, got none")
    return found


def common_mode(files: list[Path], contents: list[bytes]) -> str:
    """The mode of all pictures, "L" where every one is grey, else "RGB"; reads headers only.

    Raises:
        ProblemError: a picture has another size than the first, or more than 8 bits a channel.
    """
    grey, first = True, None
    for file, data in zip(files, contents, strict=True):
        picture = opened(data, str(file))
        first = first or picture.size
        if picture.size != first:
            raise ProblemError(
                f"{file}: expected {first[0]} x {first[1]} pixels, as {files[0].name} has, got "
                f"{picture.width} x {picture.height}",
                hint="scale all pictures to one size",
            )
        if picture.mode not in GREY + COLOUR:
            raise ProblemError(f"{file}: expected 8 bits a channel, got mode {picture.mode}")
        grey = grey and picture.mode in GREY
    return "L" if grey else "RGB"


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error.strerror})") from None
