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

"""Reading front to back, however the data are cut into chunks."""

import random
import unittest

import ddt

from glance_xs_convert.converter.streams import forward

DATA = random.Random(1).randbytes(5000)


def chunks(seed):
    """The data in pieces of any size, empty ones among them."""
    rng = random.Random(seed)
    most = rng.choice((1, 7, 512, 6000))
    left = DATA
    while left:
        size = rng.randint(0, most)
        yield left[:size]
        left = left[size:]


def reader(seed):
    return forward.ForwardReader(chunks(seed))


def joined(pieces):
    return b''.join(chunk[start:end] for chunk, start, end in pieces)


@ddt.ddt
class ForwardReader(unittest.TestCase):

    @ddt.data(*range(30))
    def test_reads_in_any_way(self, seed):
        rng = random.Random(seed)
        tested, position = reader(seed), 0
        while position < len(DATA):
            size = min(rng.choice((0, 1, 5, 600)), len(DATA) - position)
            wanted = DATA[position:position + size]
            kind = rng.randrange(3)
            if kind == 0:
                self.assertEqual(wanted, tested.read(size))
            elif kind == 1:
                self.assertEqual(wanted, joined(tested.pieces(size)))
            else:
                tested.skip(size)
            position += size
            self.assertEqual(position, tested.position)
        self.assertTrue(tested.at_end())

    @ddt.data('read', 'skip')
    def test_end_of_data(self, method):
        tested = reader(3)
        tested.skip(len(DATA) - 10)
        self.assertFalse(tested.at_end())
        self.assertRaises(forward.EndOfData, getattr(tested, method), 11)

    def test_available_needs_no_further_chunk(self):
        tested = forward.ForwardReader(iter([b'abc', b'defg']))
        self.assertEqual(0, tested.available)
        tested.read(1)
        self.assertEqual(2, tested.available)
        tested.read(3)
        self.assertEqual(3, tested.available)

    def test_no_copies(self):
        chunk = bytes(4096)
        tested = forward.ForwardReader([chunk])
        [(found, start, end)] = tested.pieces(4096)
        self.assertIs(chunk, found)
        self.assertEqual((0, 4096), (start, end))

    def test_reads_no_chunk_too_early(self):
        taken = []

        def slowly():
            for number in range(3):
                taken.append(number)
                yield b'abc'

        tested = forward.ForwardReader(slowly())
        tested.read(3)
        self.assertEqual([0], taken)
        self.assertFalse(tested.at_end())
        self.assertEqual([0, 1], taken)


class Window(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.whole = reader(5)
        self.whole.skip(100)
        self.window = forward.Window(self.whole, 1000)

    def test_ends_before_the_data(self):
        self.assertEqual(DATA[100:700], self.window.read(600))
        self.assertEqual((600, 400), (self.window.position, self.window.left))
        for method in ('read', 'skip', 'pieces'):
            self.assertRaises(forward.EndOfData,
                              getattr(self.window, method), 401)
        self.assertEqual(DATA[700:1100], joined(self.window.pieces(400)))
        self.assertEqual(0, self.window.left)
        self.assertEqual(DATA[1100:1101], self.whole.read(1))

    def test_skipping(self):
        self.window.skip(999)
        self.assertEqual(DATA[1099:1100], self.window.read(1))

    def test_windows_in_windows(self):
        inner = forward.Window(self.window, 5000)
        self.assertEqual(DATA[100:1100], inner.read(1000))
        self.assertRaises(forward.EndOfData, inner.read, 1)


@ddt.ddt
class Rewound(unittest.TestCase):

    @ddt.data((0, 8), (3, 3), (8, 0), (8, 100), (2, 500))
    @ddt.unpack
    def test_reads_again(self, first, second):
        whole = reader(7)
        tested = forward.Rewound(whole, whole.read(8))
        self.assertEqual(0, tested.position)
        self.assertEqual(DATA[:first], tested.read(first))
        self.assertEqual(first, tested.position)
        end = first + second
        self.assertEqual(DATA[first:end], joined(tested.pieces(second)))
        self.assertEqual(end, tested.position)
        tested.skip(10)
        self.assertEqual(DATA[end + 10:end + 20], tested.read(10))
