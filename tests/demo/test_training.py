"""The training script of Loom Mini: the commands of all pages run, a run that was stopped ends where an unbroken one
ends, and one whose numbers break ends with its checkpoint as it was.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import comfy.utils
import pytest
import torch
from comfy.cli_args import args
from host.checkout import ROOT
from host.errors import SetupError
from loom_mini import train as train_script
from loom_mini import vae_stage
from loom_mini.anomalies import TrainingStopped
from loom_mini.start_weights import image_weights, motion_weights
from loom_mini.trainer import PRECISIONS, Plan, Trainer, load_averages
from torch import nn

from tests.support.texts import check_sentence

SCRIPT = ROOT / "demo" / "loom_mini" / "train.py"
STAGES = {
    "vae": ["--steps", "1", "--batch", "2", "--detect-anomaly"],
    "latents": ["--steps", "1", "--batch", "2"],
    "image": ["--steps", "1", "--batch", "2", "--precision", "bf16"],
    "motion": ["--steps", "1", "--batch", "1", "--checkpointing"],
    "lora": ["--steps", "1", "--batch", "2"],
    "evaluate": ["--steps", "1", "--batch", "1"],
    "export": [],
    "decoder": ["--steps", "1", "--batch", "2"],
}
SMALL = ("--size", "32")
ARCHITECTURE, FOLDERS = "scale_shift", ("trained", "shipped", "empty")
PAGES = [ROOT / "demo" / "loom_mini" / "README.md", *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
COMMAND = re.compile(rf"train\.py\s+((?:{'|'.join(STAGES)})\b[^`\n]*)")
PLAN = Plan(steps=6, batch=3, rate=0.1, warm_up=2, average=0.5, report_every=100, save_every=1)
precisions = pytest.mark.parametrize("precision", PRECISIONS)


class PowerCut(Exception):
    """Ends a training run between two steps."""


def train(file: Path, ends_before: int = PLAN.steps, plan: Plan = PLAN) -> torch.Tensor:
    """The averaged weights of a tiny module after training that may be stopped."""

    def loss(module: nn.Module, step: int, scale: float) -> torch.Tensor:
        if step == ends_before:
            raise PowerCut
        return (module(torch.randn(plan.batch, 4)).float() - scale).square().mean()

    train_by(file, plan, loss)
    return load_averages(file)["layer.weight"]


def train_by(file: Path, plan: Plan, loss: Callable[[nn.Module, int, float], torch.Tensor]) -> None:
    """Trains one linear layer; `loss` gets it, the steps so far and a number that is drawn for each."""
    torch.manual_seed(0)
    module = nn.ModuleDict({"layer": nn.Linear(4, 2)})
    trainer = Trainer(module, plan, file)
    trainer.train(
        lambda generator: loss(module["layer"], trainer.step, generator.random()), lambda averages: "looked at"
    )


@precisions
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(precision, tmp_path: Path):
    plan = replace(PLAN, precision=precision)
    whole = train(tmp_path / "whole.pt", plan=plan)
    with pytest.raises(PowerCut):
        train(tmp_path / "stopped.pt", ends_before=3, plan=plan)
    assert not torch.equal(load_averages(tmp_path / "stopped.pt")["layer.weight"], whole)
    assert torch.equal(train(tmp_path / "stopped.pt", plan=plan), whole)


def test_a_checkpoint_of_another_module_is_refused_until_restart(tmp_path: Path):
    file = tmp_path / "run.pt"
    train(file)
    state = torch.load(file, weights_only=True)
    torch.save(state | {"weights": {"layer.weight": torch.zeros(3, 4)}}, file)
    with pytest.raises(TrainingStopped) as stopped:
        train(file)
    check_sentence(str(stopped.value), "run.pt", "--restart")
    assert torch.equal(train(file, plan=replace(PLAN, restart=True)), train(tmp_path / "whole.pt"))


def test_a_new_autoencoder_needs_an_image_model_of_its_own(tmp_path: Path):
    assert image_weights(tmp_path).keys() >= {
        "unet.out.2.weight",
        "text.clip_l.transformer.text_model.final_layer_norm.bias",
    }
    (tmp_path / "vae.pt").touch()
    with pytest.raises(SetupError) as error:
        image_weights(tmp_path)
    check_sentence(str(error.value), str(tmp_path), "the stage image")
    with pytest.raises(SetupError) as error:
        motion_weights(tmp_path / "motion.pt", "loom_mini_motion.safetensors")
    check_sentence(str(error.value), "motion.pt", "the stage motion")


@precisions
def test_a_checkpoint_of_an_earlier_version_goes_on_in_any_precision(precision, tmp_path: Path):
    file, plan = tmp_path / "old.pt", replace(PLAN, precision=precision)
    with pytest.raises(PowerCut):
        train(file, ends_before=3)
    state = torch.load(file, weights_only=True)
    torch.save({name: state[name] for name in ("step", "optimiser", "averages", "weights")}, file)
    assert (train(file, plan=plan) - train(tmp_path / "whole.pt")).abs().max() < 0.02


def nan_in_the_layer(module: nn.Module, step: int, scale: float) -> torch.Tensor:
    return module(torch.full((1, 4), torch.nan if step == 3 else scale)).sum()


def nan_behind_the_layer(module: nn.Module, step: int, scale: float) -> torch.Tensor:
    return module(torch.ones(1, 4)).sum() * (torch.nan if step == 3 else scale)


def nan_in_the_gradient(module: nn.Module, step: int, scale: float) -> torch.Tensor:
    """The square root has no slope at zero."""
    moved = module(torch.ones(1, 4)).sum()
    return (moved * 0).sqrt() * 0 if step == 3 else moved * scale


BROKEN = {
    nan_in_the_layer: (["loss of step 4 is nan", "--detect-anomaly"], ["step 4", "the layer 'layer'"]),
    nan_behind_the_layer: (["loss of step 4 is nan", "--detect-anomaly"], ["loss of step 4 is nan", "the data"]),
    nan_in_the_gradient: (["gradients of step 4", "--detect-anomaly"], ["step 4", "SqrtBackward0", "warning above"]),
}


@pytest.mark.filterwarnings("ignore:Error detected in SqrtBackward0")
@pytest.mark.parametrize("detects", (False, True), ids=("plain", "detecting"))
@pytest.mark.parametrize("loss", BROKEN, ids=lambda loss: loss.__name__)
def test_numbers_that_break_stop_the_training_and_leave_the_checkpoint(loss, detects, tmp_path: Path):
    file, plan = tmp_path / "broken.pt", replace(PLAN, detect_anomaly=detects)
    with pytest.raises(TrainingStopped) as stopped:
        train_by(file, plan, loss)
    check_sentence(str(stopped.value), *BROKEN[loss][detects])
    state = torch.load(file, weights_only=True)
    assert state["step"] == 3
    assert all(value.isfinite().all() for part in ("weights", "averages") for value in state[part].values())
    assert not torch.is_anomaly_enabled()
    assert not torch.nn.modules.module._global_forward_hooks


def test_in_fp16_a_gradient_that_overflows_costs_one_step(tmp_path: Path):
    file, plan = tmp_path / "overflows.pt", replace(PLAN, precision="fp16", steps=4)

    def loss(module: nn.Module, step: int, scale: float) -> torch.Tensor:
        return module(torch.ones(1, 4)).float().sum() * (1e35 if step == 2 else scale)

    train_by(file, plan, loss)
    state = torch.load(file, weights_only=True)
    assert state["scaler"]["scale"] == 2**15
    assert state["optimiser"]["state"][0]["step"] == 3


def test_the_report_tells_of_the_gradients_before_they_are_clipped(tmp_path: Path, capsys):
    def loss(module: nn.Module, step: int, scale: float) -> torch.Tensor:
        return module(torch.ones(1, 4)).sum() * (1e6 if step == 3 else 1.0)

    train_by(tmp_path / "reported.pt", replace(PLAN, report_every=2, steps=4), loss)
    of_step_2, of_step_4 = capsys.readouterr().out.split("looked at\n")[1:]
    assert of_step_2.splitlines()[0] == "gradients of 1 layers: 1 ok, norm 3.2, largest value 1"
    assert of_step_4.splitlines()[0] == "gradients of 1 layers: 1 exploding"
    assert "clip_grad_norm_" in of_step_4


@pytest.fixture
def command(monkeypatch, tmp_path: Path, tree: Path):
    """Runs train.py in this process, and leaves nothing of what it sets for the whole process."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(args, "use_pytorch_cross_attention", args.use_pytorch_cross_attention)

    def call(stage: str, *options: str) -> None:
        monkeypatch.setattr(sys, "argv", ["train.py", stage, "--host", str(tree), "--folder", str(tmp_path), *options])
        train_script.main()

    yield call
    torch.set_default_device(None)


def test_the_command_ends_with_the_sentence(command, monkeypatch):
    """At a rate that breaks the weights in the first step."""
    monkeypatch.setattr(vae_stage, "PICTURES", 8)
    with pytest.raises(SetupError) as ended:
        command("vae", "--steps", "3", "--batch", "2", "--rate", "1e30")
    check_sentence(str(ended.value).strip(), "step 2", "--detect-anomaly")


def test_checkpointing_of_what_has_no_motion_modules_is_refused(command, capsys):
    with pytest.raises(SystemExit):
        command("image", "--checkpointing")
    assert "the stage image does not train" in capsys.readouterr().err


def list_commands() -> list[tuple[str, ...]]:
    """Return what follows `train.py` on all pages, each command once, in the order of the model card."""
    texts = (page.read_text(encoding="utf-8") for page in PAGES)
    calls = [re.sub(r" --(batch|steps) \d+", "", call) for text in texts for call in COMMAND.findall(text)]
    return list(dict.fromkeys(tuple(re.sub("NAME|my_mixer", ARCHITECTURE, call).split()) for call in calls))


def choose_folder(stage: str, options: list[str]) -> str:
    """Return a folder where a command finds what the pages say: own checkpoints, those of a stage before, or none."""
    if "CHECKPOINTS" in options:
        return "trained"
    return "empty" if stage == "evaluate" and not options else "shipped"


def compare_with_shipped(folder: Path) -> None:
    shipped_files = {file.name: file for file in SCRIPT.parent.rglob("*.safetensors")}
    for file in folder.glob("loom_mini*.safetensors"):
        if file.name in shipped_files:
            exported, shipped = (comfy.utils.load_torch_file(str(path)) for path in (file, shipped_files[file.name]))
            assert {key: t.shape for key, t in exported.items()} == {key: t.shape for key, t in shipped.items()}


def test_the_script_offers_every_precision():
    assert tuple(PRECISIONS) == train_script.PRECISIONS


def test_pages_name_all_commands():
    stages = {command[0] for command in list_commands()}
    assert stages == STAGES.keys() - {"decoder"}
    assert {("motion",), ("motion", "--architecture", ARCHITECTURE)} <= set(list_commands())


@pytest.mark.timeout(1800)
def test_every_command_of_the_pages_runs(command, tmp_path: Path):
    """With few steps; one without --host, by a Python without packages. The files are those of the shipped model."""
    commands = [*list_commands(), ("decoder", "--folder", "CHECKPOINTS")]
    for stage, *options in commands:
        few = [*options, *SMALL, *STAGES[stage], "--folder", str(tmp_path / choose_folder(stage, options))]
        if (stage, *options) == ("motion", "--architecture", ARCHITECTURE):
            done = subprocess.run([sys.executable, "-E", "-S", SCRIPT, stage, *few], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            command(stage, *few)
    trained, shipped, empty = ({file.name for file in (tmp_path / name).iterdir()} for name in FOLDERS)
    assert {"loom_mini.safetensors", "loom_mini_motion.safetensors"} <= trained
    assert {f"loom_mini_{name}.safetensors" for name in ("motion", ARCHITECTURE, "up")} <= shipped
    assert empty == {"evaluation_1.png"}
    for name in FOLDERS:
        compare_with_shipped(tmp_path / name)
