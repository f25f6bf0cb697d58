"""Several steps ahead on the model's own predictions: what drifts costs, and the gradient goes back through every step."""

import torch

from worldmodel.losses.case import Case, Loss, weighted


def rollout(case: Case) -> Loss:
    """Mean squared error of steps 2 to k, each predicted from the predictions before it; the first step is the other losses'."""
    context = case.seen.shape[1]
    seen, prediction, errors = case.seen, case.prediction, []
    for step in range(1, case.targets.shape[1]):
        shown = prediction if case.real is None else prediction * case.real  # what pads a frame is always black
        seen = torch.cat((seen[:, 1:], shown[:, None].to(seen.dtype)), dim=1)
        with case.compute():
            prediction = case.model(seen, case.actions[:, step : step + context]).float()
        error = torch.square(prediction - case.targets[:, step])
        error = error if case.real is None else error * (case.real / case.real.mean())
        errors.append(error.flatten(1).mean(1))
    samples = torch.stack(errors).mean(0)
    return Loss(weighted(case, samples), samples.detach())
