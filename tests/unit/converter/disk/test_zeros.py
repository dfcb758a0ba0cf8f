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


"""Telling data from zeros: every byte once, and only pages of zeros."""

import random
import unittest

from glance_xs_convert.converter.disk import zeros

PAGE = 4096


def buffer(rng, pages):
    """Random pages, some of zeros, some that only begin or end with them."""
    kinds = (bytes(PAGE), b'\1' * PAGE, b'\0' + b'\1' * (PAGE - 1),
             b'\1' * (PAGE - 1) + b'\0', bytes(PAGE - 1) + b'\1')
    return b''.join(rng.choices(kinds, (5, 2, 1, 1, 1), k=pages))


class Split(unittest.TestCase):

    def split(self, data, start, end, shift=0):
        """The stretches, after they were checked to cover all."""
        found = list(zeros.split(data, start, end, shift))
        position = start
        for is_data, first, last in found:
            self.assertEqual(position, first)
            self.assertLess(first, last)
            if not is_data:
                self.assertEqual(bytes(last - first), data[first:last])
            position = last
        self.assertEqual(end, position)
        return found

    def test_all_zeros(self):
        data = bytes(1024 * PAGE)
        for end in (1, 511, PAGE, PAGE + 1, 100 * PAGE, len(data)):
            with self.subTest(end=end):
                self.assertFalse(any(
                    is_data for is_data, _, _ in self.split(data, 0, end)))

    def test_no_zeros(self):
        data = b'\1' * (9 * PAGE)
        self.assertEqual([(True, 0, len(data))],
                         self.split(data, 0, len(data)))

    def test_pages_are_those_of_the_disk(self):
        # One page of zeros in the buffer, but none on the disk.
        data = b'\1' * PAGE + bytes(PAGE) + b'\1' * PAGE
        self.assertEqual(
            [(True, 0, PAGE), (False, PAGE, 2 * PAGE),
             (True, 2 * PAGE, 3 * PAGE)], self.split(data, 0, 3 * PAGE))
        self.assertEqual(
            [(True, 0, 3 * PAGE)], self.split(data, 0, 3 * PAGE, shift=512))

    def test_every_page_is_judged_as_by_looking(self):
        rng = random.Random('zeros')
        for _ in range(300):
            data = buffer(rng, rng.randint(1, 40))
            start = rng.choice((0, 0, 512, rng.randrange(len(data))))
            end = rng.choice((len(data), rng.randint(start, len(data))))
            shift = rng.choice((0, 512, PAGE, rng.randrange(10 * PAGE)))
            hole = set()
            for is_data, first, last in self.split(data, start, end, shift):
                if not is_data:
                    hole.update(range(first, last))
            page = start
            while page < end:
                following = min(end, page + PAGE - (page + shift) % PAGE)
                self.assertEqual(not any(data[page:following]), page in hole)
                page = following
