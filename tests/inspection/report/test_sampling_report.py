"""The report says what motion modules really got and gave, changes nothing, and belongs to one run of one model."""

import json
import math

import folder_paths
import pytest
import torch
from animatediff_loom.inspection.report.bad_values import BadValue
from animatediff_loom.inspection.report.picture import draw, draw_attention
from animatediff_loom.inspection.report.run import COMPLETE, INTERRUPTED, RunFacts
from animatediff_loom.inspection.report.sampling_report import ReportSettings, SamplingReport, add_sampling_report
from animatediff_loom.inspection.report.statistics import StepTotals
from animatediff_loom.inspection.report.text import describe, to_json
from animatediff_loom.motion_modules.architectures.registry import ARCHITECTURES
from animatediff_loom.motion_modules.errors import LoomError
from animatediff_loom.motion_modules.files.loading import motion_model_from_tensors
from animatediff_loom.motion_modules.run_state import OBSERVER
from animatediff_loom.motion_modules.unet.applied import MotionSettings
from animatediff_loom.nodes.sampling_report import AddSamplingReport, ShowSamplingReport
from animatediff_loom.sampling.animate import animate
from comfy.model_management import InterruptProcessingException, unload_all_models
from comfy.patcher_extension import WrappersMP

from tests.support.host import tiny_model
from tests.support.motion_files import motion_file
from tests.support.motion_models import KEYS, apply_motion, apply_windows, load_motion, random_motion
from tests.support.sampling import apply_host_windows, fail_during, interrupt_during, ksampler, record_unet, sample
from tests.support.texts import check_sentence, expect_error

FRAMES, STEPS = 4, 3
BROKEN_SITE = "up_blocks.1.motion_modules.1"
PLAIN, MAPS = ReportSettings(), ReportSettings(attention_maps=True)


@pytest.fixture(scope="module")
def model():
    yield tiny_model()
    unload_all_models()


@pytest.fixture(scope="module")
def moving(model):
    return apply_motion(model)


def reported(model, settings: ReportSettings = PLAIN):
    return add_sampling_report(model, settings)


def report_of(model, settings: ReportSettings = PLAIN, **inputs):
    """The report of one run, and its latents."""
    clone, report = reported(model, settings)
    samples = sample(clone, **({"frames": FRAMES, "steps": STEPS} | inputs))
    return report.find_run({"samples": samples}), samples


def broken(model, value: float = math.nan, site: str = BROKEN_SITE, start_percent: float = 0.0):
    """`model` with a motion model that produces `value` at `site`; set after weights were checked, as by a merge."""
    loaded = motion_model_from_tensors(motion_file(), "broken.safetensors")
    clone = animate(model, loaded, MotionSettings(start_percent=start_percent))
    for weights in clone.additional_models.values():
        weights[0].model.by_site[site].proj_out.bias.data[3] = value
    return clone


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_sde", "lcm", "dpm_2", "uni_pc"])
def test_the_clip_stays_the_same_with_every_sampler(moving, sampler):
    run, samples = report_of(moving, MAPS, sampler=sampler)
    assert torch.equal(samples, sample(moving, FRAMES, STEPS, sampler=sampler))
    assert run.state == COMPLETE and run.bad is None
    assert {tuple(record.steps) for record in run.records.values()} == {tuple(range(STEPS))}
    per_evaluation = {"heun": 2 * STEPS - 1, "dpmpp_sde": 2 * STEPS - 1, "dpm_2": 2 * STEPS - 1}
    assert run.evaluations == per_evaluation.get(sampler, STEPS)


def captured(model):
    """A clone whose modules keep what they get and give, by hooks of torch that have nothing to do with ours."""
    clone, seen = model.clone(), {}
    (weights,) = [patchers[0] for key, patchers in clone.additional_models.items() if key.startswith("loom_motion")]

    def keep(name):
        return lambda module, inputs, output: seen.setdefault(name, []).append((inputs[0].clone(), output.clone()))

    handles = [module.register_forward_hook(keep(name)) for name, module in weights.model.by_site.items()]
    return clone, seen, handles


def test_numbers_are_those_of_the_tensors(model):
    clone, seen, handles = captured(apply_motion(model))
    run, _ = report_of(clone, cfg=1.0)
    for handle in handles:
        handle.remove()
    assert len(run.records) == len(seen) == 20
    for record in run.records.values():
        for step, (before, after) in enumerate(seen[record.site]):
            numbers = record.steps[step].numbers()
            expected = {
                "mean_in": before.mean(),
                "deviation_in": before.std(correction=0),
                "largest_in": before.abs().max(),
                "mean_out": after.mean(),
                "deviation_out": after.std(correction=0),
                "largest_out": after.abs().max(),
                "change": (after - before).norm() / before.norm(),
            }
            assert {name: numbers[name] for name in expected} == pytest.approx(
                {name: float(value) for name, value in expected.items()}, rel=1e-3, abs=1e-4
            )
            assert numbers["seconds"] > 0


def test_a_module_that_does_nothing_changes_nothing(model):
    run, _ = report_of(apply_motion(model, load_motion(scale=0.0)), steps=1)
    totals = [record.total().numbers() for record in run.records.values()]
    assert [total["change"] for total in totals] == [0.0] * len(totals)
    assert all(total["mean_in"] == total["mean_out"] for total in totals)


def test_several_motion_models_are_told_apart(moving):
    twice = apply_motion(apply_motion(moving), load_motion(seed=2, name="other"))
    run, _ = report_of(twice, MAPS, steps=1)
    names = ["motion.safetensors", "motion.safetensors #2", "other.safetensors"]
    assert list(run.facts.motions.values()) == names
    assert [record.motion for record in run.records.values()][:3] == names
    assert len(run.records) == len(run.maps) / 2 == 60
    assert draw(run).shape[0] == 3


def test_without_motion_models_it_says_so(model):
    run, samples = report_of(model)
    assert torch.equal(samples, sample(model, FRAMES, STEPS))
    assert "No motion module ran" in describe(run)
    assert draw(run).shape[0] == draw_attention(run).shape[0] == 1
    assert json.loads(to_json(run))["sites"] == []


def test_a_part_of_the_schedule(model):
    run, _ = report_of(apply_motion(model, start_percent=0.5), steps=4)
    ran = {tuple(record.steps) for record in run.records.values()}
    assert len(ran) == 1 and 0 not in next(iter(ran)) and 3 in next(iter(ran))
    assert draw(run).shape[0] == 1


@pytest.mark.parametrize("schedule", ["static", "uniform", "looped", "batched", "view"])
def test_windows(moving, schedule):
    windowed = apply_windows(moving, schedule)
    run, samples = report_of(windowed, MAPS, frames=7)
    assert torch.equal(samples, sample(windowed, 7, STEPS))
    assert all(sorted(record.steps) == [0, 1, 2] for record in run.records.values())
    assert {each.weights.shape for each in run.maps} == {(8, 4, 4)}


@pytest.mark.parametrize("schedule", ["static", "view"])
@pytest.mark.parametrize("key", KEYS)
def test_every_architecture_in_windows_is_reported(model, key, schedule):
    windowed = apply_windows(animate(model, random_motion(model, key), MotionSettings()), schedule)
    run, samples = report_of(windowed, MAPS, frames=7, steps=1)
    assert torch.equal(samples, sample(windowed, 7, 1))
    assert run.state == COMPLETE and len(run.records) == 21
    assert all(record.total().numbers()["change"] > 0 for record in run.records.values())
    assert {each.weights.shape[1:] for each in run.maps} == ({(4, 4)} if ARCHITECTURES[key].attends else set())
    assert len({each.site for each in run.maps}) == (21 if ARCHITECTURES[key].attends else 0)


@pytest.mark.parametrize("windows", [{}, {"windows_at_once": 1}, {"schedule": "view"}, {"host": True}])
@pytest.mark.parametrize("frame", [0, 5])
def test_the_frame_of_a_nan_is_that_of_the_clip(moving, frame, windows):
    """A NaN that comes in with one frame of the latent, before any motion module."""
    clone = apply_host_windows(moving) if windows else moving
    if "host" not in windows:
        clone = apply_windows(moving, **windows)
    noise = torch.randn(7, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    noise[frame, 0, 2, 2] = math.nan
    run, _ = report_of(clone, frames=7, noise=noise)
    assert (run.bad.step, run.bad.site, run.bad.made_here) == (0, "down_blocks.0.motion_modules.0", False)
    assert run.bad.kind == "NaN" and run.bad.frame == frame


@pytest.mark.parametrize(("value", "kind"), [(math.nan, "NaN"), (math.inf, "Inf"), (-math.inf, "Inf")])
def test_a_nan_in_a_weight_is_found(model, value, kind):
    run, _ = report_of(broken(model, value))
    assert run.bad == BadValue(kind, "broken.safetensors", BROKEN_SITE, 0, 0, made_here=True)
    check_sentence(
        run.bad.describe(), f"'{BROKEN_SITE}'", "'broken.safetensors'", f"the first {kind}", "step 0", "frame 0"
    )
    assert run.bad.describe() in describe(run)
    site = next(site for site in json.loads(to_json(run))["sites"] if site["site"] == BROKEN_SITE)
    first = site["steps"][0]
    assert first["largest_out"] is None and first["largest_in"] is not None
    assert draw(run).isfinite().all()


def test_the_step_of_a_nan(model):
    run, _ = report_of(broken(model, start_percent=0.6), steps=6)
    first = min(step for record in run.records.values() for step in record.steps)
    assert run.bad.step == first > 0


def test_a_nan_after_the_last_module(moving):
    def spoil(executor, *arguments, **more):
        predicted = executor(*arguments, **more)
        predicted[2, 0, 0, 0] = math.nan
        return predicted

    clone = moving.clone()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", spoil)
    run, _ = report_of(clone, steps=1)
    assert run.bad == BadValue("NaN", "", "", 0, 2, made_here=False)
    check_sentence(run.bad.describe(), "step 0", "frame 2", "after the last motion module")


def test_it_stops_on_request(model):
    spoiled, seen = record_unet(broken(model, start_percent=0.6))
    clone, report = reported(spoiled, ReportSettings(stop_at_nan=True))
    with pytest.raises(LoomError, match=r"first NaN, in step \d at frame 0") as caught:
        sample(clone, FRAMES, steps=6)
    check_sentence(str(caught.value), f"'{BROKEN_SITE}'")
    assert report.unfinished.problem == str(caught.value)
    assert len(seen.calls) == report.unfinished.bad.step + 1 < 6
    sound, _ = report_of(apply_motion(model), ReportSettings(stop_at_nan=True))
    assert sound.state == COMPLETE


def test_runs_that_do_not_end_are_no_reports(moving):
    clone, report = reported(interrupt_during(moving))
    with pytest.raises(InterruptProcessingException):
        sample(clone, FRAMES, STEPS)
    assert report.unfinished.state == INTERRUPTED and not report.complete
    with pytest.raises(LoomError) as caught:
        report.find_run(None)
    check_sentence(str(caught.value), "`report`", "interrupted")


def test_the_report_of_the_last_good_run_stays(moving):
    good, report = reported(moving)
    samples = sample(good, FRAMES, STEPS)
    before = report.find_run({"samples": samples})
    with pytest.raises(ZeroDivisionError):
        sample(fail_during(good), FRAMES, STEPS)
    assert report.find_run({"samples": samples}) is report.find_run(None) is before
    again = sample(good, FRAMES, STEPS, seed=2, sampler="euler_ancestral")
    assert report.find_run(None).number == 3
    assert report.find_run({"samples": again}).number == 3
    assert report.find_run({"samples": samples}) is before
    assert report.unfinished is None


def test_an_empty_report_says_why():
    with pytest.raises(LoomError) as caught:
        SamplingReport(ReportSettings()).find_run(None)
    check_sentence(str(caught.value), "`report`", "no sampler has run", "Connect")


def test_clones_never_see_each_other(moving):
    (first, one), (second, two) = reported(moving), reported(moving)
    sample(first, FRAMES, STEPS)
    assert len(one.complete) == 1 and not two.complete
    sample(second, FRAMES, steps=2)
    assert (one.find_run(None).facts.steps, two.find_run(None).facts.steps) == (STEPS, 2)
    again, three = reported(first)
    sample(again, FRAMES, steps=1)
    assert len(three.complete) == len(one.complete) == 1


@pytest.mark.parametrize("ends", [None, fail_during, interrupt_during])
def test_nothing_is_left_in_the_options(moving, ends):
    clone, _ = reported(ends(moving) if ends else moving)
    before = set(clone.model_options["transformer_options"])
    try:
        sample(clone, FRAMES, STEPS)
    except (ZeroDivisionError, InterruptProcessingException):
        assert ends
    assert set(clone.model_options["transformer_options"]) == before
    assert OBSERVER not in moving.model_options["transformer_options"]


def test_attention_maps_are_those_of_the_attention(model):
    """The attention at one position of one site, with the logits written out."""
    clone = apply_motion(model, load_motion(), attention_scale=1.3)
    site, inputs = "mid_block", []
    site = "down_blocks.3.motion_modules.1"
    module = next(iter(clone.additional_models.values()))[0].model.by_site[site]
    attention = module.transformer_blocks[0].attention_blocks[1]
    handle = attention.register_forward_hook(lambda layer, arguments, output: inputs.append(arguments[0].clone()))
    run, _ = report_of(clone, ReportSettings(attention_maps=True, attention_sites="down_blocks.3"), steps=1, cfg=1.0)
    handle.remove()
    (drawn,) = [each for each in run.maps if each.site == site and each.attention.endswith("attention_blocks.1")]
    tokens = attention.pos_encoder(torch.cat(inputs))
    q, k = (part(tokens).unflatten(2, (8, -1)) for part in (attention.to_q, attention.to_k))
    logits = torch.einsum("pihd,pjhd->phij", q, k) * 1.3 / q.shape[3] ** 0.5
    expected = (logits.exp() / logits.exp().sum(dim=3, keepdim=True)).mean(dim=0)
    assert drawn.weights == pytest.approx(expected.detach(), abs=1e-5)
    assert {each.site for each in run.maps} == {"down_blocks.3.motion_modules.0", site}
    distances = [[abs(i - j) for j in range(FRAMES)] for i in range(FRAMES)]
    assert drawn.reach == pytest.approx((expected * torch.tensor(distances)).sum(2).mean(1).tolist(), abs=1e-5)


@pytest.mark.parametrize("report_first", [True, False])
@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        ("", 21),
        (" , ", 21),
        ("*", 21),
        ("mid_block, up_blocks.1", 4),
        ("down.1\uff0cmid\u3001up.1.0", 4),
        ("up_blocks.3.motion_modules.2", 1),
    ],
)
def test_attention_is_drawn_at_the_sites_of_the_patterns(model, patterns, count, report_first):
    settings, with_mid = ReportSettings(attention_maps=True, attention_sites=patterns), load_motion(mid=True)
    clone, report = reported(model if report_first else apply_motion(model, with_mid), settings)
    sample(apply_motion(clone, with_mid) if report_first else clone, FRAMES, steps=1)
    assert len({each.site for each in report.find_run(None).maps}) == count


@pytest.mark.parametrize("report_first", [True, False])
@pytest.mark.parametrize(("patterns", "wrong"), [("up.9", "up.9"), ("down\uff0cmid_block", "mid_block")])
def test_a_pattern_for_no_motion_module_is_refused_before_sampling(model, patterns, wrong, report_first):
    """`mid_block` too, where the motion model has no module in the middle."""
    watched_model, seen = record_unet(model)
    settings = ReportSettings(attention_maps=True, attention_sites=patterns)
    clone, report = reported(watched_model if report_first else apply_motion(watched_model), settings)
    with expect_error("`attention_sites`", f"'{wrong}'", "down.0.0, down.0.1, ", "up.3.2"):
        sample(apply_motion(clone) if report_first else clone, FRAMES, STEPS)
    assert not seen.calls and not report.complete and report.unfinished is None


def test_sites_of_attention_are_not_checked_where_none_is_drawn(model, moving):
    settings = ReportSettings(attention_maps=True, attention_sites="up.9")
    report_of(model, settings, steps=1)
    report_of(moving, ReportSettings(attention_sites="up.9"), steps=1)


def test_memory_and_time_of_every_site(moving):
    run, _ = report_of(moving)
    for record in run.records.values():
        assert record.peak_bytes > 0 and record.total().seconds > 0
    largest = max(run.records.values(), key=lambda record: record.peak_bytes)
    feature_map = 2 * FRAMES * 8 * 8 * 32 * 4
    assert largest.site.startswith(("down_blocks.0", "up_blocks.3"))
    assert feature_map <= largest.peak_bytes <= 40 * feature_map


def test_sums_add_up_like_one():
    facts = RunFacts(4, 8, 8, torch.tensor([1.0, 0.0]), None, {})
    assert facts.steps == 1
    one = StepTotals(rows=2, mean_in=1.0, square_in=3.0, square_change=1.0, largest_in=4.0, seconds=1.0, calls=1)
    two = StepTotals(rows=2, mean_in=3.0, square_in=5.0, square_change=7.0, largest_in=2.0, seconds=None, calls=1)
    both = one + two
    assert both.numbers()["mean_in"] == 1.0 and both.numbers()["change"] == 1.0
    assert both.numbers()["deviation_in"] == 1.0
    assert both.largest_in == 4.0 and both.seconds is None


def test_json_holds_every_step(moving):
    run, _ = report_of(moving, MAPS, seed=77)
    read = json.loads(to_json(run))
    assert (read["frames"], read["latent"], read["seed"], read["evaluations"]) == (FRAMES, [8, 8], 77, STEPS)
    assert len(read["sites"]) == 20 and all(len(site["steps"]) == STEPS for site in read["sites"])
    assert len(read["attention_maps"]) == 40
    assert sum(read["attention_maps"][0]["weights"][0][0]) == pytest.approx(1, abs=1e-3)


def test_text_has_a_line_for_every_site(moving):
    run, _ = report_of(moving)
    lines = describe(run).splitlines()
    assert lines[0].startswith("Run 1, complete: 4 frames, latent 8 x 8, 3 steps, 3 evaluations, seed 1, ")
    assert sum("MiB" in line for line in lines) == 20
    assert sum(line.startswith("up.3.2: ") for line in lines) == 1


def test_pictures_have_a_page_for_everything(moving):
    run, _ = report_of(moving, MAPS)
    pages, attention = draw(run), draw_attention(run)
    assert pages.shape[0] == 1 and attention.shape[0] == 20
    assert pages.shape[2] == attention.shape[2] == 1280
    assert len({tuple(page.flatten()[::97].tolist()) for page in attention}) == 20
    without, _ = report_of(moving, steps=1)
    assert draw_attention(without).shape[0] == 1


def test_the_nodes(moving, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    clone, report = AddSamplingReport.execute(moving, attention_maps=True, attention_sites="up_blocks.0, up.1.0").result
    latent = {"samples": ksampler(clone)}
    output = ShowSamplingReport.execute(report, latent)
    text, plots, attention, numbers = output.result
    assert text.startswith("Run 1, complete: 4 frames") and output.ui["text"] == (text,)
    assert plots.shape[0] == 1 and attention.shape[0] == 4
    assert {each["site"][:11] for each in json.loads(numbers)["attention_maps"]} == {"up_blocks.0", "up_blocks.1"}
    assert (tmp_path / output.ui["images"][0]["filename"]).is_file()
