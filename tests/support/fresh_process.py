"""Run in a process of its own: samples with the pack, and prints what of the host and of torch was replaced.

Arguments: the host's tree, what to do (`sample`, once to the end and once into a failure, or
`patch` something on purpose), and the length of the positional tables, 24 for a motion model that
joins the UNet's group norms.
"""

import contextlib
import importlib.util
import json
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def load_conftest():
    spec = importlib.util.spec_from_file_location("tests_conftest", TESTS / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(tree: str, action: str, positions: int) -> None:
    sys.path.insert(0, tree)
    sys.argv = sys.argv[:1]
    conftest = load_conftest()
    conftest._use_cpu()
    import comfy_extras.nodes_custom_sampler

    import nodes  # noqa: F401
    from tests.support.host import changed_names, take_snapshot, tiny_model
    from tests.support.sampling import sample

    model = tiny_model()
    still = sample(model)
    before = take_snapshot()
    conftest._load_pack()
    from tests.support.motion_models import apply_motion, load_motion
    from tests.support.sampling import fail_during

    clip = apply_motion(model, load_motion(positions))
    sample(clip)
    with contextlib.suppress(ZeroDivisionError):
        sample(fail_during(clip))
        raise AssertionError("the run did not fail")
    if action == "patch":
        comfy_extras.nodes_custom_sampler.CFGGuider.execute = None
        sys.modules["torch.nn"].GroupNorm.forward = None
    same = action == "patch" or bool((sample(model) == still).all())
    print(json.dumps({"changes": changed_names(before, take_snapshot()), "watched": len(before), "same": same}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
