"""Free ports."""

import random

from protocol.ports import QUIET, free_ports


def test_two_that_were_given_one_seed_get_different_ports() -> None:
    drawn = []
    for _ in range(2):
        random.seed(7)
        drawn.append(free_ports(20))
    assert all(port in QUIET for ports in drawn for port in ports) and len(set(drawn[0])) == 20
    assert drawn[0] != drawn[1]
