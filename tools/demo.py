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
broken image gets. Where virt-v2v is installed and KVM works, it also boots a
guest that XenServer had, before and after it was adapted to KVM. The exit
status is 0 if everything worked.
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

from glance_xs_convert import exceptions
from glance_xs_convert.guest import readiness
from glance_xs_convert.guest import settings
from testbed.clouds import cloud as cloud_
from testbed.clouds import file_server
from testbed.clouds import services
from testbed.guests import adapting
from testbed.guests import debian
from testbed.guests import machine
from testbed.guests import wrapping
from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import sparse
from testbed.images import vhd

DISK_SIZE = 128 * vhd.MIB
BULK = ((30, 8), (16, 4), (10, 2))
SWAP_SIZE = 3500 * vhd.MIB
SECONDS = 600
#: How long a guest may take to be adapted, and to boot, without KVM.
GUEST_SECONDS = 3 * 3600
BOOT_SECONDS = 1200
#: How long libguestfs' virtual machine may take to start with KVM.
APPLIANCE_SECONDS = 60
#: What Nova gives a server if the image does not say otherwise.
DEFAULT_DEVICES = {'hw_disk_bus': 'virtio', 'hw_vif_model': 'virtio'}
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
    """The demonstration on a running cloud.

    :param keep: whether to leave the images that it shows
    """

    def __init__(self, cloud: cloud_.Cloud, directory: pathlib.Path,
                 files: file_server.FileServer, keep: bool) -> None:
        self.cloud = cloud
        self.keep = keep
        self.kept: list[str] = []
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

    def follow(self, image_id: str, seconds: float = SECONDS) -> str:
        """Show the messages of the import's task until it ends."""
        start = time.monotonic()
        seen = None
        while time.monotonic() < start + seconds:
            task = cloud_.newest_task(self.client, image_id)
            told = '%-10s  %s' % (task['status'], task['message'] or '')
            if told != seen:
                say('  %5.1f s  %s' % (time.monotonic() - start, told))
                seen = told
            if task['status'] in ('success', 'failure'):
                return str(task['status'])
            time.sleep(0.1)
        raise Failed('the import did not end within %d seconds' % seconds)

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
        self.leave(image_id)

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
        self.leave(image_id)

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
        self.leave(old_id, new_id)
        self.cloud.edit_pipeline(cloud_.with_upload_filter)

    def adapted_guest(self, disk: pathlib.Path) -> None:
        """Import a guest that XenServer had, and boot it on KVM's devices."""
        say('On virtio, it finds no root file system:')
        if self.boot(disk, DEFAULT_DEVICES):
            raise Failed('the guest comes up without being adapted')
        path = self.directory / 'guest.tar'
        wrapping.write_chain(disk, path)
        shown = self.run(
            'glance', 'image-create-via-import', '--name', 'guest',
            '--import-method', 'web-download',
            '--uri', self.files.add(path.name, path),
            '--disk-format', 'vhd', '--container-format', 'ovf',
            '--property', 'xs_adapt=true')
        image_id = dict(TABLE_ROW.findall(shown))['id']
        say('\nThe plugin xs_adapt runs virt-v2v, after the conversion:')
        if self.follow(image_id, GUEST_SECONDS) != 'success':
            raise Failed('the import failed')
        say('\nThe image has the devices that the guest needs now:')
        record = self.show(image_id)
        if 'xs_convert_adapted_by' not in record:
            raise Failed('the guest was not adapted: '
                         + record.get('xs_convert_not_adapted', ''))
        say('\nWith them, it comes up:')
        if not self.boot(self.cloud.store_path() / image_id, record):
            raise Failed('the adapted guest does not come up')
        path.unlink()
        self.leave(image_id)

    def boot(self, disk: pathlib.Path, devices: abc.Mapping[str, str],
             ) -> bool:
        """Boot a disk, and show the last lines on the guest's console."""
        found = machine.boot(disk, devices, BOOT_SECONDS)
        lines = [line for line in found.console.splitlines() if line.strip()]
        show_output('\n'.join(
            line for line in lines[-12:] if line.isprintable()))
        say('  %s after %.0f seconds' % (
            'It is up' if found.is_up else 'It does not come up',
            found.seconds))
        return found.is_up

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

    def leave(self, *images: str) -> None:
        """Check that Glance holds nothing else, and delete the images."""
        self.check_nothing_else(sorted([*self.kept, *images]))
        if self.keep:
            self.kept += images
            return
        for image_id in images:
            self.client.images.delete(image_id)

    def check_nothing_else(self, images: list[str]) -> None:
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
    files = stack.enter_context(file_server.FileServer(services.LOOPBACK))
    obstacle = obstacle_to_guests(arguments.guest)
    adapts = obstacle is None
    headline('Starting Keystone %s and Glance %s' % tuple(
        importlib.metadata.version(name) for name in ('keystone', 'glance')))
    start = time.monotonic()
    cloud = stack.enter_context(cloud_.Cloud(
        edit_paste=cloud_.with_upload_filter, sources=[files.url], demo=True,
        detach=arguments.keep,
        **(adapting.options(GUEST_SECONDS) if adapts else {})))
    directory = cloud.directory / 'demo'
    directory.mkdir()
    demo = Demo(cloud, directory, files, arguments.keep)
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
    if adapts:
        headline('A guest that knows only the devices of XenServer')
        say('It is made from packages of Debian, which takes minutes; '
            'without KVM, adapting and booting it take many more.')
        demo.adapted_guest(debian.make(pathlib.Path(
            os.environ.get('XS_CONVERT_GUESTS')
            or directory / 'guests'))['bios'])
    else:
        headline('Not shown: how a guest is adapted to KVM')
        say(obstacle)
    headline('Everything worked')
    if arguments.keep:
        stack.pop_all()
        files.close()
        explain(cloud, image)


def obstacle_to_guests(is_wanted: bool) -> str | None:
    """Return why no guest is adapted, as a sentence; None if one is.

    :param is_wanted: whether one is to be adapted without KVM, too
    :raises Failed: it cannot be done
    """
    if missing := adapting.missing():
        sentence = 'This is missing: %s.' % ', '.join(missing)
        if is_wanted:
            raise Failed(sentence)
        return sentence
    if is_wanted:
        return None
    tried = settings.Settings(start_timeout=APPLIANCE_SECONDS,
                              libguestfs=adapting.libguestfs())
    if tried.may_use_kvm:
        try:
            readiness.start_appliance(tried, python=sys.executable)
        except exceptions.ApplianceFailed:
            pass
        else:
            return None
    return ("libguestfs' virtual machine does not start with KVM here, and "
            'without, it takes half an hour or more: tox -e demo -- --guest')


def explain(cloud: cloud_.Cloud, image: Image) -> None:
    """Explain how to use the running cloud, and how to stop it."""
    say('The cloud is still running, with the images above. To use it:\n')
    say('export PATH=%s:$PATH' % shlex.quote(sysconfig.get_path('scripts')))
    for name, value in cloud.env().items():
        say('export %s=%s' % (name, shlex.quote(value)))
    say('\nTo use it as an administrator, for example to migrate the images '
        'of all projects:\n')
    ordinary = cloud.env()
    for name, value in cloud.env('admin').items():
        if value != ordinary[name]:
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
    parser.add_argument('--guest', action='store_true',
                        help='adapt a guest where KVM does not work, too, '
                             'which takes half an hour or more')
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
