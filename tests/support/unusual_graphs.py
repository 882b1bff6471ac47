"""Workflows with nodes of AnimateDiff-Evolved whose values or modes are unusual."""

from tests.support.evolved_graphs import Workflow, empty, evolved, motion, prompts, sample, save, start, static_windows


def bypassed_motion() -> Workflow:
    """A bypassed sampling node, a muted one and an active one, with the same motion model and windows."""
    at = start()
    models, windows, conds = motion(at), static_windows(at), prompts(at)
    latent = empty(at)
    for mode in (4, 2, 0):
        model = evolved(at, at.model, m_models=models, context_options=windows)
        at.graph.nodes[-1]["mode"] = mode
        latent = sample(at, model, conds, latent, 0.5)
    return save(at, latent)
