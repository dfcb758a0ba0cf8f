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


"""Import a XenServer image into a real Glance, and see the raw disk come out.

Brings up Keystone and Glance on the loopback interface with the plugin on,
imports a XenServer image with the ``glance`` client, compares the disk with
what was put into the image, and shows what the owner of a broken image is
told. The exit status is 0 if all of it went as it should.
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
    """Something did not go as it should."""


@dataclasses.dataclass(frozen=True)
class Image:
    """An archive to import, and the SHA-256 of the disk that must come out.

    ``sha256`` is None where nobody knows it.
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
    """Show what a command or a file has to say."""
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

    It has a swap.vhd, which is no part of the disk but takes time to read,
    so that there is progress to be seen.
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
    """The demonstration on a cloud that is up."""

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
        """Run a command as an operator would and show what it prints.

        Standard input is closed: the glance client takes one that is no
        terminal for image data.
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
        say('\nWhat the task of the import tells meanwhile, by GET '
            '/v2/images/%s/tasks:' % image_id)
        return image_id, self.follow(image_id)

    def follow(self, image_id: str) -> str:
        """Show what the import's task tells, until it is over."""
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
        raise Failed('the import is not over after %d seconds' % SECONDS)

    def good_image(self, image: Image) -> None:
        """Import an image and look at its data."""
        image_id, status = self.import_image(image)
        if status != 'success':
            raise Failed('the import failed')
        say('\nThe image now:')
        record = self.show(image_id)
        self.expect(record, status='active', disk_format='raw',
                    container_format='bare', virtual_size=record['size'])
        disk = self.directory / 'disk.raw'
        self.run('glance', 'image-download', '--file', str(disk), image_id)
        self.compare(disk, image.sha256, record)
        self.nothing_left([image_id])
        self.client.images.delete(image_id)

    def uploaded_image(self, image: Image) -> None:
        """Upload an image by a client that does not ask for an import."""
        shown = self.run(
            'openstack', 'image', 'create', '--file', str(image.path),
            '--disk-format', 'vhd', '--container-format', 'ovf', '-c', 'id',
            'uploaded')
        image_id = dict(TABLE_ROW.findall(shown))['id']
        say('\nThe filter in glance-api-paste.ini has made an import of it:')
        if self.follow(image_id) != 'success':
            raise Failed('the import failed')
        self.expect(self.show(image_id), status='active', disk_format='raw',
                    container_format='bare')
        self.nothing_left([image_id])
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
            raise Failed('the owner of the image is not told why')
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
        """Compare the disk with what was put into the image."""
        digest = sha256_of(disk)
        say('\n  size      %d bytes' % disk.stat().st_size)
        say('  SHA-256   %s' % digest)
        if str(disk.stat().st_size) != record['size']:
            raise Failed('the image has not the size that Glance says')
        if sha256 is None:
            return
        say('  expected  %s' % sha256)
        if digest != sha256:
            raise Failed('the disk is not the one in the XenServer image')
        say('  The disk is the one that was put into the XenServer image.')

    def nothing_left(self, images: list[str]) -> None:
        """Check that there is nothing in Glance but the images."""
        if self.cloud.staged() or self.cloud.stored() != images:
            raise Failed('files are left behind: %s, %s' % (
                self.cloud.staged(), self.cloud.stored()))


def sha256_of(path: pathlib.Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as source:
        while chunk := source.read(vhd.MIB):
            digest.update(chunk)
    return digest.hexdigest()


def demonstrate(stack: contextlib.ExitStack,
                arguments: argparse.Namespace) -> None:
    """Show all there is to show.

    :raises Failed: if something does not go as it should
    """
    files = stack.enter_context(file_server.FileServer())
    headline('Keystone %s and Glance %s come up' % tuple(
        importlib.metadata.version(name) for name in ('keystone', 'glance')))
    start = time.monotonic()
    cloud = stack.enter_context(cloud_.Cloud(
        edit_paste=cloud_.with_upload_filter, detach=arguments.keep))
    directory = cloud.directory / 'demo'
    directory.mkdir()
    demo = Demo(cloud, directory, files)
    say('Keystone  %s\nGlance    %s\nafter %.0f seconds, with SQLite and a '
        'filesystem store below\n%s' % (
            cloud.keystone.auth_url, cloud.url, time.monotonic() - start,
            cloud.directory))
    say('\nThe plugin is on because of %s:' % cloud.import_config)
    show_output(cloud.import_config.read_text())

    headline('A XenServer image')
    image = (Image(arguments.archive.resolve(), None) if arguments.archive
             else make_image(directory))
    demo.run('glance-xs-convert', 'inspect', str(image.path))
    demo.good_image(image)

    headline('The same image by a plain upload')
    demo.uploaded_image(image)

    headline('A broken XenServer image: its base is missing')
    demo.broken_image(make_broken_image(directory))
    headline('All of it went as it should')
    if arguments.keep:
        stack.pop_all()
        files.close()
        explain(cloud, image)


def explain(cloud: cloud_.Cloud, image: Image) -> None:
    """Tell how to use the cloud that is left running, and how to end it."""
    say('The cloud is still there. To use it:\n')
    say('export PATH=%s:$PATH' % shlex.quote(sysconfig.get_path('scripts')))
    for name, value in cloud.env().items():
        say('export %s=%s' % (name, shlex.quote(value)))
    say('\nfor example\n')
    say('glance image-create-via-import --disk-format vhd --container-format '
        'ovf --file %s' % shlex.quote(str(image.path)))
    say('glance image-list')
    say('less %s\n' % shlex.quote(str(cloud.log)))
    say('To end it:\n\n%s' % cloud.stop_command())


def parse(arguments: abc.Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog='demo', description=__doc__.partition('\n')[0])
    parser.add_argument('--keep', action='store_true',
                        help='leave Keystone and Glance running')
    parser.add_argument('--archive', type=pathlib.Path, metavar='FILE',
                        help='a XenServer image of your own')
    return parser.parse_args(arguments)


def main() -> int:
    """:returns: the exit status, 0 if all went as it should"""
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
