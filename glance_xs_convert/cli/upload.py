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
"""``glance-xs-convert upload``."""

import argparse
from collections.abc import Sequence
import dataclasses
import os
import sys

from cliff import lister

from glance_xs_convert.cli import common
from glance_xs_convert.cli.migrate import command
from glance_xs_convert import exceptions
from glance_xs_convert.migrate import beginning
from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import preflight
from glance_xs_convert.migrate import uploading
from glance_xs_convert import publish
from glance_xs_convert import results
from glance_xs_convert import terms
from glance_xs_convert.worker import parent
from glance_xs_convert.worker import protocol

_COLUMNS = ('Disk', 'Image', 'Name', 'Size', 'Boots')
_SCHEMES = ('http://', 'https://')
_ENDINGS = ('.xva', '.ova', '.vhd', '.tar', '.tgz', '.gz', '.zst', '.xz',
            '.bz2')


class Upload(command.CloudCommand, lister.Lister):
    """Upload a virtual machine: one image for each of its disks.

    The archive is a file, or an address from which the cloud can download it.
    In that case, this computer reads only the beginning, where an export
    describes its disks. The images' IDs follow from the archive, its disks,
    the name and the project, so you can interrupt the command and run it
    again: it finds what it has made, and completes the rest. At the end, it
    prints the command that creates a server.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        common.add_archive(parser, 'or the address of such a file, which '
                           'begins with http:// or https://')
        parser.add_argument(
            '--name', metavar='NAME',
            help='the name of the virtual machine (default: the one in the '
                 "export, or the file's)")
        parser.add_argument(
            '--disk', metavar='DISK', action='append', default=[],
            help='a disk to upload, if not all of them; can be repeated')
        parser.add_argument(
            '--no-inspect', action='store_true',
            help='read nothing from an address, which this computer may not '
                 'be able to reach: then name each disk of an export with '
                 '--disk, the one that boots first')
        parser.add_argument(
            '--adapt', action='store_true',
            help='ask the cloud to adapt the guest to KVM, which its plugin '
                 'xs_adapt does')
        parser.add_argument(
            '--property', metavar='KEY=VALUE', action='append', default=[],
            type=command.key_value, dest='more',
            help='a property of the images; can be repeated')
        parser.add_argument(
            '--method', choices=choices.UPLOAD_METHODS, default=choices.AUTO,
            help=f'how to import the archive (default: {choices.AUTO}, which '
                 'is glance-direct for a file and web-download for an '
                 'address)')
        parser.add_argument(
            '--atomic', action='store_true',
            help='delete all images of the virtual machine if one of its '
                 'disks fails')
        command.add_import_options(parser)

    def take_action(self, parsed_args: argparse.Namespace) -> common.Listing:
        source = _source(parsed_args.archive)
        # Reading the archive takes longer than finding out about the cloud.
        cloud = self.connect(parsed_args)
        preflight.check_stores(cloud, parsed_args.stores)
        name, parts = self._parts(parsed_args, source)
        made, failed = self._upload(cloud, parsed_args, source, [
            _with_wishes(part, parsed_args) for part in parts])
        for image, reason in failed.items():
            self.status = 1
            self.say(f'Failed: {image}: {reason}')
        if made and not failed:
            self.say(uploading.server_command(made, name))
        return _COLUMNS, [
            (one.part.disk or '', one.image['id'], one.part.name,
             common.Size(one.size), one.part.is_bootable) for one in made]

    def _parts(self, parsed_args: argparse.Namespace,
               source: uploading.LocalFile | uploading.Address,
               ) -> tuple[str, list[uploading.Part]]:
        """Return the name of the virtual machine, and its disks."""
        if isinstance(source, uploading.Address):
            return self._parts_there(parsed_args, source)
        with (publish.open_source(source.path) as archive,
              common.reported(self.app.stderr) as on_progress):
            found = parent.inspect(
                archive.fileno(), _request(parsed_args),
                python=parent.interpreter(sys.executable),
                on_progress=on_progress)
        name = parsed_args.name or (
            found.guest.name if found.guest else '') or _stem(source.path)
        parts = uploading.parts_of(found, name)
        return name, uploading.wanted_parts(parts, parsed_args.disk)

    def _parts_there(self, parsed_args: argparse.Namespace,
                     source: uploading.Address,
                     ) -> tuple[str, list[uploading.Part]]:
        """Return the same for an archive that only the cloud reads whole."""
        found = results.Description([], [])
        if not parsed_args.no_inspect:
            try:
                found = _describe(source, parsed_args)
            except exceptions.UnreadableSource as error:
                raise exceptions.UnreadableSource(
                    f'{error}; if only the cloud can, use --no-inspect'
                ) from error
        if not found.guests:
            name = parsed_args.name or _stem(source.url)
            return name, uploading.chosen_parts(parsed_args.disk, name)
        name = (parsed_args.name or found.guests[0].name
                or _stem(source.url))
        parts = uploading.described_parts(found, name)
        if not parts:
            raise exceptions.NoSuchDisk('the virtual machine has no disk')
        return name, uploading.wanted_parts(parts, parsed_args.disk)

    def _upload(self, cloud: cloud_.Cloud, parsed_args: argparse.Namespace,
                source: uploading.LocalFile | uploading.Address,
                parts: Sequence[uploading.Part],
                ) -> tuple[list[uploading.Uploaded], dict[str, str]]:
        last: dict[str, str] = {}

        def on_progress(part: uploading.Part, stage: str,
                        fraction: float | None) -> None:
            percent = '' if fraction is None else f' {fraction:.0%}'
            if last.get(part.name) != stage + percent[:-2]:
                last[part.name] = stage + percent[:-2]
                self.say(f'{part.name}: {stage}{percent}')

        uploader = uploading.Uploader(
            cloud, source, uploading.choose(cloud, parsed_args.method, source),
            parsed_args.stores, parsed_args.deadline)
        return uploading.upload_all(
            uploader, parts, atomic=parsed_args.atomic,
            on_progress=on_progress)


def _describe(source: uploading.Address, parsed_args: argparse.Namespace,
              ) -> results.Description:
    """Read what an archive at an address says about itself.

    :raises UnreadableSource: this computer cannot read it
    """
    with beginning.open_beginning(source.url) as descriptor:
        return parent.describe(
            descriptor, _request(parsed_args),
            python=parent.interpreter(sys.executable),
            on_progress=lambda latest: None)


def _request(parsed_args: argparse.Namespace) -> protocol.Request:
    """Make the request that concerns all disks."""
    return common.request(argparse.Namespace(
        **{**vars(parsed_args), 'disk': None}))


def _source(archive: str) -> uploading.LocalFile | uploading.Address:
    if archive.lower().startswith(_SCHEMES):
        return uploading.Address(archive)
    if not os.path.isfile(archive):
        raise exceptions.UnreadableSource(
            f'{archive} is neither a file nor an address')
    return uploading.LocalFile(archive)


def _stem(path: str) -> str:
    """Return the name of a file without its endings."""
    name = os.path.basename(path.partition('?')[0])
    while name.lower().endswith(_ENDINGS):
        name = os.path.splitext(name)[0]
    return name or 'vm'


def _with_wishes(part: uploading.Part, parsed_args: argparse.Namespace,
                 ) -> uploading.Part:
    """Add the properties that the user wants."""
    wishes = dict(parsed_args.more)
    if parsed_args.adapt and part.is_bootable:
        wishes[terms.ADAPT] = 'true'
    return dataclasses.replace(
        part, attributes={**part.attributes, **wishes})
