"""The row of a table of positions that each frame gets, as in training or otherwise.

Frame k of a window gets row `first + step * k` of the table, or with a period P row
`first + k mod P`. A row between two others is interpolated.
"""

from dataclasses import dataclass

import torch

UNLIMITED = 2**31 - 1  # the `positions` of a module that takes any number of frames


@dataclass(frozen=True)
class FramePositions:
    """A rule for the rows of frames; the default is that of training, row k for frame k."""

    first: int = 0
    step: float = 1.0
    period: int | None = None

    def capacity(self, rows: int) -> int:
        """Return the maximum number of frames at once with a table of `rows`, or 0 where it is too short."""
        if rows == UNLIMITED or not self.changes:
            return rows
        if self.first + (self.period or 1) > rows:
            return 0
        return UNLIMITED if self.period else int((rows - 1 - self.first) / self.step + 1e-6) + 1

    @property
    def changes(self) -> bool:
        """Return whether the rows are others than in training."""
        return self.first != 0 or self.step != 1.0 or self.period is not None

    def take_rows(self, table: torch.Tensor, frames: int) -> torch.Tensor:
        """Return the rows of `frames` from a `table` of `[..., rows, channels]`."""
        if not self.changes:
            return table[..., :frames, :]
        numbers = torch.arange(frames, device=table.device, dtype=torch.float64)
        numbers = self.first + (numbers % self.period if self.period else numbers * self.step)
        last = table.shape[-2] - 1
        rows = numbers.floor().long().clamp(max=last)
        part = (numbers - rows).to(table.dtype)[:, None]
        return torch.lerp(table[..., rows, :], table[..., (rows + 1).clamp(max=last), :], part)


AS_TRAINED = FramePositions()


def stretch(trained: int, frames: int) -> FramePositions:
    """Return the rule that spreads the rows of `trained` frames over `frames`, from the first row to the last."""
    return FramePositions(step=(trained - 1) / (frames - 1))
