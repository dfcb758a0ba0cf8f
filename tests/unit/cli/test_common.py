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

"""What the commands share: their arguments, and the end of their output."""

import argparse
import errno
import io
import signal
import unittest
from unittest import mock

import ddt

from glance_xs_convert.cli import common

GIB = 1 << 30


def parse(*arguments):
    """Parse the arguments of a command that reads an image."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    common.add_image(parser)
    return parser.parse_args(arguments)


@ddt.ddt
class Numbers(unittest.TestCase):

    @ddt.data(('1', 1), ('007', 7), (str(1 << 70), 1 << 70))
    @ddt.unpack
    def test_numbers(self, argument, number):
        self.assertEqual(number, common.positive(argument))
        self.assertEqual(number, common.whole_number(argument))

    @ddt.data('', ' ', '-1', '1.0', '1e3', '0x10', 'one', '1 2', '\u00b2',
              '-', '1\x1b[m', '1_000', '\u0663', '9' * 5000)
    def test_no_numbers(self, argument):
        for convert in (common.positive, common.whole_number):
            with self.assertRaises(argparse.ArgumentTypeError) as caught:
                convert(argument)
            self.assertIn(repr(argument), str(caught.exception))
            self.assertTrue(str(caught.exception).isprintable())

    def test_none(self):
        self.assertEqual(0, common.whole_number('0'))
        self.assertRaises(argparse.ArgumentTypeError, common.positive, '0')


class Requests(unittest.TestCase):
    """What the process that reads the image is told."""

    def test_options(self):
        found = common.request(parse(
            'x', '--max-virtual-size', '3', '--max-chain-length', '2',
            '--disk', 'xvdb', '--sandbox', 'off'))
        self.assertEqual((3 * GIB, 2, 'xvdb', 'off'), (
            found.limits.max_virtual_size, found.limits.max_chain_length,
            found.disk, found.sandbox))

    def test_wrong_options(self):
        for arguments in (('x', '--sandbox', 'perhaps'),
                          ('x', '--max-virtual-size', '0'),
                          ('x', '--max-chain-length', 'two')):
            self.assertRaises(argparse.ArgumentError, parse, *arguments)


class Sizes(unittest.TestCase):

    def test_for_people_and_programs(self):
        size = common.Size(3 << 20)
        self.assertEqual(('3 MiB', 3 << 20), (size.human_readable(),
                                              size.machine_readable()))


class Flush(unittest.TestCase):
    """Output that cannot be written changes the exit status."""

    def flush(self, error=None):
        stream = io.StringIO()
        if error is not None:
            stream.flush = mock.Mock(side_effect=error)
        with (mock.patch.object(common.sys, 'stdout', stream),
              mock.patch.object(common.sys, 'stderr',
                                io.StringIO()) as errors):
            return common.flush(), errors.getvalue()

    def test_written(self):
        self.assertEqual((0, ''), self.flush())

    def test_nobody_reads(self):
        """The status is that of a program which the signal ends."""
        self.assertEqual((128 + signal.SIGPIPE, ''),
                         self.flush(BrokenPipeError()))

    def test_full(self):
        status, said = self.flush(OSError(errno.ENOSPC, 'No space left'))
        self.assertEqual(1, status)
        self.assertRegex(said, r'\A[^\n]*No space left\n\Z')

    def test_closed(self):
        with mock.patch.object(common.sys, 'stdout', None):
            self.assertEqual(0, common.flush())
