import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from host.server import Progress, PromptError, PromptInterrupted, Server, ServerError
from host.weights import ModelFiles

from tests.support.server import HostModels, place_models


def picture(size: int = 64) -> dict:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": size, "height": 64, "batch_size": 2, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "folder/picture"}},
    }


def sampling(models: HostModels, steps: int) -> dict:
    text = {"clip": ["1", 1], "text": ""}
    sampler = {
        "sampler_name": "euler",
        "scheduler": "normal",
        "seed": steps,
        "cfg": 1.0,
        "denoise": 1.0,
        "steps": steps,
    }
    links = {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": models.checkpoint}},
        "2": {"class_type": "CLIPTextEncode", "inputs": text},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {"class_type": "KSampler", "inputs": sampler | links},
        "5": {"class_type": "SaveLatent", "inputs": {"samples": ["4", 0], "filename_prefix": "latent"}},
    }


def processes_of(server: Server) -> list[psutil.Process]:
    process = psutil.Process(server._process.pid)
    return [process, *process.children(recursive=True)]


def test_a_prompt_gives_files(host_server: Server, host_version: str):
    assert host_server.get("/system_stats")["system"]["comfyui_version"] == host_version
    files = host_server.files(host_server.run(picture()))
    assert [file.parent.name for file in files] == ["folder", "folder"]
    assert all(file.stat().st_size for file in files)


def test_a_prompt_that_validation_refuses_gives_the_hosts_words(host_server: Server):
    with pytest.raises(PromptError, match=r"EmptyImage \(node 1\): Value -5 smaller than min of 1: width"):
        host_server.run(picture(size=-5))


def test_a_prompt_that_fails_gives_the_hosts_words_and_the_next_one_runs(host_server: Server):
    damaged = host_server.folder / "models" / "checkpoints" / "damaged.safetensors"
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_bytes(b"nothing")
    with pytest.raises(PromptError, match=r"CheckpointLoaderSimple: .+") as failure:
        host_server.run(sampling(HostModels(damaged.name, ""), 1))
    assert "traceback" in failure.value.details
    damaged.unlink()
    assert host_server.run(picture())


def test_progress_counts_the_samplers_steps(host_server: Server, sd15_models: HostModels):
    seen: list[Progress] = []
    host_server.run(sampling(sd15_models, 3), seen.append)
    assert [(p.value, p.maximum) for p in seen if p.class_type == "KSampler" and p.value] == [(1, 3), (2, 3), (3, 3)]


def test_an_interrupted_prompt_says_so(host_server: Server, sd15_models: HostModels):
    def interrupt(progress: Progress) -> None:
        if progress.value == 1:
            threading.Thread(target=host_server.interrupt).start()

    with pytest.raises(PromptInterrupted, match="Interrupted in KSampler"):
        host_server.run(sampling(sd15_models, 500), interrupt)


def test_a_host_that_dies_at_the_start_shows_its_log_at_once(make_server: Callable[..., Server]):
    start = time.monotonic()
    with pytest.raises(ServerError, match=r"(?s)exit status 2.+unrecognized arguments: --no-such-option"):
        make_server("--no-such-option").start()
    assert time.monotonic() - start < 60


def test_a_host_that_is_killed_is_noticed_at_once(make_server: Callable[..., Server]):
    server = make_server()
    killer = threading.Timer(2, lambda: processes_of(server)[0].kill())
    killer.start()
    with pytest.raises(ServerError, match="ComfyUI ended with exit status"):
        server.start()
    server.stop()


def test_a_host_that_dies_in_a_prompt_shows_how_and_its_log(make_server: Callable[..., Server], sd15_files: ModelFiles):
    with make_server() as server:
        family = processes_of(server)

        def kill(progress: Progress) -> None:
            if progress.value == 1:
                for process in reversed(family):
                    process.kill()

        with pytest.raises(ServerError, match=r"(?s)ComfyUI ended with exit status -?\d+\. The end of .+got prompt"):
            server.run(sampling(place_models(sd15_files, server), 500), kill)


def test_no_process_is_left_when_the_caller_fails(make_server: Callable[..., Server]):
    with pytest.raises(ZeroDivisionError), make_server() as server:
        processes = processes_of(server)
        raise ZeroDivisionError
    assert not any(process.is_running() for process in processes)


def test_a_model_folder_is_never_written_to(host_server: Server, sd15_models: HostModels, sd15_files):
    place = Path(host_server.folder, "models", "checkpoints", sd15_models.checkpoint)
    assert place.samefile(sd15_files.checkpoint)
