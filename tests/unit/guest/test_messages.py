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
"""Understanding the tools by their own words.

The words are those of virt-v2v 2.2.0 and libguestfs 1.48, seen in runs or
found in the programs.
"""

import unittest

from glance_xs_convert import exceptions
from glance_xs_convert.guest import messages

_BUGS = ('', 'If reporting bugs, run virt-v2v-in-place with debugging enabled '
         'and include the complete output:', '',
         '  virt-v2v-in-place -v -x [...]')


def error(*lines, status=1):
    heard = messages.Messages()
    for line in lines:
        heard.add(line)
    return heard.error(status)


class Errors(unittest.TestCase):
    """The kinds of errors."""

    def assert_kind(self, kind, *lines):
        found = error(*lines)
        self.assertIs(kind, type(found), found)
        self.assertNotIn('\n', str(found))
        self.assertNotIn('reporting bugs', str(found))
        return str(found)

    def tool(self, kind, *lines):
        return self.assert_kind(
            kind, f'virt-v2v-in-place: error: {lines[0]}', *lines[1:], *_BUGS)

    def test_tool_needs_another(self):
        reason = self.tool(
            exceptions.ToolMissing, 'nbdkit is not installed or not working.  '
            'It is required to use ‘-i disk’.')
        self.assertIn('nbdkit is not installed', reason)

    def test_no_operating_system(self):
        self.tool(
            exceptions.NoOperatingSystem,
            'inspection could not detect the source guest (or physical '
            'machine) operating system.', '',
            'Assuming that you are running virt-v2v/virt-p2v on a source '
            'which is supported (and not, for example, a blank disk), then '
            'this should not happen.', '',
            'No root device found in this operating system image.')

    def test_several(self):
        self.tool(exceptions.SeveralOperatingSystems,
                  'multi-boot operating systems are not supported by '
                  'virt-v2v. Use the --root option to change how virt-v2v '
                  'handles this.')

    def test_encrypted(self):
        for words in ('could not find key to open LUKS encrypted /dev/sda2.',
                      'virt-inspector: could not read key from user'):
            self.tool(exceptions.EncryptedGuest, words)
        self.assert_kind(exceptions.EncryptedGuest,
                         '/dev/tty: No such device or address')

    def test_unclean(self):
        self.tool(exceptions.UncleanGuest,
                  'unable to mount the disk image for writing. This has '
                  'probably happened because Windows Hibernation or Fast '
                  'Restart is being used in this guest.')
        self.tool(exceptions.UncleanGuest,
                  'filesystem was mounted read-only, even though we asked for '
                  'it to be mounted read-write.')

    def test_only_xen(self):
        self.tool(exceptions.OnlyXenKernels,
                  'only Xen kernels are installed in this guest.', '',
                  'Read the virt-v2v(1) manual, section "XEN '
                  'PARAVIRTUALIZED GUESTS", to see what to do.')

    def test_no_room(self):
        self.tool(exceptions.NoRoomInGuest,
                  'not enough free space for conversion on filesystem ‘/’.  '
                  '1024 bytes free < 104857600 bytes needed')

    def test_no_boot_loader(self):
        """As of a UEFI guest without a grub.cfg in its system partition."""
        self.tool(exceptions.NoBootLoader, 'no bootloader detected')

    def test_unsupported(self):
        self.tool(exceptions.UnsupportedGuest,
                  'virt-v2v is unable to convert this guest type '
                  '(freebsd/freebsd)')

    def test_host_without_space(self):
        self.tool(exceptions.OutOfSpace,
                  'insufficient free space in the conversion server '
                  'temporary directory /var/tmp (50.0M).')

    def test_appliance(self):
        self.assert_kind(
            exceptions.ApplianceFailed,
            'libguestfs: error: guestfs_launch failed.',
            'This usually means the libguestfs appliance failed to start or '
            'crashed.')
        self.assert_kind(
            exceptions.ApplianceFailed,
            'libguestfs: error: cannot find any suitable libguestfs '
            'supermin, fixed or old-style appliance on LIBGUESTFS_PATH')

    def test_something_else(self):
        reason = self.tool(exceptions.AdaptingFailed, 'the moon is full')
        self.assertIn('the moon is full', reason)
        self.assertIn('status 9', str(error(status=9)))

    def test_last_words_without_a_mark(self):
        self.assertIn('Segmentation fault', self.assert_kind(
            exceptions.AdaptingFailed, 'Segmentation fault'))

    def test_long_words_are_cut(self):
        self.assertLess(len(self.tool(exceptions.AdaptingFailed,
                                      'word ' * 10000)), 500)

    def test_kinds_that_may_pass(self):
        """They are the host's fault, the others the guest's."""
        self.assertEqual(
            {'ToolMissing', 'ApplianceFailed', 'OutOfSpace'},
            {kind.__name__ for _, kind, _ in messages._ERRORS
             if kind.may_pass})


class Hearing(unittest.TestCase):
    """Stages, warnings, and drivers."""

    def heard(self, *lines):
        found = messages.Messages()
        found.add_output('\n'.join(lines).encode() + b'\n')
        return found

    def test_stages(self):
        found = messages.Messages()
        stages = [found.stage]
        for line in ('[   0.0] Setting up the source: -i disk x',
                     '[  28.4] Inspecting the source',
                     '[  47.2] Converting 12.15 to run on KVM',
                     '[ 175.2] Mapping filesystem data to avoid copying',
                     '[1755.2] Something new'):
            found.add_output(line.encode() + b'\n')
            stages.append(found.stage)
        self.assertEqual(
            [None, 'starting', 'looking for its operating system',
             'changing it', 'trimming its file systems',
             'trimming its file systems'], stages)

    def test_lines_in_pieces(self):
        found = messages.Messages()
        for byte in b'[   0.0] Inspecting the source\n':
            found.add_output(bytes([byte]))
        self.assertEqual('looking for its operating system', found.stage)

    def test_drivers(self):
        has = 'virt-v2v-in-place: This guest has virtio drivers installed.'
        lacks = ('virt-v2v-in-place: This guest does not have virtio drivers '
                 'installed.')
        net = ('virt-v2v-in-place: warning: there is no virtio network '
               'driver for this version of Windows (10.0 x86_64 Server).')
        for lines, expected in (
                ((), (None, None)), ((has,), (True, True)),
                ((lacks,), (False, False)), ((net, has), (True, False))):
            found = self.heard(*lines)
            self.assertEqual(expected, (found.has_virtio_disk,
                                        found.has_virtio_net))

    def test_warnings(self):
        found = self.heard(*(
            f'virt-v2v-in-place: warning: {word}' for word in
            ('one', *(['x' * 9999] * 99))))
        self.assertEqual('one', found.warnings[0])
        self.assertEqual(20, len(found.warnings))
        self.assertLess(len(found.warnings[1]), 400)

    def test_a_second_attempt_begins_anew(self):
        found = self.heard('virt-v2v-in-place: error: the first one failed')
        found.clear()
        found.add('virt-v2v-in-place: This guest has virtio drivers '
                  'installed.')
        self.assertIs(True, found.has_virtio_disk)
        self.assertNotIn('first', str(found.error(1)))
