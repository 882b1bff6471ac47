"""The training script of Loom Mini: every stage runs, and a run that was stopped ends where an unbroken one ends."""

import random
import subprocess
import sys
from pathlib import Path

import comfy.utils
import pytest
import torch
from host.checkout import ROOT
from loom_mini.trainer import Plan, Trainer, averages_of

SCRIPT = ROOT / "demo" / "loom_mini" / "train.py"
STAGES = {
    "vae": ["--steps", "1", "--batch", "2"],
    "latents": ["--steps", "1", "--batch", "2"],
    "image": ["--steps", "1", "--batch", "2", "--bf16"],
    "motion": ["--steps", "1", "--batch", "1"],
    "decoder": ["--steps", "1", "--batch", "2"],
    "evaluate": ["--steps", "1", "--batch", "1"],
    "export": [],
}
PLAN = Plan(steps=6, batch=3, rate=0.1, warm_up=2, average=0.5, report_every=100, save_every=1)


class PowerCut(Exception):
    """Ends a training run between two steps."""


def train(file: Path, ends_before: int = PLAN.steps) -> torch.Tensor:
    """The averaged weights of a tiny module after training that may be stopped."""
    torch.manual_seed(0)
    module = torch.nn.Linear(4, 2)
    trainer = Trainer(module, PLAN, file)

    def loss(generator: random.Random) -> torch.Tensor:
        if trainer.step == ends_before:
            raise PowerCut
        scale = generator.random()
        return (module(torch.randn(PLAN.batch, 4)) - scale).square().mean()

    trainer.train(loss, lambda averages: "")
    return averages_of(file)["weight"]


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path):
    whole = train(tmp_path / "whole.pt")
    with pytest.raises(PowerCut):
        train(tmp_path / "stopped.pt", ends_before=3)
    assert not torch.equal(averages_of(tmp_path / "stopped.pt")["weight"], whole)
    assert torch.equal(train(tmp_path / "stopped.pt"), whole)


@pytest.mark.timeout(1800)
def test_every_stage_runs_and_the_files_are_those_of_the_shipped_model(tmp_path: Path, tree: Path):
    for stage, options in STAGES.items():
        command = [sys.executable, SCRIPT, stage, "--host", tree, "--folder", tmp_path, *options]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    for name in ("loom_mini.safetensors", "loom_mini_motion.safetensors"):
        made, shipped = (comfy.utils.load_torch_file(str(folder / name)) for folder in (tmp_path, SCRIPT.parent))
        assert {key: tensor.shape for key, tensor in made.items()} == {key: t.shape for key, t in shipped.items()}
    sheets = {file.stem for file in tmp_path.glob("*.png")}
    assert sheets == {"vae_00001", "image_00001", "motion_00001", "decoder_00001", "evaluation_1"}
