"""The original's focal losses on the patches to predict: large errors weigh more. Weights carry no gradient.

w = exp(beta * e),  e the squared error;   focal = sum(w * e) / (sum(w) + 1e-8), over the whole batch together
hybrid = alpha * mean(e) + (1 - alpha) * focal
capped: w = min(exp(beta * |error|), 50), half and half with the plain mean (October 2025)
"""

import torch

from worldmodel.losses.case import Case, Loss, mean, share

TINY = 1e-8
CAP, CAPPED_SHARE = 50.0, 0.5


def focal(case: Case) -> Loss:
    """Errors weighted by exp(focal_beta * e); plain where focal_beta is not above 0."""
    error = case.error
    if case.config.focal_beta <= 0:
        return mean(case, error)
    return share(case, error, torch.exp(case.config.focal_beta * error.detach()), TINY)


def hybrid(case: Case) -> Loss:
    """focal_alpha of the plain error, the rest focal."""
    return _mixed(mean(case, case.error), focal(case), case.config.focal_alpha)


def capped_focal(case: Case) -> Loss:
    """The October 2025 form."""
    error = case.error
    weight = torch.exp(case.config.focal_beta * error.detach().sqrt()).clamp(max=CAP)
    return _mixed(mean(case, error), share(case, error, weight, TINY), CAPPED_SHARE)


def _mixed(plain: Loss, other: Loss, alpha: float) -> Loss:
    return Loss(alpha * plain.total + (1 - alpha) * other.total, alpha * plain.samples + (1 - alpha) * other.samples)
