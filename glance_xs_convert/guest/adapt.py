# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""Adapting the guest on a raw disk.

The tools see an overlay of the disk: a QCOW2 file that takes what they write.
Only when all went well is the overlay committed to the disk, see
:mod:`.commit`.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import fcntl
import os
import shutil
import subprocess  # nosec B404
import tempfile
import time

from glance_xs_convert.converter.disk import first_sectors
from glance_xs_convert import exceptions
from glance_xs_convert.guest import inspection
from glance_xs_convert.guest import messages
from glance_xs_convert.guest import programs
from glance_xs_convert.guest import settings as settings_
from glance_xs_convert import publish
from glance_xs_convert import results
from glance_xs_convert import text
from glance_xs_convert import units

BIOS = 'bios'
UEFI = 'uefi'

#: The space below which the tools are stopped, because the appliance would
#: wait forever for more.
RESERVE = 128 * units.MIB
#: The longest time for a program that answers at once, in seconds.
_SHORT_TIMEOUT = 60

_SCRATCH_PREFIX = 'glance-xs-adapt-'
#: The longest name of a scratch directory: sockets in it have longer ones.
_LONGEST_SCRATCH = 60


@dataclasses.dataclass(frozen=True)
class Progress:
    """The progress of adapting a guest.

    :ivar stage: what is being done with the guest, for people
    :ivar seconds: time that it has taken so far
    """

    stage: str
    seconds: float


OnProgress = Callable[[Progress], None]


@dataclasses.dataclass(frozen=True)
class Adapted:
    """A guest that was adapted.

    :ivar system: its operating system
    :ivar firmware: ``bios`` or ``uefi``: what it boots with
    :ivar has_virtio_disk: whether it has a driver for virtio disks
    :ivar has_virtio_net: whether it has a driver for virtio network cards
    :ivar tool: the tool's name and version
    :ivar warnings: what the tool warned of
    :ivar used_kvm: whether KVM was there and worked
    :ivar seconds: how long it took
    """

    system: inspection.System
    firmware: str
    has_virtio_disk: bool
    has_virtio_net: bool
    tool: str
    warnings: tuple[str, ...]
    used_kvm: bool
    seconds: float


def adapt(disk: str, overlay: str, settings: settings_.Settings, *,
          python: str, on_progress: OnProgress) -> Adapted:
    """Adapt the guest on a disk, in an overlay.

    The disk is not changed. If there is an error, no overlay is left behind.

    :param disk: path of the raw disk
    :param overlay: path of the overlay, which must not exist
    :param python: interpreter to run a warden with
    :param on_progress: called twice a second; an error that it raises ends
                        the work
    :raises XsConvertError: the guest cannot be adapted
    """
    return _Work(disk, overlay, settings, python, on_progress).run()


def tool_version(settings: settings_.Settings) -> str:
    """Return the tool's name and version, such as virt-v2v-in-place 2.2.0.

    :raises ToolMissing: it is not installed, or cannot be run
    """
    path = settings_.require(settings.tool)
    try:
        said = subprocess.run(  # nosec B603
            [path, '--version'], capture_output=True, check=True,
            stdin=subprocess.DEVNULL, timeout=_SHORT_TIMEOUT).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise exceptions.ToolMissing(f'{path} cannot be run: {error}') from (
            error)
    return text.printable(said.decode(errors='replace').strip(), 80)


def firmware_of(disk: str) -> str:
    """Return ``bios`` or ``uefi``: what a disk boots with."""
    found = _first_sectors(disk)
    return (UEFI if found.has_efi_system_partition
            and not found.has_boot_code else BIOS)


def _first_sectors(disk: str) -> results.FirstSectors:
    with publish.open_source(disk) as file:
        return first_sectors.examine(
            os.pread(file.fileno(), first_sectors.SIZE, 0))


@contextlib.contextmanager
def scratch_directory(parent: str | None) -> Iterator[str]:
    """Yield a locked directory for the tools' files, and remove it at the end.

    Those that killed processes have left behind are removed, too.

    :raises UnwritableTarget: it cannot be made
    """
    parent = os.path.abspath(parent or tempfile.gettempdir())
    try:
        _remove_abandoned(parent)
        path = tempfile.mkdtemp(prefix=_SCRATCH_PREFIX, dir=parent)
    except OSError as error:
        raise exceptions.UnwritableTarget(
            f'a scratch directory cannot be made in {parent}: '
            f'{error.strerror}') from error
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if len(path) > _LONGEST_SCRATCH:
            raise exceptions.UnwritableTarget(
                f'the name of the scratch directory {path} is too long for '
                'sockets: choose a shorter one')
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _remove_abandoned(parent: str) -> None:
    """Remove scratch directories of this user that nobody has locked."""
    for entry in os.scandir(parent):
        if not (entry.name.startswith(_SCRATCH_PREFIX)
                and entry.is_dir(follow_symlinks=False)):
            continue
        with contextlib.suppress(OSError):
            if (entry.stat(follow_symlinks=False).st_uid != os.geteuid()
                    or time.time() - entry.stat().st_mtime < 1):
                continue
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY
                                 | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry.path, ignore_errors=True)
            finally:
                os.close(descriptor)


class _Work:
    """Adapts one guest."""

    def __init__(self, disk: str, overlay: str,
                 settings: settings_.Settings, python: str,
                 on_progress: OnProgress) -> None:
        self._disk = os.path.abspath(disk)
        self._overlay = os.path.abspath(overlay)
        self._settings = settings
        self._python = python
        self._on_progress = on_progress
        self._start = time.monotonic()

    def run(self) -> Adapted:
        version = tool_version(self._settings)
        settings_.require(settings_.QEMU_IMG)
        sectors = _first_sectors(self._disk)
        with scratch_directory(self._settings.scratch) as scratch:
            system = self._inspect(scratch)
            if not (sectors.has_boot_code
                    or sectors.has_efi_system_partition):
                raise exceptions.NoBootLoader(
                    'the disk has neither boot code nor an EFI system '
                    'partition: XenServer read the kernel from it '
                    '(paravirtualization). Install a boot loader in the '
                    'guest first')
            try:
                heard = self._convert(scratch)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._overlay)
                raise
        return Adapted(
            system=system,
            firmware=firmware_of(self._disk),
            has_virtio_disk=bool(heard.has_virtio_disk),
            has_virtio_net=bool(heard.has_virtio_net),
            tool=version, warnings=tuple(heard.warnings),
            used_kvm=self._settings.may_use_kvm,
            seconds=time.monotonic() - self._start)

    def _inspect(self, scratch: str) -> inspection.System:
        """Find the operating system on the disk."""
        inspector = settings_.require(self._settings.inspector)
        document = bytearray()

        def take(data: bytes) -> None:
            if len(document) <= inspection.LONGEST:
                document.extend(data)

        heard = messages.Messages()
        status = self._run_tool(
            [inspector, '--no-icon', '--format=raw', '-a', self._disk],
            scratch, 'looking for its operating system', heard, take,
            document.clear)
        if status:
            raise heard.error(status)
        systems = inspection.parse(bytes(document))
        if not systems:
            raise exceptions.NoOperatingSystem(
                'the disk holds no operating system that libguestfs knows')
        if len(systems) > 1:
            raise exceptions.SeveralOperatingSystems(
                f'the disk holds {len(systems)} operating systems, and only '
                'one can be adapted')
        return systems[0]

    def _convert(self, scratch: str) -> messages.Messages:
        """Run the tool on a new overlay."""
        heard = messages.Messages()

        self._make_overlay()
        status = self._run_tool(
            [settings_.require(self._settings.tool), '-i', 'disk', '-if',
             'qcow2', '--root', 'single', self._overlay],
            scratch, 'starting', heard, heard.add_output,
            self._make_overlay)
        if status:
            raise heard.error(status)
        return heard

    def _make_overlay(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._overlay)
        try:
            subprocess.run(  # nosec B603
                [settings_.require(settings_.QEMU_IMG), 'create', '-q', '-f',
                 'qcow2', '-F', 'raw', '-b', self._disk, self._overlay],
                check=True, capture_output=True, stdin=subprocess.DEVNULL,
                umask=0o077, timeout=_SHORT_TIMEOUT)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, 'stderr', None) or str(error).encode()
            words = text.printable(said.decode(errors='replace').strip(), 200)
            raise exceptions.UnwritableTarget(
                f'an overlay of the disk cannot be made: {words}') from error

    def _run_tool(self, command: list[str], scratch: str, stage: str,
                  heard: messages.Messages,
                  on_output: Callable[[bytes], None],
                  again: Callable[[], None]) -> int:
        """Run a tool; if its appliance does not start with KVM, try without.

        :param again: called before the second attempt
        :returns: exit status of the tool
        :raises ApplianceFailed: the appliance does not start, or hangs
        """
        try:
            return self._run_once(command, scratch, stage, heard, on_output)
        except exceptions.ApplianceFailed:
            if not self._settings.may_use_kvm:
                raise
        self._settings = self._settings.without_kvm()
        heard.clear()
        again()
        return self._run_once(command, scratch, stage, heard, on_output)

    def _run_once(self, command: list[str], scratch: str, stage: str,
                  heard: messages.Messages,
                  on_output: Callable[[bytes], None]) -> int:
        patience = self._settings.start_patience

        def check(tool: programs.Tool) -> None:
            tool.check_start(patience)
            self._check_limits(scratch)
            self._on_progress(Progress(
                heard.stage or stage, time.monotonic() - self._start))

        with programs.Tool(
                self._python, command,
                environment=self._settings.environment(scratch),
                scratch=scratch, memory=self._settings.memory,
                disk_size=os.stat(self._disk).st_size) as tool:
            status = tool.run(check, on_output, heard.add)
        if status and not tool.has_started:
            raise heard.error(status)
        return status

    def _check_limits(self, scratch: str) -> None:
        limit = self._settings.max_time
        if limit and time.monotonic() - self._start > limit:
            raise exceptions.AdaptingTimedOut(
                f'adapting the guest took more than {limit} seconds')
        for place in (scratch, os.path.dirname(self._overlay)):
            if shutil.disk_usage(place).free < RESERVE:
                raise exceptions.OutOfSpace(
                    'the host lacks the space to adapt the guest: less than '
                    f'{text.size(RESERVE)} are left')
