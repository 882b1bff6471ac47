"""Image To Video on a tiny UNet and the VAE of Loom Mini, in the host's own patcher and samplers."""

import logging

import pytest
import torch
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.motion_modules.run_state import CONDITIONS
from animatediff_loom.nodes.image_to_video import ImageToVideo
from animatediff_loom.nodes.load_loom_mini import LoadLoomMini
from animatediff_loom.sampling.image_to_video.pictures import fit_size
from animatediff_loom.sampling.image_to_video.release import hold_frames

from tests.sampling.image_to_video.test_affinity import pictures
from tests.support.host import tiny_model
from tests.support.motion_files import pia_file
from tests.support.motion_models import apply_motion, apply_windows, load_motion
from tests.support.sampling import ksampler, random_pictures
from tests.support.texts import expect_error

LENGTH, SIZE = 6, 64
AUTO, NOISED = {"method": "auto"}, {"method": "noised latents", "reach": 1}


@pytest.fixture(scope="module")
def vae():
    return LoadLoomMini.execute().result[2]


@pytest.fixture(scope="module")
def pia():
    return apply_motion(tiny_model(), motion_model_from_tensors(pia_file(), "pia.ckpt"))


@pytest.fixture(scope="module")
def plain():
    return apply_motion(tiny_model(), load_motion())


def make(model, vae, method=AUTO, size=(SIZE, SIZE), length=LENGTH, **inputs):
    inputs = inputs or {"start_image": random_pictures(1)}
    return ImageToVideo.execute(model, vae, *size, length, method, **inputs).result


def pia_condition(model):
    return model.model_options["transformer_options"][CONDITIONS]["pia"]


def test_pia_gets_the_picture_and_the_clip_starts_from_noise(pia, vae, caplog):
    picture = random_pictures(1)
    with caplog.at_level(logging.INFO):
        model, latent = make(pia, vae, start_image=picture)
    assert "Image To Video: PIA, 1 picture at frame 0, 'moderate' motion" in caplog.text
    assert latent["samples"].shape == (LENGTH, 4, 8, 8) and not latent["samples"].any()
    reference = pia_condition(model)
    assert reference.affinities == (1.0, 0.8, 0.8, 0.8, 0.79, 0.78)
    torch.testing.assert_close(reference.latents, 0.18215 * vae.encode(picture))
    other, _ = make(pia, vae, start_image=random_pictures(1, seed=1))
    ours, theirs, again = (ksampler(each, LENGTH, steps=1) for each in (model, other, model))
    assert torch.equal(ours, again) and not torch.equal(ours, theirs)
    assert CONDITIONS not in pia.model_options["transformer_options"]


def test_more_pictures_than_frames_are_refused(pia, vae):
    with expect_error("`images` has 8 pictures, but the clip has 6 frames", "at most 6", "`length` to 8"):
        make(pia, vae, images=random_pictures(8))


def test_the_curve_is_not_read_for_another_motion(pia, vae):
    model, _ = make(pia, vae, {"method": "PIA", "motion": "moderate", "affinity_curve": "none"})
    assert pia_condition(model).affinities == (1.0, 0.8, 0.8, 0.8, 0.79, 0.78)


def test_pia_with_its_own_inputs(pia, vae):
    choice = {"method": "PIA", "motion": "curve", "affinity_curve": "0: 0.5, 5: 1.0", "start_from_pictures": True}
    both = {"start_image": random_pictures(1), "end_image": random_pictures(1, seed=1), "end_strength": 0.5}
    model, latent = make(pia, vae, choice, **both)
    reference = pia_condition(model)
    assert reference.pictures == (0, 0, 0, 1, 1, 1)
    assert reference.affinities == pytest.approx((0.5, 0.6, 0.7, 0.4, 0.45, 0.5))
    torch.testing.assert_close(latent["samples"] * 0.18215, reference.latents[list(reference.pictures)])
    assert ksampler(model, LENGTH, steps=1, latent_image=latent, denoise=0.5).isfinite().all()


def test_in_context_windows_every_frame_of_a_long_clip_has_its_own_likeness(pia, vae):
    """Two windows of 4 in a clip of 7 share a frame; the last one follows a picture of its own."""
    both = {"start_image": random_pictures(1), "end_image": random_pictures(1, seed=1)}
    clips = []
    for end_strength in (1.0, 0.5):
        model, latent = make(apply_windows(pia, length=4), vae, length=7, end_strength=end_strength, **both)
        clips.append(ksampler(model, 7, steps=1, latent_image=latent))
    changed = (clips[0] - clips[1]).abs().amax((1, 2, 3)) > 0
    assert changed.tolist() == [False] * 3 + [True] * 4


def test_without_pia_a_picture_is_held_exactly_and_the_others_move(plain, vae, caplog):
    start, end = random_pictures(1), random_pictures(1, seed=1)
    with caplog.at_level(logging.INFO):
        model, latent = make(plain, vae, start_image=start, end_image=end)
    assert "noised latents, pictures at frames 0, 5: 2 of 6 frames stay as their picture" in caplog.text
    clip = ksampler(model, LENGTH, steps=3, latent_image=latent)
    torch.testing.assert_close(clip[[0, -1]], torch.cat([vae.encode(start), vae.encode(end)]), rtol=0, atol=1e-4)
    assert all((clip[frame] - latent["samples"][frame]).abs().max() > 0.1 for frame in range(1, 5))


class Free:
    """Records in each step which frames the sampler is free to change, by the mask on the model."""

    def __init__(self, function):
        self.function, self.steps = function, []

    def __call__(self, sigma, denoise_mask, extra_options):
        mask = self.function(sigma, denoise_mask, extra_options)
        self.steps.append([bool(value) for value in mask[:, 0, 0, 0]])
        return mask


@pytest.mark.parametrize("scheduler", ("normal", "karras"))
def test_frames_are_let_go_one_after_another_and_the_picture_never(plain, vae, scheduler):
    """Held by 1, 0.75, 0.5, 0.25, 0, 0 of the timesteps, so one after another over the eight steps."""
    model, latent = make(plain, vae, {"method": "noised latents", "reach": 4})
    assert latent["noise_mask"][:, 0, 0, 0].tolist() == [0, 0.25, 0.5, 0.75, 1, 1]
    recorder = Free(model.model_options["denoise_mask_function"])
    recorded = model.clone()
    recorded.set_model_denoise_mask_function(recorder)
    ksampler(recorded, LENGTH, steps=8, latent_image=latent, scheduler=scheduler)
    counts = torch.tensor(recorder.steps).sum(0).tolist()
    assert counts[0] == 0 < counts[1] < counts[2] < counts[3] < counts[4] == counts[5] == 8
    if scheduler == "normal":
        assert counts == [0, 2, 4, 6, 8, 8]


def test_holds_by_hand():
    holds, holders = hold_frames(pictures(0, 6, length=8, strengths=(1.0, 0.5)), reach=4)
    assert holds == [1, 0.75, 0.5, 0.25, 0.25, 0.375, 0.5, 0.375]
    assert holders == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_picture_of_strength_0_is_the_same_as_none(pia, plain, vae):
    both = {"start_image": random_pictures(1), "end_image": random_pictures(1, seed=1), "end_strength": 0.0}
    for model in (pia, plain):
        ours, theirs = make(model, vae, **both), make(model, vae, start_image=both["start_image"])
        assert all(torch.equal(ours[1][name], theirs[1][name]) for name in ours[1])
    assert pia_condition(make(pia, vae, **both)[0]).affinities == pia_condition(make(pia, vae)[0]).affinities


@pytest.mark.parametrize(
    ("text", "frames", "strengths"),
    (
        ("", (0, 2, 5), (1, 1, 1)),
        ("0, 3: 0.5, 100%", (0, 3, 5), (1, 0.5, 1)),
        ("4\n1\uff1a.2\uff0c0", (0, 1, 4), (1, 0.2, 1)),
    ),
)
def test_a_batch_of_pictures_for_listed_frames(pia, vae, text, frames, strengths):
    images = random_pictures(3)
    model, _ = make(pia, vae, images=images, image_frames=text)
    reference = pia_condition(model)
    places = [reference.pictures.index(number) for number in range(3)]
    assert [reference.affinities[frame] for frame in frames] == pytest.approx(strengths)
    assert len(places) == 3
    order = [2, 1, 0] if text.startswith("4") else [0, 1, 2]
    torch.testing.assert_close(reference.latents, 0.18215 * vae.encode(images[order]))


def test_pictures_of_other_shapes_cover_the_clip_and_lose_their_edges():
    wide = torch.zeros(1, 40, 120, 4)
    wide[:, :, 40:80, 0] = 1.0
    fitted = fit_size(wide, 64, 64)
    assert fitted.shape == (1, 64, 64, 3)
    torch.testing.assert_close(fitted[..., 0], torch.ones(1, 64, 64))


TWO = {"images": random_pictures(2)}


@pytest.mark.parametrize(
    ("inputs", "faults"),
    (
        ({"start_strength": 0.0, "start_image": random_pictures(1)}, ["no picture with a strength above 0"]),
        ({"image_frames": "0"}, ["no picture with a strength above 0", "Connect `start_image`"]),
        (TWO | {"image_frames": "0, 1, 2"}, ["`images` has 2 pictures, but `image_frames` lists 3 frames"]),
        (TWO | {"image_frames": "0, 6"}, ["for frame 6, but the clip has the frames 0 to 5", "raise `length`"]),
        (TWO | {"image_frames": "3, 3"}, ["Two pictures are for frame 3"]),
        (TWO | {"image_frames": "0, last"}, ["`image_frames` has 'last' in line 1, column 4", "such as `8: 0.5`"]),
        (TWO | {"image_frames": "0: 2, 1"}, ["`image_frames` has the strength 2", "0 to 1"]),
        ({"start_image": random_pictures(1), "start_strength": 1.5}, ["`start_strength` has the strength 1.5"]),
    ),
)
def test_pictures_that_do_not_fit_the_clip_are_refused(pia, vae, inputs, faults):
    with expect_error(*faults):
        make(pia, vae, **inputs)


def test_methods_that_do_not_fit_the_model_are_refused(pia, plain, vae):
    with expect_error("`method` is 'PIA', but no PIA motion model acts on the model", "Set `method` to 'auto'"):
        make(plain, vae, {"method": "PIA"})
    with expect_error("`method` is 'noised latents', but the motion model on the model is of the kind PIA"):
        make(pia, vae, NOISED)


def test_a_missing_vae_is_refused(pia):
    with expect_error("the checkpoint has no VAE", "Connect Load VAE"):
        make(pia, None)


def test_a_vae_of_another_model_is_refused(vae):
    class Wide:
        """A VAE with the latents of Stable Diffusion 3."""

        def encode(self, pixels):
            return vae.encode(pixels).repeat(1, 4, 1, 1)

    with expect_error("`vae` makes latents of the shape [1, 16, 8, 8]", "needs 4 channels"):
        make(apply_motion(tiny_model(), load_motion()), Wide())


def test_the_latent_of_another_clip_is_refused_with_the_node_that_has_the_right_one(pia, vae):
    model, _ = make(pia, vae)
    with expect_error("The latent has 4 frames, but the pictures of PIA are for a clip of 6"):
        ksampler(model, 4, steps=1)
