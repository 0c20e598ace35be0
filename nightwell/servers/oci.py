"""The OCI bundle of one virtual server: the document that ``runc`` carries out.

Specification: github.com/opencontainers/runtime-spec, version 1.0.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightwell.servers.gate import gated
from nightwell.servers.port import ServerSpec
from nightwell.servers.root import HOME, Tree

_PERIOD_US = 100_000
_SCRATCH_BYTES = 64 << 20
_SERVER_ID_INSIDE = 1000
_MASKED = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/scsi")
_FIXED = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_NAMESPACES = ("user", "mount", "pid", "network", "ipc", "uts")
# What a program that copies blocks never calls, and what has led out of containers before.
_REFUSED_CALLS = (
    *("mount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick"),
    *("mount_setattr", "setns", "unshare", "ptrace", "process_vm_readv", "process_vm_writev", "bpf", "userfaultfd"),
    *("perf_event_open", "keyctl", "add_key", "request_key", "open_by_handle_at", "name_to_handle_at", "acct"),
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "quotactl", "settimeofday", "clock_settime", "syslog"),
)
_CLONE_NEWUSER = 0x10000000
_EPERM, _ENOSYS = 1, 38


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle is made from.

    Parameters
    ----------
    spec
        What to produce.
    root
        The root's skeleton.
    trees
        What is mounted on it.
    environment
        What is no secret; the rest comes through the gate.
    user_ids
        Pairs of an id inside and the id of this host that it is; the program runs as the last.
    cgroup
        Path of the control group, or ``None`` where this host lets us make none.
    devices
        Devices of the host that the program may use.
    memory_overhead_bytes
        What the control group allows beyond the spec's memory.
    """

    spec: ServerSpec
    root: Path
    trees: tuple[Tree, ...]
    environment: Mapping[str, str]
    user_ids: tuple[tuple[int, int], ...]
    cgroup: str | None
    memory_overhead_bytes: int = 0
    extra_mounts: tuple[dict[str, Any], ...] = field(default=())

    def document(self) -> dict[str, Any]:
        """Return the bundle's ``config.json``."""
        linux = {
            "namespaces": [{"type": kind} for kind in _NAMESPACES],
            "uidMappings": self._mappings(),
            "gidMappings": self._mappings(),
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_FIXED),
            "seccomp": _seccomp(),
        }
        if self.cgroup is not None:
            linux |= {"cgroupsPath": self.cgroup, "resources": self._resources()}
        return {
            "ociVersion": "1.0.2",
            "hostname": self.spec.server_id[:63],
            "root": {"path": str(self.root), "readonly": True},
            "process": self._process(),
            "mounts": [*self._own_mounts(), *(_bound(tree.path) for tree in self.trees), *self.extra_mounts],
            "linux": linux,
        }

    def _process(self) -> dict[str, Any]:
        user = self.user_ids[-1][0]
        none: list[str] = []
        return {
            "terminal": False,
            "user": {"uid": user, "gid": user},
            "args": gated(self.spec.command),
            "env": [f"{name}={value}" for name, value in self.environment.items()],
            "cwd": HOME,
            "noNewPrivileges": True,
            "capabilities": dict.fromkeys(("bounding", "effective", "inheritable", "permitted", "ambient"), none),
            "rlimits": self._rlimits(),
        }

    def _rlimits(self) -> list[dict[str, Any]]:
        limits = {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": 4096}  # a core file would hold the credentials
        if self.cgroup is None:
            limits["RLIMIT_DATA"] = self.spec.memory_bytes + self.memory_overhead_bytes
            limits["RLIMIT_NPROC"] = self.spec.processes
        return [{"type": kind, "hard": value, "soft": value} for kind, value in limits.items()]

    def _resources(self) -> dict[str, Any]:
        memory_bytes = self.spec.memory_bytes + self.memory_overhead_bytes
        return {
            "memory": {"limit": memory_bytes},
            "cpu": {"quota": self.spec.cpus * _PERIOD_US, "period": _PERIOD_US},
            "pids": {"limit": self.spec.processes},
            "devices": [{"allow": False, "access": "rwm"}],
        }

    def _mappings(self) -> list[dict[str, int]]:
        return [{"containerID": inside, "hostID": outside, "size": 1} for inside, outside in self.user_ids]

    def _own_mounts(self) -> list[dict[str, Any]]:
        user = self.user_ids[-1][0]
        owner = [f"uid={user}", f"gid={user}"] if user else []
        scratch = ["nosuid", "nodev", "mode=0700", f"size={_SCRATCH_BYTES}", *owner]
        return [
            _mounted("proc", "/proc", []),
            _mounted("tmpfs", "/dev", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            _mounted("tmpfs", "/dev/shm", ["nosuid", "nodev", "noexec", "mode=1777", f"size={_SCRATCH_BYTES}"]),  # noqa: S108 - its own
            _mounted("tmpfs", "/tmp", scratch),  # noqa: S108 - its own
            _mounted("tmpfs", HOME, scratch),
        ]


def server_user_id() -> int:
    """Return the id of the user that the program runs as where there are two."""
    return _SERVER_ID_INSIDE


def bound_device(path: str) -> dict[str, Any]:
    """Return the mount of one device of the host."""
    return {"destination": path, "type": "bind", "source": path, "options": ["bind", "nosuid", "noexec"]}


def _mounted(kind: str, where: str, options: Iterable[str]) -> dict[str, Any]:
    return {"destination": where, "type": kind, "source": kind, "options": list(options)}


def _bound(path: Path) -> dict[str, Any]:
    options = ["rbind", "ro", "rro", "nosuid", "nodev"]
    return {"destination": str(path), "type": "bind", "source": str(path), "options": options}


def _seccomp() -> dict[str, Any]:
    refuse = {"action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM}
    new_user = [{"index": 0, "value": _CLONE_NEWUSER, "valueTwo": _CLONE_NEWUSER, "op": "SCMP_CMP_MASKED_EQ"}]
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
        "syscalls": [
            {"names": list(_REFUSED_CALLS), **refuse},
            {"names": ["clone"], "args": new_user, **refuse},
            # Its flags lie in memory, where a filter cannot look; libraries then take clone.
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
        ],
    }
