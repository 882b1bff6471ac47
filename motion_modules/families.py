"""The families of motion models, recognised by the keys and shapes of their files, never by name.

Facts are from each family's reference implementation; where those differ, the family's own training
code decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import FileFault

AUTO = "auto"
SD15, SDXL = "SD1.5", "SDXL"
USUAL_BETA_SCHEDULE = "AnimateDiff (linear)"

ORIGINAL, DIFFUSERS, HOTSHOT = "original", "diffusers", "Hotshot-XL"  # spellings of keys

KeyShapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class CheckpointFacts:
    """Properties of a file that detection looks at: `positions` is None when the file has no positional encoding.

    `adapters` are the keys of those in the file.
    """

    spelling: str
    levels: int
    mid: bool
    positions: int | None
    adapters: tuple[str, ...] = ()

    def __str__(self) -> str:
        mid = "a mid block" if self.mid else "no mid block"
        positions = f"{self.positions} positions" if self.positions else "no positional encoding"
        adapters = "".join(f", the adapter {key}" for key in self.adapters)
        return f"{self.levels} levels, {mid}, {positions}, {self.spelling} key names{adapters}"


@dataclass(frozen=True)
class Sign:
    """Properties that tell a family; empty fields accept anything."""

    spelling: str = ""
    positions: tuple[int | None, ...] = ()

    def fits(self, facts: CheckpointFacts) -> bool:
        return self.spelling in ("", facts.spelling) and (not self.positions or facts.positions in self.positions)


@dataclass(frozen=True)
class Family:
    """Training of a kind of motion model, and what tells its files from others.

    Where files of one name were trained in different ways, each way is a record of its own.
    `signs`: any one of them is enough; a family without signs can only be chosen by the user.
    `own_sites`: where a file has its modules, when that is not the layout of the published ones.
    `joint_unet_norm`: the GroupNorms of the UNet's residual blocks and of its output see all frames
    of a clip. `joint_module_norm`: those of the motion modules do. `adapters`: keys of the adapters in
    its files.
    """

    name: str
    base: str
    levels: int
    mid: bool
    signs: tuple[Sign, ...] = ()
    default_positions: int = 32
    trained_frames: int = 16
    joint_unet_norm: bool = False
    joint_module_norm: bool = False
    beta_schedule: str = USUAL_BETA_SCHEDULE
    own_sites: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()

    def fits(self, facts: CheckpointFacts) -> bool:
        """Return whether the file's structure allows this family."""
        return (self.levels, self.mid, self.adapters) == (facts.levels, facts.mid, facts.adapters)

    @property
    def site_names(self) -> tuple[str, ...]:
        """Places of motion modules in its files: after every layer of the UNet's blocks (reference layout)."""
        if self.own_sites:
            return self.own_sites
        down = [f"down_blocks.{level}.motion_modules.{index}" for level in range(self.levels) for index in range(2)]
        up = [f"up_blocks.{level}.motion_modules.{index}" for level in range(self.levels) for index in range(3)]
        return (*down, *(["mid_block.motion_modules.0"] if self.mid else []), *up)

    def recognises(self, facts: CheckpointFacts) -> bool:
        return self.fits(facts) and any(sign.fits(facts) for sign in self.signs)


FAMILIES = (
    Family(
        "Hotshot-XL",
        base=SDXL,
        levels=3,
        mid=False,
        signs=(Sign(spelling=HOTSHOT), Sign(positions=(8, 24))),
        default_positions=24,
        trained_frames=8,
        joint_unet_norm=True,
        beta_schedule="Stable Diffusion (scaled_linear)",
    ),
    Family(
        "AnimateDiff-SDXL beta",
        base=SDXL,
        levels=3,
        mid=False,
        signs=(Sign(),),
        joint_module_norm=True,
        beta_schedule="AnimateDiff-SDXL (scaled_linear to 0.020)",
    ),
    Family(
        "AnimateLCM",
        base=SD15,
        levels=4,
        mid=True,
        signs=(Sign(positions=(None,)), Sign(DIFFUSERS, positions=(64,))),
        default_positions=64,
        beta_schedule="AnimateLCM (linear, LCM)",
    ),
    Family(
        "LongAnimateDiff",
        base=SD15,
        levels=4,
        mid=True,
        signs=(Sign(positions=(64,)),),
        trained_frames=32,
    ),
    Family(
        "LongAnimateDiff",
        base=SD15,
        levels=4,
        mid=True,
        signs=(Sign(positions=(128,)),),
        trained_frames=64,
    ),
    Family("AnimateDiff-Lightning", base=SD15, levels=4, mid=True),
    Family("AnimateDiff v2", base=SD15, levels=4, mid=True, signs=(Sign(),)),
    Family("AnimateDiff v3", base=SD15, levels=4, mid=False, signs=(Sign(positions=(32, None)),)),
    Family(
        "AnimateDiff v1",
        base=SD15,
        levels=4,
        mid=False,
        signs=(Sign(),),
        default_positions=24,
        joint_unet_norm=True,
    ),
    Family("PIA", base=SD15, levels=4, mid=False, signs=(Sign(),), joint_unet_norm=True, adapters=("pia",)),
    Family(
        "AnimateLCM-I2V",
        base=SD15,
        levels=4,
        mid=True,
        signs=(Sign(),),
        default_positions=64,
        beta_schedule="AnimateLCM-I2V (linear to 0.014, LCM)",
        adapters=("lcm_i2v",),
    ),
)


def recognise_family(facts: CheckpointFacts, choice: str = AUTO) -> tuple[Family, str]:
    """Return the family of a file and the reason for it; raise FileFault where no family fits."""
    if choice != AUTO:
        return _find_chosen(facts, choice), "chosen on the node"
    for family in FAMILIES:
        if family.recognises(facts):
            return family, str(facts)
    raise FileFault(
        f"has {facts}, expected 4 levels (SD1.5) or 3 without a mid block (SDXL). "
        "Choose an AnimateDiff or Hotshot-XL motion model."
    )


def _find_chosen(facts: CheckpointFacts, choice: str) -> Family:
    possible = [family for family in FAMILIES if family.name == choice and family.fits(facts)]
    if not possible:
        raise FileFault(f"cannot be {choice}, since it has {facts}. Set `family` to '{AUTO}'.")
    return max(possible, key=lambda family: family.recognises(facts))
