"""The road between two sites: it carries backups and restores, outlasts faults, and lets nobody reach too far."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from lines.copying import SIZE_BYTES, Copied, change, copy_through, in_step, make_pair
from lines.figures import Tell
from lines.network import LINES, Host, Line
from lines.sites import NBD_PORT, STORE_PORTS, Sites
from machine import MIB

from nightwell.protocol import Phase

# The first test's time holds the start of both sites.
pytestmark = pytest.mark.timeout(600)

VOLUME = "disk"
CUT_S, IMPATIENT_S = 3.0, 4.0
_PROBE_S = 1.0


@pytest.fixture(scope="module", autouse=True)
def volume(sites: Sites) -> Iterator[str]:
    make_pair(sites, VOLUME)
    yield VOLUME
    assert sites.machine.leftovers() == []


def passed(sites: Sites, copied: Copied) -> None:
    """Hold a backup against what the host had written, and the road against what it was before."""
    assert copied.run.committed, sites.said
    assert copied.run.phase is Phase.DONE, sites.said
    assert sites.digest_version(VOLUME, copied.run) == copied.digest
    as_before(sites)


def as_before(sites: Sites) -> None:
    assert in_step(sites, VOLUME)
    assert sites.machine.leftovers() == []


def test_a_backup_an_incremental_and_a_restore_pass(sites: Sites, tell: Tell) -> None:
    digest, began_s = change(sites, VOLUME), time.monotonic()
    first = Copied(sites.back_up(VOLUME), digest, time.monotonic() - began_s)
    passed(sites, first)
    digest, began_s = sites.fill(VOLUME, 1_000, MIB, offset_bytes=5 * MIB), time.monotonic()
    second = Copied(sites.back_up(VOLUME), digest, time.monotonic() - began_s)
    passed(sites, second)
    assert second.run.facts.number("bytes_read") < SIZE_BYTES / 2
    sites.make_volume("third", SIZE_BYTES)
    began_s = time.monotonic()
    restored = sites.restore(VOLUME, "third")
    assert restored.committed, sites.said
    assert sites.source.do("digest", url=sites.host_url("third")) == digest
    assert sites.machine.leftovers() == []
    tell("backup of 16 MiB", first.seconds, "byte-equal")
    tell("incremental, 1 MiB changed", second.seconds, "byte-equal")
    tell("restore to a third volume", time.monotonic() - began_s, "byte-equal")


def test_line_1_cut_for_3_s_is_a_stall(sites: Sites, tell: Tell) -> None:
    def cut() -> None:
        sites.network.cut(Line.ONE)
        time.sleep(CUT_S)
        sites.network.mend(Line.ONE)

    copied = copy_through(sites, VOLUME, cut)
    passed(sites, copied)
    assert copied.stall_s > CUT_S - 0.5, "nothing can have moved meanwhile"
    tell(f"line 1 cut for {CUT_S:.0f} s", copied.seconds, "byte-equal", copied.stall_s)


def test_the_source_array_killed_and_back_is_a_stall(sites: Sites, tell: Tell) -> None:
    def kill() -> None:
        sites.running["source"].kill()
        sites.start_array(Host.SOURCE_ARRAY)

    copied = copy_through(sites, VOLUME, kill)
    passed(sites, copied)
    log = (sites.network.folder / "destination.log").read_text()
    assert f"import run-{copied.run.run_id}: the line is cut" in log
    assert f"import run-{copied.run.run_id}: the line is back" in log
    tell("source array killed and back", copied.seconds, "byte-equal", copied.stall_s)


def test_the_object_store_killed_and_back_is_a_stall(sites: Sites, tell: Tell) -> None:
    def kill() -> None:
        sites.running["weed"].kill()
        time.sleep(2.0)  # requests have to find nobody there
        sites.start_store()

    copied = copy_through(sites, VOLUME, kill)
    passed(sites, copied)
    tell("S3 server killed and back", copied.seconds, "byte-equal", copied.stall_s)


def test_line_1_cut_for_good_is_a_clear_error_and_a_pair_as_it_was(sites: Sites, tell: Tell) -> None:
    sites.running["destination"].stop()
    sites.start_array(Host.DESTINATION_ARRAY, stall_s=IMPATIENT_S)
    copied = copy_through(sites, VOLUME, lambda: sites.network.cut(Line.ONE))
    run = copied.run
    assert run.phase is Phase.REVERTED, sites.said
    assert run.failure is not None
    assert LINES[Line.ONE][Host.SOURCE_ARRAY] in run.failure.found, "it says which address is not reached"
    assert "the line to it is up" in run.failure.found
    assert run.failure.next_step
    as_before(sites)
    tell(f"line 1 cut for good (the array waits {IMPATIENT_S:.0f} s)", copied.seconds, "clear error; pair as it was")


def test_neither_the_destination_server_nor_a_virtual_server_reaches_the_source_array(sites: Sites, tell: Tell) -> None:
    began_s = time.monotonic()
    array = sites.machine.source_array
    source_addresses = [ends[Host.SOURCE_ARRAY] for ends in LINES.values() if Host.SOURCE_ARRAY in ends]
    with sites.agent_in(Host.SOURCE_ARRAY) as inside:
        ports = inside.do("listening_ports")
    assert NBD_PORT in ports
    targets: list[object] = [[address, port] for address in source_addresses for port in ports]
    targets.append(str(sites.folder(Host.SOURCE_ARRAY) / "array" / "control.sock"))
    # It listens, and is open to those that it is there for: from the line's end one of its addresses, from its own
    # hosts' end the other, and its control.
    with sites.agent_in(Host.DESTINATION_ARRAY) as inside:
        assert "connected" in inside.do("probe", targets=targets, timeout_s=_PROBE_S)
    reached = sites.source.do("probe", targets=targets, timeout_s=_PROBE_S)
    assert reached[-1] == "connected"
    assert "connected" in reached[:-1]
    assert array.exports(), "there is something to be read"
    routes = [
        (f"{LINES[Line.ONE][Host.SOURCE_ARRAY]}/32", LINES[Line.DESTINATION_FABRIC][Host.DESTINATION_ARRAY]),
        (f"{LINES[Line.SOURCE_FABRIC][Host.SOURCE_ARRAY]}/32", LINES[Line.TWO][Host.SOURCE_SERVER]),
    ]
    # Not even by naming a neighbour as the way there: neither array nor server carries what is another's.
    for target, neighbour in routes:
        sites.network.host_command(Host.DESTINATION_SERVER, "ip", "route", "add", target, "via", neighbour)
    try:
        _expect_nothing(sites, targets)
        _expect_a_leak_to_be_seen(sites, targets)
    finally:
        for target, _ in routes:
            sites.network.host_command(Host.DESTINATION_SERVER, "ip", "route", "del", target)
    tell(
        f"{len(targets)} addresses of the source array, from the destination server and from virtual servers",
        time.monotonic() - began_s,
        "none reached, also with a route to it",
    )


def _expect_nothing(sites: Sites, targets: list[object]) -> None:
    there = LINES[Line.DESTINATION_FABRIC][Host.DESTINATION_ARRAY], NBD_PORT
    store = LINES[Line.STORE][Host.OBJECT_STORE], STORE_PORTS["s3"]
    own = [list(there), list(store)]
    asked = [*targets, *own]
    found = {"the destination server": sites.destination.do("probe", targets=asked, timeout_s=_PROBE_S)}
    for driver in ("process", "runc"):
        sites.destination.environment["NIGHTWELL_DESTINATION__SERVERS__DRIVER"] = driver
        found[f"a virtual server ({driver})"] = sites.destination.do(
            "probe_in_virtual_server", targets=asked, reachable=own, timeout_s=_PROBE_S
        )
    sites.destination.environment["NIGHTWELL_DESTINATION__SERVERS__DRIVER"] = "process"
    for who, said in found.items():
        assert "connected" not in said[: len(targets)], f"{who} has reached the source array: {said}"
        assert said[len(targets) :] == ["connected", "connected"], f"{who} does not reach what it should: {said}"


def _expect_a_leak_to_be_seen(sites: Sites, targets: list[object]) -> None:
    """Let the destination array carry packets between its lines: the probe must notice."""
    way_back = f"{LINES[Line.DESTINATION_FABRIC][Host.DESTINATION_SERVER]}/32"
    forwarding = "/proc/sys/net/ipv4/ip_forward"
    network, across = sites.network, LINES[Line.ONE][Host.DESTINATION_ARRAY]
    network.host_command(Host.DESTINATION_ARRAY, "sh", "-c", f"echo 1 > {forwarding}")
    network.host_command(Host.SOURCE_ARRAY, "ip", "route", "add", way_back, "via", across)
    try:
        assert "connected" in sites.destination.do("probe", targets=targets, timeout_s=5 * _PROBE_S)
    finally:
        network.host_command(Host.DESTINATION_ARRAY, "sh", "-c", f"echo 0 > {forwarding}")
        network.host_command(Host.SOURCE_ARRAY, "ip", "route", "del", way_back, "via", across)
