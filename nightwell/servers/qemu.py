"""The ``qemu`` driver: a virtual server is a machine with a kernel of its own.

The machine runs inside a container of the ``runc`` driver, so records, deletion, limits and network are that driver's:
what the container may not reach, QEMU may not either. Inside, the program runs under Debian's kernel on an emulated
processor, on the same read-only root, handed in by 9p.

- memory: the machine's RAM; processors: the machine's; both bounded once more by the container's control group.
- processes: ``RLIMIT_NPROC`` of the program's user inside the machine.
- network: QEMU's user network, in the container's network namespace, where only the spec's addresses are.
- standard streams and the exit status: ports of a virtio serial device.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nightwell.programs import TOOLS_DIRECTORY, program
from nightwell.servers.gate import leave
from nightwell.servers.guest import Guest, make_guest
from nightwell.servers.oci import Bundle
from nightwell.servers.port import Isolation, Limit, ServerSpec
from nightwell.servers.root import HOME, Tree
from nightwell.servers.runc import DEFAULT_PARENT, PATH_INSIDE, RuncServers

_KERNEL_BYTES = 112 << 20  # what the guest's kernel and first root take, so that the program has what its spec says
_QEMU_BYTES = 384 << 20  # QEMU itself, with its translated code
_TRANSLATED_MIB = 128
_QEMU_THREADS = 128
_STATUS = "status"
_CARRY_ON = f'"$@"; read -r status < {_STATUS} && exit "$status"; exit 1'
_KERNEL_WORDS = "console=ttyS0 loglevel=2 panic=-1 mitigations=off"


class QemuServers(RuncServers):
    """Virtual servers that are machines.

    Parameters
    ----------
    directory
        Where the servers' directories are; made when missing. All who are to find each other's servers share it.
    cgroup
        The control group below which theirs are made; empty for none.
    guest_directory
        Where what a machine boots is kept; by default in ``directory``.
    """

    driver = "qemu"

    def __init__(self, directory: Path, *, cgroup: str = DEFAULT_PARENT, guest_directory: Path | None = None) -> None:
        super().__init__(directory, cgroup=cgroup)
        self._qemu = program("qemu-system-x86_64")
        self._guest = make_guest(guest_directory or self._directory / ".guest")

    @property
    def isolation(self) -> Isolation:
        """Limits of a machine."""
        return Isolation(
            memory=Limit.SERVER,
            cpus=Limit.SERVER,
            processes=Limit.SERVER,
            files=True,
            network=True,
            means=f"an emulated machine with a kernel of its own, inside: {super().isolation.means}",
        )

    def _bundle(self, spec: ServerSpec, place: Path) -> Bundle:
        machine = replace(
            spec,
            command=("/bin/sh", "-c", _CARRY_ON, "machine", *self._command(spec)),
            processes=max(spec.processes, _QEMU_THREADS),
        )
        bundle = super()._bundle(machine, place)
        added = [Tree(self._guest.kernel.parent)]
        if self._qemu.is_relative_to(TOOLS_DIRECTORY):
            added.append(Tree(TOOLS_DIRECTORY))
        return replace(bundle, trees=(*bundle.trees, *added), memory_overhead_bytes=_KERNEL_BYTES + _QEMU_BYTES)

    def _leave(self, spec: ServerSpec) -> bytes:
        """Return what starts QEMU; what starts the program is a file in the container's memory, for the machine."""
        environment = {"HOME": HOME, "TMPDIR": HOME, "PATH": PATH_INSIDE, "PYTHONSAFEPATH": "1"}
        environment |= {**self._inherited(), **spec.environment}
        inner = leave(environment, spec.files, command=spec.command)
        return leave({"HOME": HOME}, {"leave": inner.decode()})

    def _command(self, spec: ServerSpec) -> tuple[str, ...]:
        guest: Guest = self._guest
        memory_mib = (spec.memory_bytes + _KERNEL_BYTES) >> 20
        command = [str(self._qemu), "-M", "q35", "-cpu", "max", "-smp", str(spec.cpus), "-m", str(memory_mib)]
        command += ["-accel", f"tcg,thread=multi,tb-size={_TRANSLATED_MIB}", "-nodefaults", "-no-user-config"]
        command += ["-display", "none", "-no-reboot", "-kernel", str(guest.kernel), "-initrd", str(guest.initramfs)]
        command += ["-append", f"{_KERNEL_WORDS} processes={spec.processes}"]
        command += ["-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"]
        command += ["-device", "virtio-9p-pci,fsdev=root,mount_tag=root"]
        command += ["-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,netdev=net,romfile="]
        command += ["-chardev", "file,id=console,path=/dev/fd/2,append=on", "-serial", "chardev:console"]
        command += ["-device", "virtio-serial-pci"]
        streams = {
            "in": "stdio,signal=off",  # the machine never writes there
            "out": "file,path=/dev/fd/1,append=on",
            "err": "file,path=/dev/fd/2,append=on",
            "status": f"file,path={HOME}/{_STATUS}",
        }
        for name, device in streams.items():
            command += ["-chardev", f"{device},id={name}", "-device", f"virtserialport,chardev={name},name={name}"]
        return tuple(command)
