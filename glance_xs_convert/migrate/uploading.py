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
"""Uploading a virtual machine: one image for each of its disks.

The IDs of the images are derived from the archive, the disk, the name and the
project. So a command that is run again finds what an earlier one has made, and
follows or completes it. If an ID is taken, because its image was deleted, the
next one is used.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import shlex
import uuid

from glance_xs_convert import exceptions
from glance_xs_convert.migrate import attempts
from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import claiming
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import images
from glance_xs_convert.migrate import importing
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import patience
from glance_xs_convert.migrate import record
from glance_xs_convert import publish
from glance_xs_convert import results
from glance_xs_convert import terms
from glance_xs_convert import units

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL,
                        'https://opendev.org/glance-xs-convert/upload')
_CHUNK = units.MIB


@dataclasses.dataclass(frozen=True)
class LocalFile:
    """An archive on this computer."""

    path: str
    image_id: str | None = None

    @functools.cached_property
    def size(self) -> int:
        return os.stat(self.path).st_size

    @functools.cached_property
    def identity(self) -> str:
        """What tells the archive from others: its SHA-256."""
        digest = hashlib.sha256()
        with self.open() as file:
            while data := file.read(_CHUNK):
                digest.update(data)
        return digest.hexdigest()

    def open(self) -> io.RawIOBase:
        """Open the archive.

        :raises UnreadableSource: the operating system refuses
        """
        return publish.open_source(self.path)


@dataclasses.dataclass(frozen=True)
class Address:
    """An archive that the cloud can download."""

    url: str
    image_id: str | None = None
    size: int = 0

    @property
    def identity(self) -> str:
        """What tells the archive from others."""
        return self.url

    def open(self) -> io.RawIOBase:
        raise errors.Failed('the archive is not on this computer')


@dataclasses.dataclass(frozen=True)
class Part:
    """A disk that gets an image.

    :ivar disk: what the archive calls it; None if it has only one
    :ivar name: name of the image
    :ivar attributes: further attributes and properties of the image
    :ivar size: size of the disk, in bytes; None if it is not known yet
    :ivar is_bootable: whether the virtual machine boots from it
    :ivar called: what else a user may call it
    """

    disk: str | None
    name: str
    attributes: Mapping[str, object]
    size: int | None = None
    is_bootable: bool = False
    called: tuple[str, ...] = dataclasses.field(default=(), compare=False)


@dataclasses.dataclass(frozen=True)
class Uploaded:
    """A disk that has its image."""

    part: Part
    image: images.Image

    @property
    def size(self) -> int:
        return int(self.image['size'])


def parts_of(found: results.Inspection, name: str) -> list[Part]:
    """Return the disks of an archive, the one that boots first.

    :param found: contents of the archive
    :param name: name of the virtual machine
    """
    return _parts([(one.disk, one.virtual_size) for one in found.disks],
                  found.guest, name)


def described_parts(found: results.Description, name: str) -> list[Part]:
    """Return the disks that an archive describes, the one that boots first.

    :param found: description that the archive begins with
    :param name: name of the virtual machine
    """
    return _parts([(disk, disk.size or None) for disk in found.disks],
                  found.guests[0], name)


def _parts(found: Sequence[tuple[results.Disk | None, int | None]],
           guest: results.Guest | None, name: str) -> list[Part]:
    shared: dict[str, object] = {}
    if guest is not None and guest.memory:
        shared['min_ram'] = -(-guest.memory // units.MIB)
    described = [disk for disk, _ in found if disk is not None]
    ordered = sorted(found, key=lambda one: not (
        one[0] is None or one[0].bootable))
    made = []
    for number, (disk, size) in enumerate(ordered):
        label = disk.label if disk else ''
        made.append(Part(
            _choice(disk, described) if disk else None,
            f'{name}-{label}' if label and len(ordered) > 1 else name,
            shared if size is None else {
                **shared, 'min_disk': -(-size // units.GIB)},
            size, number == 0,
            (disk.device, disk.position, disk.name, disk.ref) if disk else ()))
    return made


def wanted_parts(parts: Sequence[Part], called: Sequence[str],
                 ) -> list[Part]:
    """Return the disks that a user wants, each once; all without a choice.

    :param called: what the user calls them
    :raises NoSuchDisk: there is no disk of such a name
    :raises DiskNotChosen: a name denotes several
    """
    wanted: list[Part] = []
    for name in called:
        found = ([part for part in parts if name == part.disk]
                 or [part for part in parts if name and name in part.called])
        if len(found) != 1:
            known = ', '.join(part.disk or 'only one' for part in parts)
            if found:
                raise exceptions.DiskNotChosen(
                    f'several disks of the archive are called {name}: choose '
                    f'from {known}')
            raise exceptions.NoSuchDisk(
                f'the archive has no disk {name}; it has {known}')
        wanted += [part for part in found if part not in wanted]
    return wanted if called else list(parts)


def _choice(disk: results.Disk, disks: Sequence[results.Disk]) -> str | None:
    """Return a name that denotes this disk and no other one.

    A device or a number does not always: each machine of a package has its
    own. The name of its file does, in a package, unless it is such a number.
    """
    for choice in (disk.device, disk.position):
        if [one for one in disks if one.is_called(choice)] == [disk]:
            return choice
    return disk.ref or None


def chosen_parts(disks: Sequence[str], name: str) -> list[Part]:
    """Return the disks that the user has named, the first of which boots.

    :param disks: devices or numbers; none if the archive has one disk
    """
    if not disks:
        return [Part(None, name, {}, is_bootable=True)]
    disks = list(dict.fromkeys(disks))
    return [Part(disk, f'{name}-{disk}' if len(disks) > 1 else name, {},
                 is_bootable=number == 0)
            for number, disk in enumerate(disks)]


def choose(cloud: cloud_.Cloud, wanted: str, source: LocalFile | Address,
           ) -> methods.Method:
    """Return the import method for an archive.

    :param wanted: one of ``choices.UPLOAD_METHODS``
    :raises CannotMigrate: it is not enabled, or does not suit the archive
    """
    suitable: methods.Method = (
        methods.WebDownload(source.url) if isinstance(source, Address)
        else methods.Direct())
    if wanted not in (choices.AUTO, suitable.name):
        what = ('an address' if isinstance(source, Address)
                else 'a file on this computer')
        raise errors.CannotMigrate(f'{wanted} cannot import {what}: use '
                                   f'{suitable.name}')
    enabled = cloud.imports.methods()
    if suitable.name not in enabled:
        raise errors.CannotMigrate(
            f'this cloud does not enable the import method {suitable.name}; '
            f'it enables {", ".join(enabled) or "none"}')
    return suitable


class Uploader:
    """Uploads the disks of an archive.

    :param cloud: the cloud
    :param source: the archive
    :param method: see :func:`choose`
    :param stores: names of the stores for the images
    :param deadline: longest time without progress, in seconds
    """

    def __init__(self, cloud: cloud_.Cloud, source: LocalFile | Address,
                 method: methods.Method, stores: tuple[str, ...] = (),
                 deadline: float = choices.DEADLINE) -> None:
        self._cloud = cloud
        self._source = source
        self._method = method
        self._stores = stores
        self._deadline = deadline

    def upload(self, part: Part, on_progress: importing.OnProgress,
               ) -> Uploaded:
        """Make the image of a disk, or find the one that is made already.

        :param on_progress: called with the progress
        :raises Failed: the archive is refused, or every attempt failed
        :raises NotConverted: the plugin is off
        """
        work = attempts.Attempts(self._cloud, self._deadline, on_progress)
        return Uploaded(part, work.run(
            lambda: self._attempt(part, on_progress, work)))

    def _attempt(self, part: Part, on_progress: importing.OnProgress,
                 work: attempts.Attempts) -> images.Image:
        on_progress('preparing', None)
        claim = self._claim(part)
        new = claim.new
        if claim.is_fresh or new['status'] != 'active':
            new = self._import(claim, on_progress, work)
        attempts.check_converted(self._cloud, new,
                                 part.size or new['virtual_size'])
        return self._completed(new)

    def discard(self, uploaded: Uploaded) -> None:
        """Delete an image that this has made."""
        self._cloud.images.delete(uploaded.image['id'])

    def _claim(self, part: Part) -> claiming.Claim:
        identity = str(uuid.uuid5(_NAMESPACE, '/'.join((
            str(self._cloud.project_id), self._source.identity,
            part.disk or '', part.name))))
        wish = {terms.DISK: part.disk} if part.disk else {}
        return claiming.claim(
            self._cloud, (names.new_id(identity, attempt)
                          for attempt in range(names.MAX_ATTEMPTS)),
            {'name': part.name, 'disk_format': 'vhd',
             'container_format': 'ovf', 'visibility': record.PRIVATE,
             **part.attributes, **wish},
            lambda new: new['owner'] == self._cloud.project_id,
            uploads=self._method.uploads)

    def _import(self, claim: claiming.Claim,
                on_progress: importing.OnProgress, work: attempts.Attempts,
                ) -> images.Image:
        """Import the archive, and delete the image if that failed for good."""
        try:
            ending = importing.Import(
                self._cloud, self._method, self._stores, self._deadline,
                on_progress, self._source, claim).run()
            if not ending.is_active:
                work.give_up_or_repeat(ending, self._method)
        except (errors.Failed, exceptions.UnreadableSource):
            now = self._cloud.images.get(claim.new_id)
            if (now is not None and now['status'] == 'queued'
                    and terms.LOCK not in now):
                with contextlib.suppress(errors.Lost):
                    claiming.discard(self._cloud, now)
            raise
        return ending.new

    def _completed(self, new: images.Image) -> images.Image:
        """Set the smallest disk, and remove what only an upload needs."""
        least = -(-new['size'] // units.GIB)
        wanted = {'min_disk': max(new['min_disk'], least)}
        gone = [name for name in names.PROVISIONAL if name in new]
        changes = [*record.changes(new, wanted), *record.removals(gone)]
        return self._cloud.images.patch(new['id'], changes)


#: What other disks would meet, too.
_CONCERNS_ALL = (errors.CannotMigrate, errors.LoginFailed)


def upload_all(uploader: Uploader, parts: Sequence[Part], *, atomic: bool,
               on_progress: Callable[[Part, str, float | None], None],
               ) -> tuple[list[Uploaded], dict[str, str]]:
    """Upload all disks, one after the other.

    :param atomic: whether to delete all images if one fails
    :param on_progress: called with the progress of a disk
    :returns: the disks that have their images, and the reasons for those that
              failed, by the names of their images
    """
    made: list[Uploaded] = []
    failed: dict[str, str] = {}
    for part in parts:
        try:
            made.append(uploader.upload(
                part, functools.partial(on_progress, part)))
        except patience.Interrupted:
            raise
        except exceptions.XsConvertError as error:
            failed[part.name] = str(error)
            if atomic or isinstance(error, _CONCERNS_ALL):
                break
    if failed and atomic:
        made = [uploaded for uploaded in made
                if not _is_discarded(uploader, uploaded, failed)]
    return made, failed


def _is_discarded(uploader: Uploader, uploaded: Uploaded,
                  failed: dict[str, str]) -> bool:
    """Delete an image, and note why if that fails."""
    try:
        uploader.discard(uploaded)
    except patience.Interrupted:
        raise
    except exceptions.XsConvertError as error:
        failed[uploaded.part.name] = (
            f'image {uploaded.image["id"]} is left, because it cannot be '
            f'deleted: {error}')
        return False
    return True


def server_command(made: Sequence[Uploaded], name: str) -> str:
    """Return the command that creates a server from the images.

    The disks are in the order in which the virtual machine has them.
    """
    first, *others = sorted(made, key=lambda one: not one.part.is_bootable)
    words = ['openstack', 'server', 'create', '--flavor', 'FLAVOR',
             '--network', 'NETWORK', '--image', first.image['id']]
    for other in others:
        words += ['--block-device',
                  f'uuid={other.image["id"]},source_type=image,'
                  'destination_type=volume,boot_index=-1,volume_size='
                  f'{-(-other.size // units.GIB)}']
    return shlex.join([*words, name])
