"""Ports of this machine as a lock."""

from servemesh.local.adapters import tcp_ports
from tests.harness.processes import free_ports


def test_what_one_holds_the_next_does_not_get():
    first, second = free_ports(2)
    with tcp_ports.held([first, second]) as mine, tcp_ports.held([first, second]) as other:
        assert (mine, other) == (first, second)
    assert tcp_ports.is_free(first)


def test_a_held_port_is_not_free():
    (port,) = free_ports(1)
    with tcp_ports.held([port]):
        assert not tcp_ports.is_free(port)
