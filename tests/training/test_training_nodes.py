"""Training Clips and the training nodes on Loom Mini: clips from files, all faults at once, files that load again."""

import json
import struct

import av
import numpy
import pytest
import torch
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.motion_modules.files.loading import load_motion_model
from animatediff_loom.motion_modules.files.motion_lora import add_motion_lora, load_motion_lora
from animatediff_loom.nodes.load_loom_mini import LoadLoomMini
from animatediff_loom.nodes.train_motion import TrainMotionLora, TrainMotionModel
from animatediff_loom.nodes.training_clips import TrainingClipsNode
from animatediff_loom.training import encoding, results
from animatediff_loom.training.clip_folder import FrameSettings, fit_picture, read_folder
from animatediff_loom.training.gathering import gather_folder
from PIL import Image
from safetensors import safe_open

from tests.support.motion_models import apply_motion
from tests.support.sampling import ksampler
from tests.support.texts import expect_error

SIZE, LENGTH = 64, 4
SMALL = FrameSettings(LENGTH, 1, SIZE, SIZE)


@pytest.fixture(scope="module")
def loom_mini():
    with torch.inference_mode():
        return LoadLoomMini.execute().result


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Folders of the host in a temporary one."""
    import folder_paths

    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    return tmp_path


def write_video(path, frames: int = 6, size: tuple[int, int] = (SIZE, SIZE), left: int = 0) -> None:
    """Every frame is a little brighter than the one before, and its left half by `left` more."""
    width, height = size
    with av.open(str(path), mode="w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            picture = numpy.full((height, width, 3), 20 + 30 * number, numpy.uint8)
            picture[:, : width // 2] += left
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_pictures(folder, frames: int = LENGTH, size: int = SIZE) -> None:
    folder.mkdir()
    for number in range(frames):
        Image.new("RGB", (2 * size, size), (40 * number, 0, 0)).save(folder / f"{number:03}.png")


def test_videos_and_folders_of_pictures_become_clips(tmp_path):
    write_video(tmp_path / "walk.mp4")
    write_pictures(tmp_path / "turn", frames=7)
    (tmp_path / "walk.txt").write_text("a walk\n", encoding="utf-8")
    (tmp_path / "notes.md").write_text("no clip", encoding="utf-8")
    settings = FrameSettings(3, 2, SIZE, SIZE, flip=True)
    clips, faults = read_folder(tmp_path, settings, ["something else"] * 2)
    assert faults == []
    assert [clip.name for clip in clips] == ["turn", "turn (mirrored)", "walk.mp4", "walk.mp4 (mirrored)"]
    assert [clip.caption for clip in clips] == ["something else"] * 2 + ["a walk"] * 2
    turn, walk = clips[0].images, clips[2].images
    assert torch.equal(turn[:, 5, 5, 0] * 255, torch.tensor([0.0, 80.0, 160.0]))
    assert walk.shape == (3, SIZE, SIZE, 3)
    assert (walk.mean(dim=(1, 2, 3)) * 255 - torch.tensor([20.0, 80.0, 140.0])).abs().max() < 8


def test_a_video_that_a_phone_turned_is_read_as_players_show_it(tmp_path):
    file = tmp_path / "phone.mp4"
    write_video(file, size=(2 * SIZE, SIZE), left=200)
    written = file.read_bytes()
    matrix = written.index(b"tkhd") + 44
    turned = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)  # a quarter turn clockwise
    file.write_bytes(written[:matrix] + turned + written[matrix + len(turned) :])
    clips, _ = read_folder(tmp_path, FrameSettings(1, 1, SIZE, 2 * SIZE), ["a caption"])
    top, bottom = (half.mean() for half in clips[0].images[0].chunk(2))
    assert top > 0.6 and bottom < 0.2


def test_names_are_sorted_by_the_values_of_their_numbers(tmp_path):
    for clip in ("clip 10", "clip 9"):
        (tmp_path / clip).mkdir()
        for number in (1, 2, 10):
            Image.new("RGB", (SIZE, SIZE), (number, 0, 0)).save(tmp_path / clip / f"frame{number}.png")
    clips, _ = read_folder(tmp_path, FrameSettings(3, 1, SIZE, SIZE), ["", ""])
    assert [clip.name for clip in clips] == ["clip 9", "clip 10"]
    assert [round(255 * float(frame[0, 0, 0])) for frame in clips[0].images] == [1, 2, 10]


@torch.inference_mode()
def test_each_clip_of_a_folder_has_its_own_line_of_captions_or_its_text_file(tmp_path, loom_mini):
    for name in ("a", "b", "c"):
        write_pictures(tmp_path / name)
    (tmp_path / "b.txt").write_text("from a file", encoding="utf-8-sig")
    clips, _ = gather_folder(tmp_path, SMALL, "first\nsecond\nthird\n", *loom_mini[1:3], tmp_path / "cache")
    assert [clip.caption for clip in clips.clips] == ["first", "from a file", "third"]


def test_a_text_file_in_another_encoding_is_one_of_the_faults(tmp_path):
    write_pictures(tmp_path / "turn")
    (tmp_path / "turn.txt").write_bytes("\u65cb\u8f6c".encode("gbk"))
    _, (fault,) = read_folder(tmp_path, SMALL, ["a caption"])
    assert fault.name == "turn" and "'turn.txt' is not UTF-8 text: save it as UTF-8" in fault.problem


def test_pictures_are_cut_around_their_centre():
    picture = torch.zeros(32, 96, 3)
    picture[:, 32:64] = 1.0
    assert fit_picture(picture, 32, 32).min() == 1.0
    assert fit_picture(picture, 64, 64).shape == (64, 64, 3)


@torch.inference_mode()
def test_all_faults_of_a_folder_are_named_at_once(folders, loom_mini):
    _, clip, vae, _ = loom_mini
    folder = folders / "input" / "clips"
    folder.mkdir()
    write_video(folder / "good.mp4")
    (folder / "good.txt").write_text("a walk", encoding="utf-8")
    (folder / "broken.mp4").write_bytes(b"no video")
    write_video(folder / "short.mp4", frames=2)
    write_pictures(folder / "small", size=32)
    source = {"source": "folder", "folder": "clips", "vae": vae, "frame_step": 1, "width": SIZE, "height": SIZE}
    with pytest.raises(LoomError) as error:
        TrainingClipsNode.execute(clip, source | {"flip": False}, LENGTH)
    heading, *rows, remedy = str(error.value).splitlines()
    assert heading.startswith("4 of 4 clips") and remedy == "Correct or remove them."
    assert [row.split()[0] for row in rows] == ["broken.mp4", "short.mp4", "short.mp4", "small"]
    problems = ("not readable", "too short for 4 frames", "no caption", "64 x 32 pixels")
    assert all(problem in row for problem, row in zip(problems, rows, strict=True))
    with expect_error("`folder` is '../output'", "Put one"):
        TrainingClipsNode.execute(clip, source | {"folder": "../output", "flip": False}, LENGTH)


@torch.inference_mode()
def test_a_clip_is_encoded_once(folders, loom_mini, monkeypatch):
    _, clip, vae, _ = loom_mini
    images = torch.rand(2 * LENGTH, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0))
    source = {"source": "images", "images": images, "vae": vae}
    first, sheet = TrainingClipsNode.execute(clip, source, LENGTH, "one\ntwo").result
    assert [each.caption for each in first.clips] == ["one", "two"] and sheet.shape[0] == 1
    assert torch.equal(first.clips[1].latents, vae.encode(images[LENGTH:]))
    monkeypatch.setattr(type(vae), "encode", None)
    again, _ = TrainingClipsNode.execute(clip, source, LENGTH, "three", previous=first).result
    assert [each.caption for each in again.clips] == ["one", "two", "three", "three"]
    assert torch.equal(again.clips[2].latents, first.clips[0].latents)


@torch.inference_mode()
def test_batches_that_are_no_whole_number_of_clips_and_captions_that_do_not_fit_are_refused(loom_mini):
    source = {"source": "latents", "latents": {"samples": torch.zeros(6, 4, 8, 8)}}
    with expect_error("`latents` has 6 frames", "Set `clip_length`"):
        TrainingClipsNode.execute(loom_mini[1], source, LENGTH, "x")
    with expect_error("`captions` has 2 lines for 3 clips", "Write one line"):
        TrainingClipsNode.execute(loom_mini[1], source, 2, "x\ny")


def make_clips(loom_mini):
    latents = torch.randn(LENGTH, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    source = {"source": "latents", "latents": {"samples": latents}}
    return TrainingClipsNode.execute(loom_mini[1], source, LENGTH, "a red circle").result[0]


def train(node, loom_mini, **inputs):
    model, _, _, motion_model = loom_mini
    settings = {"steps": 2, "learning_rate": 0.01, "seed": 1, "objective": {"objective": "debiased"}}
    settings |= {"filename_prefix": "trained/loom", "precision": "float32"} | inputs
    return node.execute(model, motion_model, make_clips(loom_mini), **settings).result


@torch.inference_mode()
def test_trained_lora_is_used_at_once_and_its_file_gives_the_same_clip(folders, loom_mini):
    model, _, _, motion_model = loom_mini
    files = {}
    for file_format in ("AnimateDiff", "diffusers"):
        trained, curve, report = train(TrainMotionLora, loom_mini, rank=2, sites="up.1", file_format=file_format)
        assert curve.shape[0] == 1 and report.startswith("steps: 2\n")
        files[file_format] = folders / "output" / report.partition("saved: ")[2].partition(" in ")[0]
    assert not list((folders / "output" / "loom_training").glob("*"))
    loras = [load_motion_lora(str(file)) for file in files.values()]
    changed = [trained, *(add_motion_lora(motion_model, lora, 1.0) for lora in loras)]
    clips = [sample_small(model, each) for each in changed]
    assert torch.equal(clips[0], clips[1]) and torch.equal(clips[0], clips[2])
    assert not torch.equal(clips[0], sample_small(model, motion_model))
    with safe_open(files["AnimateDiff"], "pt") as opened:
        facts, keys = opened.metadata(), list(opened.keys())
    assert (facts["family"], facts["rank"], facts["steps"], facts["clips"]) == (motion_model.family.name, "2", "2", "1")
    assert json.loads(facts["objective"])["debiased"] is True
    assert "up_blocks.1.motion_modules.0.temporal_transformer.transformer_blocks.0" in keys[0]


@torch.inference_mode()
def test_trained_motion_model_is_used_at_once_and_its_file_gives_the_same_clip(folders, loom_mini):
    trained, _, report = train(TrainMotionModel, loom_mini)
    file = folders / "output" / report.partition("saved: ")[2].partition(" in ")[0]
    clips = [sample_small(loom_mini[0], each) for each in (trained, load_motion_model(str(file)), loom_mini[3])]
    assert torch.equal(clips[0], clips[1]) and not torch.equal(clips[0], clips[2])
    with expect_error("has the motion LoRA 'x_00001_.safetensors'", "Merge it"):
        lora, _, _ = train(TrainMotionLora, loom_mini, steps=1, rank=1, sites="up.0.0", filename_prefix="x")
        TrainMotionModel.execute(loom_mini[0], lora, make_clips(loom_mini), 1, 0.1, {"objective": "noise"}, 0, "x")


@torch.inference_mode()
def test_a_run_whose_file_cannot_be_written_keeps_its_state(folders, loom_mini, monkeypatch):
    def fail(*_):
        raise LoomError("The disk is full.")

    monkeypatch.setattr(results, "write_tensors", fail)
    with pytest.raises(LoomError, match="The disk is full"):
        train(TrainMotionLora, loom_mini, steps=1, rank=1, sites="up.0.0", save_every=1)
    (state,) = (folders / "output" / "loom_training").glob("*")
    assert state.stat().st_size


@torch.inference_mode()
def test_an_interrupted_file_of_latents_is_not_read(tmp_path, loom_mini, monkeypatch):
    def interrupt(tensors, metadata, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    vae, images = loom_mini[2], torch.rand(2, SIZE, SIZE, 3)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encoding, "write_tensors", interrupt)
        encoding.LatentCache(tmp_path, vae).encode(images)
    for _ in range(2):
        assert torch.equal(encoding.LatentCache(tmp_path, vae).encode(images), vae.encode(images))


def sample_small(model, motion_model) -> torch.Tensor:
    text = [[torch.zeros(1, 77, model.model.model_config.unet_config["context_dim"]), {}]]
    return ksampler(apply_motion(model, motion_model), LENGTH, steps=1, positive=text, negative=text)
