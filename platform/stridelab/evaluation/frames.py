"""Pictures on their way to a file: caption, tiles, film strip and H.264 video."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import imageio.v2 as imageio
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stridelab.evaluation.files import replacing

Frame = NDArray[np.uint8]
"""A picture ``(height, width, 3)``, RGB."""

_CRF = 20
"""Constant rate factor of x264: 18 is visually lossless, 23 the default."""
_PANEL = (17, 24, 39, 165)
_TITLE = (255, 255, 255, 255)
_TEXT = (226, 232, 240, 255)


@contextmanager
def mp4_writer(path: Path, fps: int) -> Iterator[Callable[[Frame], None]]:
    """Give a function that appends a frame to an H.264 MP4 that any browser plays.

    The file appears when the block ends well; an exception inside leaves none behind.

    Args:
        path: MP4 file to write.
        fps: Frames per second [1/s].

    Raises:
        ValueError: There is no frame, or one has a wrong shape.
    """
    count = 0
    with replacing(path) as scratch:
        writer = imageio.get_writer(
            scratch,
            format="FFMPEG",
            fps=fps,
            codec="libx264",
            quality=None,  # or it would be passed to x264 beside the rate factor
            pixelformat="yuv420p",
            macro_block_size=2,
            output_params=["-crf", str(_CRF), "-movflags", "+faststart"],
            ffmpeg_log_level="error",
        )

        def write(frame: Frame) -> None:
            nonlocal count
            _check(frame)
            writer.append_data(frame)
            count += 1

        try:
            yield write
        finally:
            writer.close()
        if count == 0:
            raise ValueError(f"{path}: a video needs at least one frame")


def write_mp4(frames: Iterable[Frame], path: Path, fps: int) -> None:
    """Write ``frames``, each ``(height, width, 3)`` uint8 RGB, as H.264 MP4 in one step.

    Raises:
        ValueError: There is no frame, or one has a wrong shape.
    """
    with mp4_writer(path, fps) as write:
        for frame in frames:
            write(frame)


def film_strip(frames: Sequence[Frame], path: Path, columns: int = 8) -> None:
    """Write a PNG of up to ``columns`` frames side by side, evenly spaced from first to last.

    Wide frames are cropped to their middle, three quarters as wide as high: a camera that follows
    a robot keeps it there.

    Raises:
        ValueError: There is no frame.
    """
    if not frames:
        raise ValueError(f"{path}: a film strip needs at least one frame")
    chosen = np.linspace(0, len(frames) - 1, min(columns, len(frames))).round().astype(int)
    height, full_width = frames[0].shape[:2]
    width = min(full_width, 3 * height // 4)
    left = (full_width - width) // 2
    pitch = width + max(2, width // 100)
    strip = np.full((height, len(chosen) * pitch - (pitch - width), 3), 255, dtype=np.uint8)
    for place, index in enumerate(chosen):
        strip[:, place * pitch : place * pitch + width] = frames[index][:, left : left + width]
    with replacing(path) as scratch:
        Image.fromarray(strip).save(scratch, format="PNG")


def grid_shape(count: int) -> tuple[int, int]:
    """Return rows and columns of the smallest near-square grid with ``count`` places."""
    columns = math.ceil(math.sqrt(count))
    return math.ceil(count / columns), columns


def tile(frames: Sequence[Frame]) -> Frame:
    """Put equally large frames on a near-square grid, row by row; places left over are black."""
    rows, columns = grid_shape(len(frames))
    height, width = frames[0].shape[:2]
    result = np.zeros((rows * height, columns * width, 3), dtype=np.uint8)
    for index, frame in enumerate(frames):
        top, left = index // columns * height, index % columns * width
        result[top : top + height, left : left + width] = frame
    return result


def caption(frame: Frame, title: str, lines: Sequence[tuple[str, str, str | None]]) -> Frame:
    """Return the frame with a translucent panel at the top left.

    Args:
        frame: ``(height, width, 3)``.
        title: Bold first line.
        lines: Name and value of each line below, and the colour of a dot before it or None; values
            are aligned at their right end.
    """
    size = max(9, round(frame.shape[0] / 34))
    bold, plain = font("DejaVuSans-Bold.ttf", size), font("DejaVuSans.ttf", size)
    pad, line = round(0.7 * size), round(1.5 * size)
    names = max((plain.getlength(name) for name, _, _ in lines), default=0.0)
    values = max((plain.getlength(value) for _, value, _ in lines), default=0.0)
    indent = size if any(colour for _, _, colour in lines) else 0
    width = max(bold.getlength(title), indent + names + size + values, 12.0 * size) + 2 * pad
    height = line * (1 + len(lines)) + 2 * pad - (line - size)
    image = Image.fromarray(frame).convert("RGBA")
    panel = Image.new("RGBA", image.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(panel)
    left, top = pad, pad
    draw.rounded_rectangle((left, top, left + width, top + height), size // 2, fill=_PANEL)
    draw.text((left + pad, top + pad), title, font=bold, fill=_TITLE, anchor="lt")
    for index, (name, value, colour) in enumerate(lines, start=1):
        y = top + pad + index * line + size
        if colour is not None:
            x, middle, radius = left + pad + 0.3 * size, y - 0.37 * size, 0.32 * size
            box = (x - radius, middle - radius, x + radius, middle + radius)
            draw.ellipse(box, fill=colour, outline=_TEXT)
        draw.text((left + pad + indent, y), name, font=plain, fill=_TEXT, anchor="ls")
        draw.text((left + width - pad, y), value, font=plain, fill=_TEXT, anchor="rs")
    return np.asarray(Image.alpha_composite(image, panel).convert("RGB"))


def _check(frame: Frame) -> None:
    """Refuse what x264 cannot take, before ffmpeg ends with a message that helps nobody."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"frame is {frame.dtype} {frame.shape}; uint8 (h, w, 3) is needed")
    if frame.shape[0] % 2 or frame.shape[1] % 2:
        raise ValueError(f"frame is {frame.shape[1]} x {frame.shape[0]}; sides must be even")


@lru_cache(maxsize=8)
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Load a font that comes with matplotlib, so that none has to be installed."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
