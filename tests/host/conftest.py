"""What the server tests share: a Lightning-shaped motion model."""

from collections.abc import Callable

import pytest
import torch
from host.server import Server
from safetensors.torch import save_file
from server_fixtures import HostModels
from synthetic_motion import LAYOUTS, motion_model_state_dict

NARROW = (320, 320, 320, 320)


@pytest.fixture(scope="session")
def lightning_models(sd15_models: HostModels, host_server: Server) -> HostModels:
    """The SD1.5 checkpoint with a motion model of v2's layout, which is that of AnimateDiff-Lightning."""
    weights = motion_model_state_dict(NARROW, dtype=torch.float16, **LAYOUTS["v2"])
    file = host_server.folder / "models" / "animatediff_models" / "synthetic_lightning.safetensors"
    save_file(weights, file)
    return HostModels(sd15_models.checkpoint, file.name)


@pytest.fixture(scope="session")
def models_for(request: pytest.FixtureRequest) -> Callable[[str], HostModels]:
    """The synthetic models that stand in for those of a workflow."""
    fixtures = {
        "text_to_video": "sd15_models",
        "text_to_video_fast": "lightning_models",
        "text_to_video_sdxl": "sdxl_models",
    }
    return lambda workflow: request.getfixturevalue(fixtures[workflow])
