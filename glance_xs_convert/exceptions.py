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
it names the member of the archive, what was found and what was expected. For
programs, an error has a kind, the name of its class, which messages carry (see
:func:`.text.tagged`).
"""


class XsConvertError(Exception):
    """The base class of all errors of this package.

    :ivar reason: the text of the error without the name of the member
    :ivar member: the name of the archive's member that is at fault, or None
                  if the fault lies with the archive as a whole
    :ivar offset: the position of the fault in bytes, in that member or, if
                  ``member`` is None, in the decompressed archive; None if it
                  has no position
    :cvar may_pass: whether the fault lies with the host or the moment, so
                    that another attempt may succeed unchanged
    """

    may_pass = False

    def __init__(self, reason: str, *, member: str | None = None,
                 offset: int | None = None) -> None:
        self.reason = reason
        self.member = member
        self.offset = offset
        super().__init__(f'{member}: {reason}' if member else reason)

    @property
    def kind(self) -> str:
        """The name of the error's class, for programs."""
        return type(self).__name__


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


class AmbiguousOrder(BrokenChain):
    """Neither names nor UUIDs say in which one order the VHDs belong."""


class ForeignDisk(XsConvertError):
    """A disk in another format is in the place of a VHD, or beside it."""


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


class DamagedPackage(XsConvertError):
    """An OVF package (.ova) contradicts itself or the OVF specification."""


class WrongDigest(DamagedPackage):
    """A file of a package does not match its checksum in the manifest."""


class OldExport(XsConvertError):
    """An export in a format that XenServer gave up."""


class DiskNotChosen(XsConvertError):
    """An export holds several disks, and nobody has chosen one."""


class NoSuchDisk(XsConvertError):
    """The image does not hold the disk that was asked for."""


class LimitExceeded(XsConvertError):
    """The image asks for more than the configured limits allow."""


class DiskTooLarge(LimitExceeded):
    """The disk is larger than whoever receives it accepts."""


class QuotaExceeded(XsConvertError):
    """The image would exceed a quota of the image service."""


class OutOfSpace(XsConvertError):
    """The output's file system has no space for the disk."""

    may_pass = True


class TargetExists(XsConvertError):
    """The output file exists already."""


class UnreadableSource(XsConvertError):
    """The archive could not be read, or not as many times as necessary."""

    may_pass = True


class UnwritableTarget(XsConvertError):
    """The output could not be written."""

    may_pass = True


class ConverterStopped(XsConvertError):
    """The converter ended before its work was done, or could not start."""

    may_pass = True


class ImportInterrupted(XsConvertError):
    """Glance was stopped while it imported the image."""

    may_pass = True


class SignedImage(XsConvertError):
    """The image has a signature, which conversion would invalidate."""


class NotPermitted(XsConvertError):
    """The image service does not permit what the import requires."""


class NotStored(XsConvertError):
    """The image was converted, but the image service did not store it."""


class ContentRefused(XsConvertError):
    """The image service does not accept what the disk holds."""


class ImportAborted(XsConvertError):
    """The import ended early, because it is not wanted any more."""


class TooManyWaiting(XsConvertError):
    """Too many other images wait to be converted."""

    may_pass = True


class ServiceFailed(XsConvertError):
    """The image service, or its host, failed during the import."""

    may_pass = True


class SandboxIncomplete(XsConvertError):
    """The kernel cannot confine the converter as far as is required."""

    may_pass = True


class GuestNotAdapted(XsConvertError):
    """The guest on a disk could not be adapted to KVM."""


class ToolMissing(GuestNotAdapted):
    """A program that adapts guests is not installed, or cannot be run."""

    may_pass = True


class ApplianceFailed(GuestNotAdapted):
    """The virtual machine in which guests are adapted did not start."""

    may_pass = True


class AdaptingTimedOut(GuestNotAdapted):
    """Adapting the guest took too long."""

    may_pass = True


class HalfCommitted(GuestNotAdapted):
    """Some changes to a guest are on its disk, and others are not."""

    may_pass = True


class AdaptingFailed(GuestNotAdapted):
    """The tool that adapts guests failed for a reason of its own."""


class NoOperatingSystem(GuestNotAdapted):
    """The disk holds no operating system."""


class SeveralOperatingSystems(GuestNotAdapted):
    """The disk holds several operating systems."""


class EncryptedGuest(GuestNotAdapted):
    """The guest's file systems are encrypted."""


class UncleanGuest(GuestNotAdapted):
    """The guest is hibernated, or its file system was not unmounted."""


class OnlyXenKernels(GuestNotAdapted):
    """The guest has no kernel that runs without Xen."""


class NoRoomInGuest(GuestNotAdapted):
    """The guest's file systems lack the space to adapt it."""


class NoBootLoader(GuestNotAdapted):
    """A machine cannot boot from the disk: it has no boot loader."""


class UnsupportedGuest(GuestNotAdapted):
    """The tool does not know how to adapt this operating system."""


def by_kind(kind: str) -> type[XsConvertError] | None:
    """Return the class of errors of a kind; None if there is none."""
    found = globals().get(kind)
    if isinstance(found, type) and issubclass(found, XsConvertError):
        return found
    return None
