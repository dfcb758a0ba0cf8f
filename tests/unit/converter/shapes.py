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


"""Chains of VHDs that the tests of the converter are made of."""

import dataclasses
import random

from testbed.images import chains
from testbed.images import vhd

DATA = random.Random('content').randbytes(3000)


def chain(count=3, size=96 * vhd.KIB, block_size=4 * vhd.KIB, seed='chain'):
    """Random layers of one size."""
    return chains.random_chain(seed, [size] * count, [block_size])


def fixed(content=DATA, size=64 * vhd.KIB, **options):
    """A fixed VHD, whose only footer is at its end."""
    return vhd.Layer(size, [(0, content.ljust(3072, b'\0'))],
                     disk_type=vhd.FIXED, **options)


def with_layer(layers, number, **changes):
    """Return the chain with one of its layers changed."""
    changed = list(layers)
    changed[number] = dataclasses.replace(layers[number], **changes)
    return changed


def named(**cases):
    """Turn keyword arguments into what ``ddt.named_data`` takes."""
    return list(cases.items())
