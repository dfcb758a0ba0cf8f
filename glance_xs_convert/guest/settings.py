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
"""The operator's settings for adapting guests."""

from collections.abc import Mapping
import dataclasses
import os
import shutil
from typing import Any

from glance_xs_convert import exceptions

TOOL = 'virt-v2v-in-place'
INSPECTOR = 'virt-inspector'
QEMU_IMG = 'qemu-img'

#: The packages that provide what is needed, for people.
PACKAGES = ('virt-v2v, guestfs-tools (libguestfs-tools on Debian and Ubuntu), '
            'nbdkit, qemu-utils (qemu-img on RHEL) and a kernel')

#: Where programs are, besides the PATH: RHEL has the tool in /usr/libexec.
_PATH = ('/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin',
         '/sbin', '/bin', '/usr/libexec')
#: What the names of libguestfs' environment variables begin with.
PREFIX = 'LIBGUESTFS_'
_BACKEND = 'LIBGUESTFS_BACKEND'
_BACKEND_SETTINGS = 'LIBGUESTFS_BACKEND_SETTINGS'
_CACHE = 'LIBGUESTFS_CACHEDIR'
_FORCE_TCG = 'force_tcg'
_FORCE_KVM = 'force_kvm'
KVM_DEVICE = '/dev/kvm'
#: How many times as long the appliance may take to start without KVM.
WITHOUT_KVM = 5


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to adapt guests on this host.

    :ivar tool: name or path of virt-v2v-in-place
    :ivar inspector: name or path of virt-inspector, which is used if it is
                     installed
    :ivar max_time: time for a guest, in seconds; 0 for no limit
    :ivar start_timeout: time for the appliance to start with KVM, in seconds
    :ivar memory: memory of the appliance, in MiB; virt-v2v itself gives it
                  about three times as much
    :ivar libguestfs: environment variables of libguestfs, by name
    :ivar virtio_win: path of the virtio drivers for Windows, a directory or an
                      ISO image; None for where virt-v2v looks for them
    :ivar scratch: directory for scratch files, or None for the usual one
    """

    tool: str = TOOL
    inspector: str = INSPECTOR
    max_time: int = 3600
    start_timeout: int = 120
    memory: int = 1280
    libguestfs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    virtio_win: str | None = None
    scratch: str | None = None

    def __post_init__(self) -> None:
        wrong = [name for name in self.libguestfs
                 if not name.startswith(PREFIX)]
        if wrong:
            raise ValueError(f'{wrong[0]} is not a setting of libguestfs')

    @property
    def cache(self) -> str:
        """The directory in which libguestfs keeps its appliance."""
        return self.libguestfs.get(_CACHE) or '/var/tmp'  # nosec B108

    @property
    def may_use_kvm(self) -> bool:
        """Whether the appliance would use KVM, as far as one can tell."""
        wanted = self._backend_settings()
        return _FORCE_TCG not in wanted and os.access(
            KVM_DEVICE, os.R_OK | os.W_OK)

    @property
    def start_patience(self) -> int:
        """The time for the appliance to start, in seconds."""
        return self.start_timeout * (1 if self.may_use_kvm else WITHOUT_KVM)

    def without_kvm(self) -> 'Settings':
        """Return the settings for an appliance that does not use KVM."""
        wanted = [one for one in self._backend_settings()
                  if one not in (_FORCE_KVM, _FORCE_TCG)]
        return dataclasses.replace(self, libguestfs={
            **self.libguestfs,
            _BACKEND_SETTINGS: ':'.join([*wanted, _FORCE_TCG])})

    def environment(self, scratch: str) -> dict[str, str]:
        """Return the environment of the tools.

        :param scratch: directory for their files
        """
        return {
            'PATH': path(),
            # Their messages are read by a program.
            'LC_ALL': 'C.UTF-8',
            'HOME': scratch,
            'TMPDIR': scratch,
            'XDG_RUNTIME_DIR': scratch,
            _BACKEND: 'direct',
            'LIBGUESTFS_MEMSIZE': str(self.memory),
            **({'VIRTIO_WIN': self.virtio_win} if self.virtio_win else {}),
            **self.libguestfs,
            # Traces tell when the appliance has started.
            'LIBGUESTFS_TRACE': '1',
        }

    def _backend_settings(self) -> list[str]:
        return [one for one in self.libguestfs.get(
            _BACKEND_SETTINGS, '').split(':') if one]


def of_options(group: Any) -> Settings:
    """Return the settings as configured.

    :param group: options with the names of ``[xs_adapt]``
    :raises ToolMissing: a setting is not valid
    """
    try:
        return Settings(
            tool=group.tool, inspector=group.inspector,
            max_time=group.max_time, start_timeout=group.start_timeout,
            memory=group.memory, libguestfs=dict(group.libguestfs),
            virtio_win=group.virtio_win, scratch=group.scratch_path)
    except ValueError as error:
        raise exceptions.ToolMissing(
            f'the option libguestfs cannot be used: {error}') from error


def path() -> str:
    """Return the directories in which to look for programs."""
    known = [one for one in os.environ.get('PATH', '').split(os.pathsep)
             if os.path.isabs(one)]
    return os.pathsep.join(dict.fromkeys([*known, *_PATH]))


def find(program: str) -> str | None:
    """Return the path of a program, or None if it is not installed.

    :param program: name or path
    """
    return shutil.which(program, path=path())


def require(program: str) -> str:
    """Return the path of a program.

    :param program: name or path
    :raises ToolMissing: it is not installed
    """
    found = find(program)
    if found is None:
        raise exceptions.ToolMissing(
            f'{program} is not installed on this host: adapting guests '
            f'requires the packages {PACKAGES}')
    return found
