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


"""What data are, told by their first bytes."""

from glance_xs_convert.converter.vhd import layout

#: First bytes of what people take for a XenServer image.
_KNOWN_MAGIC = (
    (layout.Footer.COOKIE, 'a VHD without an archive around it'),
    (b'vhdxfile', 'a VHDX disk'),
    (b'QFI\xfb', 'a qcow2 disk'),
    (b'KDMV', 'a VMDK disk'),
    (b'PK\x03\x04', 'a zip archive'),
    (b'BZh', 'bzip2 data'),
    (b'\xfd7zXZ\x00', 'xz data'),
    (b'\x28\xb5\x2f\xfd', 'zstandard data'),
    (b'<', 'text'),
)


def describe(start: bytes) -> str:
    """What data are, as the end of a sentence that says "it is …".

    :param start: the first bytes, a sector if there are so many
    """
    if not start:
        return 'it is empty'
    for magic, what in _KNOWN_MAGIC:
        if start.startswith(magic):
            return f'it is {what}'
    return f'it starts with 0x{start[:8].hex()}'
