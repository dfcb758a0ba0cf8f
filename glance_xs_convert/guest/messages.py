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
"""What virt-v2v-in-place and virt-inspector say, in words for people.

They have no other language: their exit status is 0 or 1. The patterns were
compared with the sources of virt-v2v 2.0 to 2.10 and libguestfs 1.48 to 1.56;
an error that matches none of them is an :class:`.AdaptingFailed` with the
tool's own words.
"""

import re

from glance_xs_convert import exceptions
from glance_xs_convert import text

#: The most warnings that are kept, and the longest one, in characters.
_MOST_WARNINGS = 20
_LONGEST = 300
#: The most lines of an error.
_MOST_LINES = 40

_STAGE = re.compile(r'\[ *\d+\.\d+\] (.*)')
_TAGGED = re.compile(r'(?:virt-[a-z0-9-]+|libguestfs): '
                     r'(?:(warning|error): )?(.*)')
#: Where an error ends: what follows is about reports of bugs.
_END_OF_ERROR = 'If reporting bugs'

#: The stages, by the words that begin them, as people read them.
_STAGES = (
    ('Setting up', 'starting'),
    ('Opening', 'starting'),
    ('Inspecting', 'looking for its operating system'),
    ('Checking', 'looking for space'),
    ('Converting', 'changing it'),
    ('Mapping', 'trimming its file systems'),
    ('Closing', 'finishing'),
)

_HAS_VIRTIO = 'This guest has virtio drivers installed'
_LACKS_VIRTIO = 'This guest does not have virtio drivers installed'
_LACKS_NET = 'there is no virtio network driver'

_UNCLEAN = ('the guest is hibernated, uses Fast Startup, or was not shut down '
            'cleanly: start it on XenServer once more, and shut it down '
            'completely')

#: Errors by what the tools say of them. The first match counts.
_ERRORS: tuple[tuple[str, type[exceptions.XsConvertError], str], ...] = (
    (r'insufficient free space in the conversion server',
     exceptions.OutOfSpace,
     'the host lacks the space to adapt the guest'),
    (r'multi-boot operating systems',
     exceptions.SeveralOperatingSystems,
     'the disk holds several operating systems, and only one can be adapted'),
    (r'LUKS|BitLocker|passphrase|encrypted|/dev/tty'
     r'|key from user',
     exceptions.EncryptedGuest,
     "the guest's file systems are encrypted, and nobody here has the key"),
    (r'[Hh]ibernat|unsafe state|mounted read-only|not cleanly unmounted',
     exceptions.UncleanGuest, _UNCLEAN),
    (r'only Xen kernels', exceptions.OnlyXenKernels,
     'the guest has only kernels that need Xen: install an ordinary kernel '
     'in it first'),
    (r'not enough free space for conversion|inodes|No space left on device',
     exceptions.NoRoomInGuest,
     "the guest's file systems are too full to adapt it"),
    (r'No root device found|No operating system|no operating system'
     r'|not an installed operating system',
     exceptions.NoOperatingSystem,
     'the disk holds no operating system that the tool knows'),
    (r'no bootloader detected', exceptions.NoBootLoader,
     'the guest has no boot loader that the tool knows'),
    (r'unable to convert this guest|could not detect the source guest'
     r'|no installed kernel packages|No installed kernel'
     r'|configuration file was found',
     exceptions.UnsupportedGuest,
     'the tool does not know how to adapt this guest'),
    (r'nbdkit|qemu-nbd.*not (?:found|installed)|nbdinfo',
     exceptions.ToolMissing,
     'a program that virt-v2v needs is missing on this host'),
    (r'supermin|cannot find any suitable libguestfs|vmlinuz'
     r'|guestfs_launch|launch failed|launch_direct|appliance closed'
     r'|qemu.*exited|libguestfs error',
     exceptions.ApplianceFailed,
     "libguestfs' virtual machine does not work on this host"),
)
#: The errors for which the tool's own words help.
_QUOTED = (exceptions.UnsupportedGuest, exceptions.ToolMissing,
           exceptions.ApplianceFailed, exceptions.AdaptingFailed,
           exceptions.NoRoomInGuest)


class Messages:
    """What a tool has said so far.

    :ivar stage: the stage that it has reached, for people; None before the
                 first one
    :ivar warnings: its warnings
    :ivar has_virtio_disk: whether the guest has a driver for virtio disks;
                           None before the tool has said so
    :ivar has_virtio_net: the same for network cards
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything, because the tool begins again."""
        self.stage: str | None = None
        self.warnings: list[str] = []
        self.has_virtio_disk: bool | None = None
        self.has_virtio_net: bool | None = None
        self._lacks_net = False
        self._error: list[str] | None = None
        self._last = ''
        self._rest = b''

    def add_output(self, data: bytes) -> None:
        """Take what the tool writes to standard output."""
        *lines, rest = (self._rest + data).split(b'\n')
        self._rest = rest[:_LONGEST]
        for line in lines:
            self.add(text.printable(line.decode(errors='backslashreplace'),
                                    10 * _LONGEST))

    def add(self, line: str) -> None:
        """Take a line of what the tool says."""
        stage = _STAGE.match(line)
        tagged = _TAGGED.match(line)
        if stage:
            self._reach(stage[1])
        elif tagged and tagged[1] == 'error':
            self._error = [tagged[2]]
        elif tagged and tagged[1] == 'warning':
            self._warn(tagged[2])
        elif self._error is not None:
            if len(self._error) < _MOST_LINES:
                self._error.append(line)
        elif tagged:
            self._inform(tagged[2])
        elif line.strip():
            self._last = line

    def error(self, status: int) -> exceptions.XsConvertError:
        """Return the error with which the tool ended.

        :param status: exit status of the tool
        """
        words = self._words()
        kind: type[exceptions.XsConvertError] = exceptions.AdaptingFailed
        reason = f'the tool ended with status {status}'
        for pattern, known, sentence in _ERRORS:
            if re.search(pattern, words):
                kind, reason = known, sentence
                break
        if issubclass(kind, _QUOTED) and words:
            reason += f' ({text.printable(words, _LONGEST)})'
        return kind(reason)

    def _words(self) -> str:
        """Return the last error in one line, without advice."""
        words: list[str] = []
        for line in self._error if self._error is not None else [self._last]:
            if line.startswith(_END_OF_ERROR):
                break
            words += line.split()
        return ' '.join(words).rstrip('.')

    def _reach(self, words: str) -> None:
        for beginning, stage in _STAGES:
            if words.startswith(beginning):
                self.stage = stage

    def _warn(self, words: str) -> None:
        if len(self.warnings) < _MOST_WARNINGS:
            self.warnings.append(text.printable(words.strip(), _LONGEST))
        if _LACKS_NET in words:
            self._lacks_net = True
            self.has_virtio_net = False

    def _inform(self, words: str) -> None:
        if words.startswith(_HAS_VIRTIO):
            self.has_virtio_disk = True
            self.has_virtio_net = not self._lacks_net
        elif words.startswith(_LACKS_VIRTIO):
            self.has_virtio_disk = self.has_virtio_net = False
