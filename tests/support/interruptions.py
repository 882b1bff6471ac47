"""Models whose sampling ends half-way."""

from comfy.model_management import interrupt_current_processing, throw_exception_if_processing_interrupted
from comfy.patcher_extension import WrappersMP

KEY = "interruption"


def failing(model, evaluation: int = 2):
    """A clone inside whose UNet something goes wrong at an evaluation, behind the first layers."""
    return _ending(model, evaluation, _divide_by_nothing)


def interrupted(model, evaluation: int = 2):
    """A clone during whose evaluation a person presses Cancel."""
    return _ending(model, evaluation, _cancel)


def _ending(model, evaluation: int, end):
    clone, count = model.clone(), iter(range(1, 1000))

    def count_evaluations(executor, *arguments, **more):
        options = arguments[5]
        options["evaluation"] = next(count)
        return executor(*arguments, **more)

    def in_the_middle(arguments):
        if arguments["transformer_options"]["evaluation"] == evaluation:
            end()
        return arguments

    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, count_evaluations)
    clone.set_model_middle_block_after_patch(in_the_middle)
    return clone


def _divide_by_nothing() -> None:
    raise ZeroDivisionError("a layer of the UNet failed")


def _cancel() -> None:
    interrupt_current_processing()
    throw_exception_if_processing_interrupted()
