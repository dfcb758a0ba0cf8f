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

"""What can go wrong, one sentence a class.

The text of every error is one sentence for the person who uploaded the image:
it names the member of the archive, what was found and what was expected.
"""


class XsConvertError(Exception):
    """The root of all errors of this package.

    :ivar member: the name of the archive's member that is at fault, or None
                  when the archive as a whole is
    :ivar offset: where in that member (or in the decompressed archive when
                  ``member`` is None), in bytes, or None
    """

    def __init__(self, reason: str, *, member: str | None = None,
                 offset: int | None = None) -> None:
        self.reason = reason
        self.member = member
        self.offset = offset
        super().__init__(f'{member}: {reason}' if member else reason)


class NotAnArchive(XsConvertError):
    """The data is neither a tar archive nor a gzipped one."""


class DamagedArchive(XsConvertError):
    """The gzip stream or the tar archive is cut short or corrupt."""


class UnsafeMember(XsConvertError):
    """A member is no regular file, or its name leads out of the archive."""


class NoVhd(XsConvertError):
    """The archive is sound but holds no VHD."""


class BrokenChain(XsConvertError):
    """The VHDs do not form one chain from a leaf to a base."""


class MissingLayer(BrokenChain):
    """A number is missing between the leaf and the base."""


class MissingBase(BrokenChain):
    """The last layer is a differencing disk: its parent is not there."""


class DuplicateLayer(BrokenChain):
    """Two members claim the same place in the chain."""


class NotDifferencing(BrokenChain):
    """A layer that has a parent in the archive is no differencing disk."""


class WrongParent(BrokenChain):
    """A layer names another member as its parent than the next one."""


class AmbiguousNames(BrokenChain):
    """The members' names do not say which VHD comes first."""


class DamagedVhd(XsConvertError):
    """A VHD contradicts itself or the VHD specification."""


class EncryptedVhd(XsConvertError):
    """A VHD is encrypted: without its key there is no disk."""


class LimitExceeded(XsConvertError):
    """The image asks for more than the configured limits allow."""


class OutOfSpace(XsConvertError):
    """The file system of the output has no room for the disk."""


class TargetExists(XsConvertError):
    """The output file is there already."""


class UnreadableSource(XsConvertError):
    """The archive could not be read, or not as often as it takes."""


class UnwritableTarget(XsConvertError):
    """The output could not be written."""


class ConverterStopped(XsConvertError):
    """The converter's process ended before its work was done."""


class SignedImage(XsConvertError):
    """The image has a signature, which a converted image cannot keep."""
