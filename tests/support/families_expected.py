"""What reference A.3, A.4 and B.5 say of each family, for tests to compare with."""

from dataclasses import dataclass
from functools import cache

from tests.support.motion_files import TINY_WIDTHS, Tensors, motion_file


@dataclass(frozen=True)
class Expected:
    """`file_positions` None: the file has no table. `choice`: what the person has to say, since no key tells it."""

    name: str
    base: str
    mid: bool
    positions: int
    betas: str = "linear"
    last_beta: float = 0.012
    joint_unet_norm: bool = False
    joint_module_norm: bool = False
    table_in_file: bool = True
    choice: str = "auto"

    @property
    def widths(self) -> tuple[int, ...]:
        return TINY_WIDTHS[self.base]

    @property
    def file_positions(self) -> int | None:
        return self.positions if self.table_in_file else None

    def file(self, seed: int = 0) -> Tensors:
        return dict(_made_once(self.widths, self.mid, self.file_positions, seed))


@cache
def _made_once(*shape_and_seed) -> Tensors:
    return motion_file(*shape_and_seed)


V1 = Expected("AnimateDiff v1", "SD1.5", mid=False, positions=24, joint_unet_norm=True)
V2 = Expected("AnimateDiff v2", "SD1.5", mid=True, positions=32)
V3 = Expected("AnimateDiff v3", "SD1.5", mid=False, positions=32)
LCM = Expected("AnimateLCM", "SD1.5", mid=True, positions=64, table_in_file=False)
LIGHTNING = Expected("AnimateDiff-Lightning", "SD1.5", mid=True, positions=32, choice="AnimateDiff-Lightning")
LONG = Expected("LongAnimateDiff", "SD1.5", mid=True, positions=64)
SDXL_BETA = Expected(
    "AnimateDiff-SDXL beta",
    "SDXL",
    mid=False,
    positions=32,
    betas="scaled_linear",
    last_beta=0.020,
    joint_module_norm=True,
)
HOTSHOT = Expected("Hotshot-XL", "SDXL", mid=False, positions=24, betas="scaled_linear", joint_unet_norm=True)

EXPECTED = (V1, V2, V3, LCM, LIGHTNING, LONG, SDXL_BETA, HOTSHOT)
