"""Images as inputs: decoded by Pillow, resized to the input's height and width."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salver.core.data_type import DataType
from salver.core.signature import TensorSpec
from salver.errors import FailedPrecondition, InvalidArgument, NotFound

SCALES = ("0..255", "0..1", "-1..1")
"""What black and white become."""
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """What the user says about images."""

    scale: str = "0..255"
    size: tuple[int, int] | None = None
    """Height and width, for inputs that leave them open."""


@dataclass(frozen=True, slots=True)
class _Form:
    height: int
    width: int
    channels: int
    channels_first: bool
    batched: bool


def image_input(name: str, pattern: str, spec: TensorSpec, options: ImageOptions) -> np.ndarray:
    """Files of images, `a.png,b.jpg` or `photos/*.jpg`, as one array, one image a row.

    An input of strings gets the files as they are: such models decode for themselves.

    Raises:
        NotFound: there is no such file.
        FailedPrecondition: Pillow is not installed.
        InvalidArgument: a file is no image, or the input is none of images.
    """
    paths = _paths(pattern)
    if spec.data_type is DataType.STRING:
        return _as_they_are(paths, spec)
    form = _form(name, spec, options)
    if not form.batched and len(paths) > 1:
        raise InvalidArgument(f"input {name!r} takes one image, but {len(paths)} files are given")
    images = np.stack([_decoded(path, form) for path in paths])
    scaled = _scaled(name, images, spec, options.scale)
    return scaled if form.batched else scaled[0]


def _paths(pattern: str) -> list[str]:
    paths: list[str] = []
    for part in pattern.split(","):
        found = sorted(glob.glob(part)) if glob.has_magic(part) else [part]
        if not found:
            raise NotFound(f"no file is named like {part}")
        paths += found
    return paths


def _as_they_are(paths: Sequence[str], spec: TensorSpec) -> np.ndarray:
    files = np.empty(len(paths), object)
    for place, path in enumerate(paths):
        try:
            with open(path, "rb") as file:
                files[place] = file.read()
        except FileNotFoundError as error:
            raise NotFound(f"{path}: there is no such file") from error
        except OSError as error:
            raise InvalidArgument(f"{path}: {error.strerror}") from error
    if spec.shape == () and len(files) == 1:
        return files.reshape(())
    return files[:, np.newaxis] if spec.shape is not None and len(spec.shape) == 2 else files


def _form(name: str, spec: TensorSpec, options: ImageOptions) -> _Form:
    """Where height, width and channels are in the shape: NHWC, HWC, NCHW or CHW."""
    shape = spec.shape or ()
    if len(shape) not in (3, 4):
        raise InvalidArgument(
            f"input {name!r} is none of images: those have a height, a width and channels"
        )
    sizes = shape[-3:]
    first = sizes[0] in _MODES and sizes[2] not in _MODES
    height, width = sizes[1:] if first else sizes[:2]
    channels = sizes[0] if first else sizes[2]
    if options.size is not None:
        wanted = options.size
        if height not in (-1, wanted[0]) or width not in (-1, wanted[1]):
            raise InvalidArgument(
                f"--image_size is {wanted[0]}x{wanted[1]}, but input {name!r} takes images of "
                f"{height}x{width}".replace("-1", "?")
            )
        height, width = wanted
    if height < 1 or width < 1:
        raise InvalidArgument(
            f"input {name!r} takes images of any size: say which, --image_size=HEIGHTxWIDTH"
        )
    if channels == -1:
        channels = 3
    if channels not in _MODES:
        raise InvalidArgument(f"input {name!r} has {channels} channels; images have 1, 3 or 4")
    return _Form(height, width, channels, first, len(shape) == 4)


def _decoded(path: str, form: _Form) -> np.ndarray:
    """One image as uint8, in the order of the input's axes."""
    pillow, operations = _pillow()
    try:
        with pillow.open(path) as opened:
            # As it is to be looked at: cameras say how they were held.
            upright = operations.exif_transpose(opened)
            image = _eight_bits(upright).convert(_MODES[form.channels])
            resized = image.resize((form.width, form.height), pillow.Resampling.BILINEAR)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: there is no such file") from error
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise InvalidArgument(f"{path} cannot be read as an image: {error}") from error
    pixels = np.asarray(resized, np.uint8).reshape(form.height, form.width, form.channels)
    return pixels.transpose(2, 0, 1) if form.channels_first else pixels


def _eight_bits(image: Any) -> Any:
    """Images of 16 bits as those of 8; Pillow's own conversion cuts them off at 255."""
    if image.mode.startswith("I"):
        from PIL import Image

        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
    return image


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise FailedPrecondition(
            "images need Pillow, which is not installed: pip install 'salver[images]'"
        ) from error
    return Image, ImageOps


def _scaled(name: str, images: np.ndarray, spec: TensorSpec, scale: str) -> np.ndarray:
    if scale == "0..255":
        return images
    floats = (DataType.HALF, DataType.BFLOAT16, DataType.FLOAT, DataType.DOUBLE)
    if spec.data_type not in floats:
        raise InvalidArgument(
            f"--image_scale={scale} makes fractions, but input {name!r} is "
            f"{spec.data_type.short_name}"
        )
    unit = images.astype(np.float32) / np.float32(255)
    return unit if scale == "0..1" else unit * np.float32(2) - np.float32(1)
