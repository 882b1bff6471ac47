"""What a person wants to know about a motion model, as text."""

from .contract import UNLIMITED
from .motion_model import MotionModel


def describe(motion_model: MotionModel) -> str:
    """Lines of `name: value` for the info node and for bug reports."""
    family, sites = motion_model.family, motion_model.specs
    weights = list(motion_model.patcher.model.parameters())
    count = sum(weight.numel() for weight in weights)
    size = sum(weight.numel() * weight.element_size() for weight in weights)
    facts = {
        "name": motion_model.name,
        "family": family.name,
        "recognised by": motion_model.reason,
        "base model": family.base,
        "sites": f"{len(sites)} ({_counts(sites)})",
        "widths": ", ".join(str(width) for width in sorted({site.channels for site in sites.values()})),
        "architecture": ", ".join(sorted({site.architecture.key for site in sites.values()})),
        "frames": f"trained for {family.trained_frames}, {_at_once(motion_model.positions)}",
        "normalisation": _norms(family),
        "beta schedule": family.beta_schedule,
        "dtype": f"{_dtype(motion_model.file_dtype)}, loaded as {_dtype(weights[0].dtype)}",
        "size": f"{count / 1e6:.1f} million weights, {size / 2**20:.0f} MiB",
        "advice": family.advice,
    }
    return "\n".join(f"{name}: {value}" for name, value in facts.items() if value)


def _at_once(positions: int) -> str:
    return "any number at once" if positions == UNLIMITED else f"at most {positions} at once"


def _counts(sites) -> str:
    parts = {"down": "down_blocks", "mid": "mid_block", "up": "up_blocks"}
    return ", ".join(f"{name} {sum(site.startswith(prefix) for site in sites)}" for name, prefix in parts.items())


def _norms(family) -> str:
    unet = "all frames together" if family.joint_unet_norm else "frame by frame"
    module = "all frames together" if family.joint_module_norm else "frame by frame"
    return f"residual blocks {unet}, motion modules {module}"


def _dtype(dtype) -> str:
    return str(dtype).removeprefix("torch.")
