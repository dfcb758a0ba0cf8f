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

"""The errors of this package.

The text of every error is one sentence for the person who uploaded the image:
it names the member of the archive, what was found and what was expected.
"""


class XsConvertError(Exception):
    """The base class of all errors of this package.

    :ivar reason: the text of the error without the name of the member
    :ivar member: the name of the archive's member that is at fault, or None
                  if the fault lies with the archive as a whole
    :ivar offset: the position of the fault in bytes, in that member or, if
                  ``member`` is None, in the decompressed archive; None if it
                  has no position
    """

    def __init__(self, reason: str, *, member: str | None = None,
                 offset: int | None = None) -> None:
        self.reason = reason
        self.member = member
        self.offset = offset
        super().__init__(f'{member}: {reason}' if member else reason)


class NotAnArchive(XsConvertError):
    """The data is not a tar archive, gzipped or not."""


class DamagedArchive(XsConvertError):
    """The gzip stream or the tar archive is cut short or corrupt."""


class UnsafeMember(XsConvertError):
    """A VHD is not a regular file, or its name leads out of the archive."""


class NoVhd(XsConvertError):
    """The archive is intact but holds no VHD."""


class BrokenChain(XsConvertError):
    """The VHDs do not form one chain from a leaf to a base."""


class MissingLayer(BrokenChain):
    """A number is missing between the leaf and the base."""


class MissingBase(BrokenChain):
    """The last layer is a differencing disk, but its parent is missing."""


class DuplicateLayer(BrokenChain):
    """Two members claim the same place in the chain."""


class NotDifferencing(BrokenChain):
    """A layer with a parent in the archive is not a differencing disk."""


class WrongParent(BrokenChain):
    """A layer names a member other than the next one as its parent."""


class AmbiguousNames(BrokenChain):
    """The members' names do not say which VHD comes first."""


class DamagedVhd(XsConvertError):
    """A VHD contradicts itself or the VHD specification."""


class EncryptedVhd(XsConvertError):
    """A VHD is encrypted, and cannot be read without its key."""


class DamagedExport(XsConvertError):
    """A XenServer export contradicts itself or XenServer's format."""


class WrongChecksum(DamagedExport):
    """A chunk of a disk does not match its checksum."""


class IncompleteDisk(DamagedExport):
    """The chunks of a disk do not add up to the size in ova.xml."""


class OldExport(XsConvertError):
    """An export in a format that XenServer gave up."""


class DiskNotChosen(XsConvertError):
    """An export holds several disks, and nobody has chosen one."""


class NoSuchDisk(XsConvertError):
    """The image does not hold the disk that was asked for."""


class LimitExceeded(XsConvertError):
    """The image asks for more than the configured limits allow."""


class OutOfSpace(XsConvertError):
    """The output's file system has no space for the disk."""


class TargetExists(XsConvertError):
    """The output file exists already."""


class UnreadableSource(XsConvertError):
    """The archive could not be read, or not as many times as necessary."""


class UnwritableTarget(XsConvertError):
    """The output could not be written."""


class ConverterStopped(XsConvertError):
    """The converter ended before its work was done, or could not start."""


class SignedImage(XsConvertError):
    """The image has a signature, which conversion would invalidate."""


class SandboxIncomplete(XsConvertError):
    """The kernel cannot confine the converter as far as is required."""
