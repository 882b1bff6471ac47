"""Advice for a latent that has too few frames, by the nodes that the prompt has."""

import torch

from .running_prompt import RunningPrompt

LENGTH_INPUTS = ("batch_size", "amount", "length")  # of Empty Latent Image, Repeat Latent Batch, Latent From Batch


def advise_more_frames(prompt: RunningPrompt | None, latent: torch.Tensor) -> str:
    """Return a sentence that says where the running sampler gets more frames from."""
    if prompt is None:
        return _advise_by_content(latent)
    source = prompt.trace_latent(LENGTH_INPUTS)
    if source is None:
        return _advise_latent_or_model(prompt)
    inputs = prompt.nodes[source]["inputs"]
    name = next((name for name in LENGTH_INPUTS if name in inputs), None)
    if name is None:
        return f"Add Repeat Latent Batch after {prompt.name(source)}, or encode a video."
    if isinstance(inputs[name], int) and inputs[name] > 1:
        return _advise_plain_model(prompt)
    return f"Raise `{name}` of {prompt.name(source)}."


def _advise_latent_or_model(prompt: RunningPrompt) -> str:
    if prompt.returns_latent:
        return f"Add Repeat Latent Batch before {prompt.name(prompt.node_id)}."
    return _advise_plain_model(prompt)


def _advise_by_content(latent: torch.Tensor) -> str:
    """Return advice outside a prompt: an empty latent is all zeros."""
    if latent.count_nonzero():
        return "Add Repeat Latent Batch after the node that encodes the picture."
    return "Raise `batch_size` of Empty Latent Image."


def _advise_plain_model(prompt: RunningPrompt) -> str:
    """Return advice for a node that samples one picture or tile at a time, whatever it gets."""
    name = prompt.name(prompt.node_id)
    return f"Connect {name}, which samples one picture at a time, to the model from before Apply Motion Model."
