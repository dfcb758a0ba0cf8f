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


"""Import a XenServer image into a real Glance, and get a raw disk out of it.

This starts Keystone and Glance with the plugin on the loopback interface,
imports a XenServer image with the ``glance`` client, compares the disk with
the data that went into the image, and shows the message that the owner of a
broken image gets. The exit status is 0 if everything worked.
"""

import argparse
from collections import abc
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import os
import pathlib
import re
import shlex
import subprocess
import sys
import sysconfig
import time

from testbed.clouds import cloud as cloud_
from testbed.clouds import file_server
from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import sparse
from testbed.images import vhd

DISK_SIZE = 128 * vhd.MIB
BULK = ((30, 8), (16, 4), (10, 2))
SWAP_SIZE = 3500 * vhd.MIB
SECONDS = 600
TABLE_ROW = re.compile(r'^\| (\S+) +\| (.*?) +\|$', re.MULTILINE)


class Failed(Exception):
    """A step of the demonstration failed."""


@dataclasses.dataclass(frozen=True)
class Image:
    """An archive to import, and the SHA-256 of the disk that it must give.

    ``sha256`` is None if it is unknown.
    """

    path: pathlib.Path
    sha256: str | None


def say(text: str = '') -> None:
    """Tell the reader something."""
    print(text, flush=True)


def headline(text: str) -> None:
    """Begin a part of the demonstration."""
    say('\n== %s' % text)


def show_output(text: str) -> None:
    """Show the output of a command, or the contents of a file."""
    for line in text.strip().splitlines():
        say('  ' + line)


def chain() -> list[vhd.Layer]:
    """Three layers of a disk that grew after its base was written."""
    layers = []
    for number, layer in enumerate(chains.story_layers(DISK_SIZE)):
        offset, length = BULK[number]
        data = chains.pattern('bulk %d' % number,
                              length * vhd.MIB // vhd.SECTOR)
        bulk = (offset * vhd.MIB // vhd.SECTOR, data)
        layers.append(dataclasses.replace(
            layer, written=[bulk, *layer.written]))
    return layers


def make_image(directory: pathlib.Path) -> Image:
    """Write a XenServer image.

    It has a swap.vhd, which does not belong to the disk but takes time to
    read, so that there is progress to show.
    """
    layers = chain()
    path = directory / 'xenserver-image.tgz'
    swap = sparse.Sparse()
    swap.truncate(SWAP_SIZE)
    members = chains.story_members(layers)
    members.insert(2, archive.Member('./swap.vhd', swap))
    archive.write_tgz(path, members)
    return Image(path, model.sha256(layers))


def make_broken_image(directory: pathlib.Path) -> Image:
    """Write a XenServer image whose last layer is missing."""
    path = directory / 'broken-image.tgz'
    archive.write_tgz(path, chains.story_members(chains.story_layers())[:-1])
    return Image(path, None)


class Demo:
    """The demonstration on a running cloud."""

    def __init__(self, cloud: cloud_.Cloud, directory: pathlib.Path,
                 files: file_server.FileServer) -> None:
        self.cloud = cloud
        self.directory = directory
        self.files = files
        self.client = cloud.client()
        self.env = {name: value for name, value in os.environ.items()
                    if not name.startswith('OS_')}
        self.env.update(cloud.env(), PYTHONWARNINGS='ignore')
        self.env['PATH'] = os.pathsep.join(
            [sysconfig.get_path('scripts'), os.environ.get('PATH', '')])

    def run(self, *command: str) -> str:
        """Run a command as an operator would, and show its output.

        Standard input is closed, because the glance client takes it for image
        data unless it is a terminal.
        """
        line = shlex.join(command)
        if command[0] == 'glance':
            line += ' <&-'
        say('\n$ ' + line)
        done = subprocess.run(line, shell=True, env=self.env, text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        show_output(done.stdout)
        if done.returncode:
            raise Failed('%s ended with status %d' % (
                command[0], done.returncode))
        return done.stdout

    def import_image(self, image: Image) -> tuple[str, str]:
        """Import an archive.

        :returns: the image's id, and the status of the import
        """
        shown = self.run(
            'glance', 'image-create-via-import', '--name', image.path.stem,
            '--import-method', 'web-download',
            '--uri', self.files.add(image.path.name, image.path),
            '--disk-format', 'vhd', '--container-format', 'ovf')
        image_id = dict(TABLE_ROW.findall(shown))['id']
        say('\nThe messages of the import task, from GET /v2/images/%s/tasks:'
            % image_id)
        return image_id, self.follow(image_id)

    def follow(self, image_id: str) -> str:
        """Show the messages of the import's task until it ends."""
        start = time.monotonic()
        seen = None
        while time.monotonic() < start + SECONDS:
            task = cloud_.newest_task(self.client, image_id)
            told = '%-10s  %s' % (task['status'], task['message'] or '')
            if told != seen:
                say('  %5.1f s  %s' % (time.monotonic() - start, told))
                seen = told
            if task['status'] in ('success', 'failure'):
                return str(task['status'])
            time.sleep(0.1)
        raise Failed('the import did not end within %d seconds' % SECONDS)

    def good_image(self, image: Image) -> None:
        """Import an image and check its data."""
        image_id, status = self.import_image(image)
        if status != 'success':
            raise Failed('the import failed')
        say('\nThe image afterwards:')
        record = self.show(image_id)
        self.expect(record, status='active', disk_format='raw',
                    container_format='bare', virtual_size=record['size'])
        disk = self.directory / 'disk.raw'
        self.run('glance', 'image-download', '--file', str(disk), image_id)
        self.compare(disk, image.sha256, record)
        self.nothing_left([image_id])
        self.client.images.delete(image_id)

    def uploaded_image(self, image: Image) -> None:
        """Upload an image with a client that does not import."""
        shown = self.run(
            'openstack', 'image', 'create', '--file', str(image.path),
            '--disk-format', 'vhd', '--container-format', 'ovf', '-c', 'id',
            'uploaded')
        image_id = dict(TABLE_ROW.findall(shown))['id']
        say('\nThe filter in glance-api-paste.ini turned it into an import:')
        if self.follow(image_id) != 'success':
            raise Failed('the import failed')
        self.expect(self.show(image_id), status='active', disk_format='raw',
                    container_format='bare')
        self.nothing_left([image_id])
        self.client.images.delete(image_id)

    def migrated_image(self, image: Image) -> None:
        """Migrate an image that was stored when there was no filter."""
        self.cloud.edit_pipeline(str)
        shown = self.run(
            'openstack', 'image', 'create', '--file', str(image.path),
            '--disk-format', 'vhd', '--container-format', 'ovf', '-c', 'id',
            'from before')
        old_id = dict(TABLE_ROW.findall(shown))['id']
        self.expect(self.show(old_id), status='active', disk_format='vhd')
        self.run('glance-xs-convert', 'migrate', 'list', '--fit-width')
        self.run('glance-xs-convert', 'migrate', 'run', '--verify',
                 '--fit-width')
        say('\nThe new image has its name now; the old one is hidden:')
        new_id = self.show(old_id)['xs_convert_replaced_by']
        record = self.show(new_id)
        self.expect(record, status='active', disk_format='raw',
                    name='from before', xs_convert_source_image=old_id)
        disk = self.directory / 'disk.raw'
        self.run('glance', 'image-download', '--file', str(disk), new_id)
        self.compare(disk, image.sha256, record)
        self.nothing_left(sorted((old_id, new_id)))
        for image_id in (old_id, new_id):
            self.client.images.delete(image_id)

    def broken_image(self, image: Image) -> None:
        """Import an image that must be refused."""
        image_id, status = self.import_image(image)
        if status != 'failure':
            raise Failed('the broken image was not refused')
        say('\nThe image can be imported again; the store is marked as '
            'failed:')
        self.expect(self.show(image_id), status='queued', disk_format='vhd',
                    container_format='ovf')
        message = cloud_.newest_task(self.client, image_id)['message']
        if 'vhd' not in message:
            raise Failed('the message does not tell the owner the reason')
        self.client.images.delete(image_id)

    def show(self, image_id: str) -> dict[str, str]:
        """Show the image's record and return it."""
        return dict(TABLE_ROW.findall(self.run(
            'glance', 'image-show', '--max-column-width', '50', image_id)))

    def expect(self, record: abc.Mapping[str, str], **values: str) -> None:
        """Check properties of an image's record."""
        for name, value in values.items():
            if record[name] != value:
                raise Failed('%s of the image is %s, not %s' % (
                    name, record[name], value))

    def compare(self, disk: pathlib.Path, sha256: str | None,
                record: abc.Mapping[str, str]) -> None:
        """Compare the disk with the data that went into the image."""
        digest = sha256_of(disk)
        say('\n  size      %d bytes' % disk.stat().st_size)
        say('  SHA-256   %s' % digest)
        if str(disk.stat().st_size) != record['size']:
            raise Failed('the disk does not have the size of the image record')
        if sha256 is None:
            return
        say('  expected  %s' % sha256)
        if digest != sha256:
            raise Failed('the disk is not the one in the XenServer image')
        say('  The disk equals the one that went into the XenServer image.')

    def nothing_left(self, images: list[str]) -> None:
        """Check that Glance holds nothing but the images."""
        if self.cloud.staged() or self.cloud.stored() != images:
            raise Failed('there are leftover files: %s, %s' % (
                self.cloud.staged(), self.cloud.stored()))


def sha256_of(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as source:
        while chunk := source.read(vhd.MIB):
            digest.update(chunk)
    return digest.hexdigest()


def demonstrate(stack: contextlib.ExitStack,
                arguments: argparse.Namespace) -> None:
    """Run the whole demonstration.

    :raises Failed: a step failed
    """
    files = stack.enter_context(file_server.FileServer())
    headline('Starting Keystone %s and Glance %s' % tuple(
        importlib.metadata.version(name) for name in ('keystone', 'glance')))
    start = time.monotonic()
    cloud = stack.enter_context(cloud_.Cloud(
        edit_paste=cloud_.with_upload_filter, detach=arguments.keep))
    directory = cloud.directory / 'demo'
    directory.mkdir()
    demo = Demo(cloud, directory, files)
    say('Keystone  %s\nGlance    %s\nThey started within %.0f seconds and '
        'keep their databases, files and images in\n%s' % (
            cloud.keystone.auth_url, cloud.url, time.monotonic() - start,
            cloud.directory))
    say('\nThis turns the plugin on, in %s:' % cloud.import_config)
    show_output(cloud.import_config.read_text())

    headline('Importing a XenServer image')
    image = (Image(arguments.archive.resolve(), None) if arguments.archive
             else make_image(directory))
    demo.run('glance-xs-convert', 'inspect', str(image.path))
    demo.good_image(image)

    headline('Uploading the same image without an import')
    demo.uploaded_image(image)

    headline('Importing a broken XenServer image, without its base')
    demo.broken_image(make_broken_image(directory))

    headline('An image from before, stored as it was: one call migrates all')
    demo.migrated_image(image)
    headline('Everything worked')
    if arguments.keep:
        stack.pop_all()
        files.close()
        explain(cloud, image)


def explain(cloud: cloud_.Cloud, image: Image) -> None:
    """Explain how to use the running cloud, and how to stop it."""
    say('The cloud is still running. To use it:\n')
    say('export PATH=%s:$PATH' % shlex.quote(sysconfig.get_path('scripts')))
    for name, value in cloud.env().items():
        say('export %s=%s' % (name, shlex.quote(value)))
    say('\nFor example:\n')
    say('glance image-create-via-import --disk-format vhd --container-format '
        'ovf --file %s' % shlex.quote(str(image.path)))
    say('glance image-list')
    say('less %s\n' % shlex.quote(str(cloud.log)))
    say('To stop and remove it:\n\n%s' % cloud.stop_command())


def parse(arguments: abc.Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog='demo', description=__doc__.partition('\n')[0])
    parser.add_argument('--keep', action='store_true',
                        help='leave Keystone and Glance running')
    parser.add_argument('--archive', type=pathlib.Path, metavar='FILE',
                        help='import a XenServer image of your own')
    return parser.parse_args(arguments)


def main() -> int:
    """:returns: the exit status, 0 if everything worked"""
    arguments = parse()
    try:
        with contextlib.ExitStack() as stack:
            demonstrate(stack, arguments)
    except Failed as failure:
        say('\nFAILED: %s' % failure)
        return 1
    except KeyboardInterrupt:
        say('\nInterrupted.')
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
