"""The namespaces themselves: lines that are cut and mended, and a machine that does not allow them."""

from __future__ import annotations

from pathlib import Path

import pytest
from lines import network as network_module
from lines.network import LINES, Line, Network, running_network
from lines.sites import agent_in
from tools import tool

from nightwell.errors import NightwellError

# The real refusal of a kernel: no user namespace may be made below one that allows none.
_FORBIDDEN = """#!/bin/sh
exec {unshare} --user --map-root-user sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; exec {unshare} "$@"' sh "$@"
"""


def _reaches(network: Network, line: Line) -> bool:
    near, far = LINES[line]
    with agent_in(network, near) as here:
        (said,) = here.do("probe", targets=[[LINES[line][far], 7]], timeout_s=1.0)
    # Nobody listens there: a refusal has crossed the line and come back.
    return "refused" in str(said)


def test_a_line_carries_until_it_is_cut_and_again_when_it_is_mended(tmp_path: Path) -> None:
    with running_network(tmp_path) as network:
        assert _reaches(network, Line.ONE)
        network.cut(Line.ONE)
        assert not _reaches(network, Line.ONE)
        assert _reaches(network, Line.TWO)
        network.mend(Line.ONE)
        assert _reaches(network, Line.ONE)


def test_a_machine_that_forbids_namespaces_is_told_what_to_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "unshare"
    refusing.write_text(_FORBIDDEN.format(unshare=tool("unshare")))
    refusing.chmod(0o755)
    monkeypatch.setattr(network_module, "tool", lambda name: str(refusing) if name == "unshare" else tool(name))
    with pytest.raises(NightwellError, match="unshare failed") as raised, running_network(tmp_path):
        pass
    assert "user.max_user_namespaces" in raised.value.next_step
