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

"""How much an image may ask for."""

import dataclasses

#: Units in bytes, for those who cannot have oslo.utils.
MIB = 1024 ** 2
GIB = 1024 ** 3

#: The largest disk that a VHD can hold, in bytes.
MAX_VIRTUAL_SIZE = 2040 * GIB
#: The longest chain that XenServer makes, in layers.
MAX_CHAIN_LENGTH = 30


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds that are checked before anything is allocated or written.

    :ivar max_virtual_size: size of the disk and of each of its layers, in
                            bytes
    :ivar max_chain_length: number of layers from the leaf to the base
    :ivar max_members: number of the archive's members of any kind
    :ivar max_ignored_size: total size in bytes of the members that do not
                            belong to the chain; also of the data in one VHD
                            that does not belong to a block, and of the holes
                            in one member
    """

    max_virtual_size: int = MAX_VIRTUAL_SIZE
    max_chain_length: int = MAX_CHAIN_LENGTH
    max_members: int = 1000
    max_ignored_size: int = 4 * GIB


#: The import plugin's defaults.
DEFAULT = Limits()
