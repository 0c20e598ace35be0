"""What a machine boots: Debian's kernel, and a small first root that mounts the real one and starts the program.

Made once for a kernel and kept beside the servers' records: the kernel uncompressed, because an emulated processor
would take seconds to unpack it, and an initramfs of busybox, eight modules and the script below.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nightwell.errors import FormatError, NotFoundError
from nightwell.programs import GuestParts, find_guest_parts

_MODULES = ("virtio_pci", "virtio_console", "virtio_net", "9p", "9pnet_virtio")
_XZ_MAGIC = b"\xfd7zXZ\x00"
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")

# The ports by name: what the program reads and writes, and how it ended. The loopback device stays down, so that the
# host's 127.0.0.1, where a store or an array may be, is reached like any other address. An environment below the host's
# /tmp stays in sight although /tmp is the machine's own.
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
while read -r module; do insmod "/modules/$module"; done < /modules/order
for port in /sys/class/virtio-ports/*; do ln -s "/dev/${port##*/}" "/port-$(cat "$port/name")"; done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=524288 root /r
cat /r/home/server/leave > /leave; chmod 444 /leave
echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
mount -t proc none /r/proc; mount -t devtmpfs none /r/dev
mkdir -p /r/dev/shm; mount -t tmpfs -o mode=1777 none /r/dev/shm
mount -o bind /r/tmp /kept
for place in /r/tmp /r/home/server; do mount -t tmpfs -o mode=700,uid=1000,gid=1000 none "$place"; done
for kept in /kept/*/; do place=/r/tmp/$(basename "$kept"); mkdir "$place" && mount -o bind "$kept" "$place"; done
for word in $(cat /proc/cmdline); do case "$word" in processes=*) processes=${word#*=};; esac; done
ulimit -c 0; ulimit -u "$processes"; ulimit -n 4096
chroot /r /usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs --bounding-set=-all \\
    /bin/sh -c 'cd /home/server && eval "$(cat <&3)"; exit 125' gate \\
    < /port-in > /port-out 2> /port-err 3< /leave
echo $? > /port-status
echo o > /proc/sysrq-trigger; sleep 60
"""
_FOLDERS = ("bin", "dev", "kept", "modules", "proc", "r", "sys")


@dataclass(frozen=True, slots=True)
class Guest:
    """The two files that a machine boots from."""

    kernel: Path
    initramfs: Path


def make_guest(directory: Path) -> Guest:
    """Return what a machine boots, made below ``directory`` when it is not there yet.

    Raises
    ------
    NotFoundError
        The kernel or busybox is not on this host; the error names the way to get them.
    """
    parts = find_guest_parts()
    if parts is None:
        raise NotFoundError(
            "kernel for virtual servers",
            expected="Debian's linux-image-amd64 and busybox-static, installed or unpacked in .tools",
            found="one of them missing",
            cause="they were not fetched",
            next_step="python3 infra/fetch_tools.py guest (no root needed)",
        )
    key = hashlib.sha256(f"{parts.kernel.name} {parts.kernel.stat().st_mtime_ns}\n{_INIT}".encode()).hexdigest()[:12]
    place = directory / f"guest-{key}"
    guest = Guest(place / "vmlinux", place / "initramfs.cpio")
    if not place.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".new-guest-", dir=directory))
        try:
            (temporary / "vmlinux").write_bytes(_unpacked(parts.kernel))
            (temporary / "initramfs.cpio").write_bytes(_initramfs(parts))
            for each in temporary.iterdir():
                each.chmod(0o644)
            temporary.chmod(0o755)
            if not place.is_dir():
                temporary.rename(place)
        except FileExistsError:
            pass  # another process was faster, with the same result
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return guest


def _unpacked(kernel: Path) -> bytes:
    data = kernel.read_bytes()
    start = data.find(_XZ_MAGIC)
    if start < 0:
        raise FormatError(
            f"kernel '{kernel}'",
            expected="one that is packed with xz, as Debian 12 has it",
            found="another packing",
            cause="a kernel of another distribution",
            next_step="python3 infra/fetch_tools.py guest",
        )
    return lzma.LZMADecompressor().decompress(data[start:])


def _initramfs(parts: GuestParts) -> bytes:
    modules = needed_modules(parts.modules)
    entries = [_entry(folder, b"", 0o040755) for folder in _FOLDERS]
    entries.append(_entry("bin/busybox", parts.busybox.read_bytes(), 0o100755))
    entries += [_entry(f"modules/{module.name}", module.read_bytes(), 0o100644) for module in modules]
    order = "".join(f"{module.name}\n" for module in modules)
    entries.append(_entry("modules/order", order.encode(), 0o100644))
    entries.append(_entry("init", _INIT.encode(), 0o100755))
    entries.append(_entry("TRAILER!!!", b"", 0))
    return b"".join(entries)


def needed_modules(folder: Path) -> list[Path]:
    """Return the files of the modules that a machine loads, each after those that it depends on.

    What is built into the kernel has no file.
    """
    known = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
    ordered: dict[str, Path] = {}

    def add(name: str) -> None:
        if name in ordered or name not in known:
            return
        found = _DEPENDS.search(known[name].read_bytes())
        for needed in found[1].decode().split(",") if found and found[1] else ():
            add(needed.replace("-", "_"))
        ordered[name] = known[name]

    for name in _MODULES:
        add(name)
    return list(ordered.values())


def _entry(name: str, data: bytes, mode: int) -> bytes:
    """Return one entry of a cpio archive in the "newc" format."""
    encoded = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(f"{value:08X}".encode() for value in fields)
    return _padded(header + encoded) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
