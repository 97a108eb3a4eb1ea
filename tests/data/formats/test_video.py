import os
import pickle

import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.video import VideoFrames, is_video
from facedistill.runtime.image_file import DamagedImage


def write_video(path, count=12, codec="MJPG"):
    """Frame number k is grey of 20 k."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (64, 48))
    assert writer.isOpened()
    for number in range(count):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path


def test_every_nth_frame_whatever_the_order(tmp_path):
    frames = VideoFrames(write_video(tmp_path / "clip.avi"), every=5)
    assert frames.frames.tolist() == [0, 5, 10]
    for index in (2, 0, 1, 2):
        image = frames[index].image
        assert image.shape == (48, 64, 3)
        assert abs(image.mean() - 100 * index) < 4
    assert frames.where(1) == f"{tmp_path / 'clip.avi'} frame 5"
    assert frames.copy_name(1) == "clip-000005"
    assert (frames.labels == -1).all()


def test_another_process_opens_the_file_for_itself(tmp_path):
    frames = VideoFrames(write_video(tmp_path / "clip.avi"))
    _ = frames[3]
    again = pickle.loads(pickle.dumps(frames))
    np.testing.assert_array_equal(again[4].image, frames[4].image)


def test_what_is_no_video_is_refused(tmp_path):
    assert is_video("a.MP4")
    assert not is_video("a.jpg")
    (tmp_path / "list.mp4").write_text("#EXTM3U\nhttp://192.0.2.1/a.ts\n")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, message in [
        ("list.mp4", "not a video that OpenCV reads"),
        ("pipe.mp4", "is a pipe"),
        ("absent.mp4", "no such video"),
    ]:
        with pytest.raises(FacedistillError, match=message):
            VideoFrames(tmp_path / name)
    with pytest.raises(FacedistillError, match="--every 0"):
        VideoFrames(tmp_path / "list.mp4", every=0)


def test_a_frame_that_cannot_be_read_is_named(tmp_path):
    path = write_video(tmp_path / "clip.avi")
    frames = VideoFrames(path)
    frames.frames[-1] = 500
    with pytest.raises(DamagedImage, match=r"clip\.avi frame 500: the frame cannot be read"):
        _ = frames[-1]
