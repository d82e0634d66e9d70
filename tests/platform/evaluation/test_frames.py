"""Frames on their way to files: the MP4 is read back and compared."""

from __future__ import annotations

import imageio.v3 as iio
import numpy as np
import pytest

from stridelab.evaluation.frames import caption, film_strip, grid_shape, tile, write_mp4


def grey(value, height=32, width=48):
    return np.full((height, width, 3), value, dtype=np.uint8)


class TestMp4:
    def test_frames_come_back(self, tmp_path):
        path = tmp_path / "sub" / "video.mp4"
        levels = [20, 60, 100, 140, 180, 220]
        write_mp4((grey(level) for level in levels), path, fps=10)
        frames = iio.imread(path, plugin="FFMPEG")
        assert frames.shape == (6, 32, 48, 3)
        np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), levels, atol=4)

    def test_codec_and_rate(self, tmp_path):
        path = tmp_path / "video.mp4"
        write_mp4([grey(9)] * 4, path, fps=25)
        facts = iio.immeta(path, plugin="FFMPEG")
        assert facts["codec"] == "h264"
        assert facts["fps"] == 25
        assert "yuv420p" in facts["pix_fmt"]

    def test_broken_source_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "video.mp4"
        path.write_bytes(b"old")

        def frames():
            yield grey(1)
            raise RuntimeError("simulation failed")

        with pytest.raises(RuntimeError, match="simulation failed"):
            write_mp4(frames(), path, fps=25)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize(
        ("frames", "message"),
        [
            ([], "at least one frame"),
            ([grey(0, height=31)], "even"),
            ([grey(0).astype(float)], "uint8"),
            ([grey(0)[..., 0]], "uint8"),
        ],
    )
    def test_refusals(self, tmp_path, frames, message):
        with pytest.raises(ValueError, match=message):
            write_mp4(frames, tmp_path / "video.mp4", fps=25)
        assert not list(tmp_path.iterdir())


class TestFilmStrip:
    def test_shows_first_to_last_evenly(self, tmp_path):
        path = tmp_path / "strip.png"
        film_strip([grey(10 * i) for i in range(15)], path, columns=8)
        strip = iio.imread(path)
        # Height 32 crops 48 to 24; eight pictures, seven gaps of 2.
        assert strip.shape == (32, 8 * 24 + 7 * 2, 3)
        assert strip[0, 12::26, 0].tolist() == [0, 20, 40, 60, 80, 100, 120, 140]

    def test_crops_to_the_middle(self, tmp_path):
        frame = grey(0)
        frame[:, 12:36] = 200
        film_strip([frame], tmp_path / "strip.png")
        assert (iio.imread(tmp_path / "strip.png") == 200).all()

    def test_no_frames(self, tmp_path):
        with pytest.raises(ValueError, match="at least one"):
            film_strip([], tmp_path / "strip.png")


class TestTile:
    @pytest.mark.parametrize(
        ("count", "shape"), [(1, (1, 1)), (2, (1, 2)), (3, (2, 2)), (5, (2, 3)), (9, (3, 3))]
    )
    def test_grid(self, count, shape):
        assert grid_shape(count) == shape

    def test_row_by_row(self):
        whole = tile([grey(1), grey(2), grey(3)])
        assert whole.shape == (64, 96, 3)
        assert [whole[0, 0, 0], whole[0, 48, 0], whole[32, 0, 0], whole[32, 48, 0]] == [1, 2, 3, 0]


class TestCaption:
    def test_panel_covers_the_top_left_alone(self):
        frame = grey(128, 480, 640)
        result = caption(frame, "task", [("time", "1.00 s", None)])
        changed = (result != frame).any(axis=-1)
        rows, columns = np.nonzero(changed)
        assert (rows.max(), columns.max()) < (100, 320)
        assert (frame == 128).all()
        # White letters on a dark panel.
        assert result.max() == 255
        assert result[changed].mean() < 128

    def test_text_shows(self):
        frame = grey(128, 480, 640)
        one = caption(frame, "task", [("time", "1.00 s", None)])
        two = caption(frame, "task", [("time", "7.35 s", None)])
        assert (one != two).any()
