"""ControlNets and adapters of the host, with a picture for every frame, on an animated model."""

import pytest
import torch

import nodes
from tests.support.sampling import (
    FRAMES,
    apply_control,
    call,
    control_net,
    distance,
    ksampler,
    prompt,
    random_pictures,
    t2i_adapter,
)


@pytest.mark.parametrize("make", [control_net, t2i_adapter])
def test_a_picture_for_every_frame(model, moving, still, make):
    net, images = make(), random_pictures()
    plain, clip = (ksampler(m, **apply_control(net, images)) for m in (model, moving))
    assert clip.isfinite().all()
    assert torch.equal(ksampler(still, **apply_control(net, images)), plain)
    assert distance(clip, plain) > 1e-3
    assert distance(clip, ksampler(moving)) > 1e-3
    assert distance(clip, ksampler(moving, **apply_control(net, images.flip(0)))) > 1e-4


def test_one_picture_for_all_frames(moving):
    net, image = control_net(), random_pictures(1)
    clip = ksampler(moving, **apply_control(net, image))
    assert distance(clip, ksampler(moving, **apply_control(net, image.repeat(FRAMES, 1, 1, 1)))) < 1e-5


def test_a_controlnet_on_the_positive_prompt_alone(model, moving, still):
    """Conds with and without control are evaluated separately."""
    node, net = nodes.ControlNetApply, control_net()
    positive = call(node, conditioning=prompt(2), control_net=net, image=random_pictures(), strength=0.5)
    negative = prompt(3)
    clip = ksampler(moving, positive=positive, negative=negative)
    assert torch.equal(ksampler(still, positive=positive), ksampler(model, positive=positive))
    assert distance(clip, ksampler(moving)) > 1e-3


def test_a_controlnet_for_a_part_of_the_schedule(moving):
    early = ksampler(moving, steps=4, **apply_control(control_net(), random_pictures(), end=0.5))
    whole = ksampler(moving, steps=4, **apply_control(control_net(), random_pictures()))
    assert early.isfinite().all()
    assert distance(early, whole) > 1e-4
    assert distance(early, ksampler(moving, steps=4)) > 1e-4
