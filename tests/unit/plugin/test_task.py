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

"""The task that Glance runs, on images in a database of Glance's."""

import os
import sys
from unittest import mock

from testbed.images import archive
from testbed.images import model
from testbed.images import vhd
from testbed.images import xva
from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance.common import exception
    from taskflow.types import failure

    from glance_xs_convert.plugin import claims
    from glance_xs_convert.plugin import recovery
    from glance_xs_convert.plugin import task

LAYERS = [vhd.Layer(4 * vhd.MIB, written=[(3, os.urandom(5120))])]


class TaskCase(base.GlanceCase):
    """Runs the task for an image that is importing."""

    def setUp(self):
        super().setUp()
        self.conf.config(group='wsgi', python_interpreter=sys.executable)

    def prepare(self, data=None, method='glance-direct', **attributes):
        """An image with data in staging, and the task for it."""
        self.image_id = self.new_image(**attributes)
        self.task_id = self.new_import(self.image_id, method)
        self.begin(self.image_id, self.task_id)
        if data is None:
            data = archive.tgz(archive.chain_members(LAYERS))
        self.staged_path = self.stage(self.image_id, data)
        flow = task.get_flow(**self.flow_arguments(
            self.image_id, self.task_id, method))
        self.task, = (node for node, _ in flow.iter_nodes())

    def execute(self):
        return self.task.execute(f'file://{self.staged_path}')

    def execute_in_vain(self):
        """:returns: the error, as a task's revert gets it"""
        try:
            self.execute()
        except Exception:
            return failure.Failure()
        return self.fail('it does not fail')

    def image(self):
        return self.image_repo.get(self.image_id)

    def assert_as_staged(self, status):
        """The record is as it was before the import but for the status."""
        image = self.image()
        self.assertEqual(
            (status, 'vhd', 'ovf', None, None),
            (image.status, image.disk_format, image.container_format,
             image.size, image.virtual_size))
        self.assertEqual([], [name for name in dict(image.extra_properties)
                              if name.startswith('xs_convert_')])


class Convert(TaskCase):

    def test_disk_replaces_archive(self):
        self.prepare()
        uri = self.execute()
        self.assertEqual(f'file://{self.staged_path}', uri)
        self.assertIsNone(model.difference(self.staged_path, LAYERS))
        self.assertEqual([self.image_id], self.staged())
        image = self.image()
        self.assertEqual(
            ('importing', 'raw', 'bare', 4 * vhd.MIB, 4 * vhd.MIB),
            (image.status, image.disk_format, image.container_format,
             image.size, image.virtual_size))
        self.assertEqual(
            'Converted the XenServer image: 1 layer, 4194304 bytes',
            self.task_repo.get(self.task_id).message)

    def test_disk_of_an_export(self):
        disk = xva.random_disk('task', 3 * vhd.MIB, ref='Ref:10',
                               userdevice='1', device='xvdb')
        other = xva.random_disk('other', vhd.MIB, ref='Ref:9')
        self.prepare(xva.Export([other, disk], vm=xva.PARAVIRTUALIZED).tar(),
                     extra_properties={'xs_convert_disk': 'xvdb'})
        self.execute()
        self.assertIsNone(
            model.difference_from(self.staged_path, disk.content))
        self.assertEqual(
            'Converted the XenServer image: 1 layer, 3145728 bytes. '
            'Warning: the guest was paravirtualized. To boot under KVM, it '
            'needs its own boot loader and a kernel that supports KVM',
            self.task_repo.get(self.task_id).message)

    def test_disk_that_nobody_has_chosen(self):
        disks = [xva.random_disk(number, vhd.MIB, ref=f'Ref:{number}',
                                 userdevice=str(number)) for number in '12']
        self.prepare(xva.Export(disks).tar())
        error = self.assertRaises(task.ConversionFailed, self.execute)
        self.assertIn('xvda (2), 1 MiB, "system"', str(error))

    def test_residue_of_an_earlier_import(self):
        self.prepare()
        left = self.staging / f'{self.image_id}.some-task.raw.part'
        left.touch()
        self.execute()
        self.assertEqual([self.image_id], self.staged())

    def test_other_images(self):
        for formats in (('qcow2', 'bare'), ('raw', 'bare'), ('vhd', 'bare'),
                        ('vhdx', 'ovf')):
            self.prepare(b'QFI\xfb', disk_format=formats[0],
                         container_format=formats[1])
            self.execute()
            self.assertEqual(b'QFI\xfb', self.staged_path.read_bytes())

    def test_signed(self):
        self.prepare(extra_properties={'img_signature': 'c2lnbmVk'})
        error = self.assertRaises(task.ConversionFailed, self.execute)
        self.assertIn('the image is signed', str(error))

    def test_deleted(self):
        self.prepare()
        self.delete(self.image_id)
        self.assertRaises(exception.NotFound, self.execute)
        self.assertEqual([], self.staged())


class Claim(TaskCase):
    """What is known of an import whose process is killed."""

    def claims(self):
        """What is on the tickets."""
        return [claims.parsed(
            self.scratch.joinpath('lock', name).read_text())
            for name in self.tickets()]

    def test_from_the_beginning(self):
        self.prepare()
        claim, = self.claims()
        self.assertEqual(
            (self.image_id, self.context.request_id, self.task_id,
             str(self.staged_path), ['fast'], None),
            (claim.image_id, claim.request_id, claim.task_id, claim.staged,
             claim.stores, claim.undo))
        self.start.assert_called_once_with()

    def test_what_the_conversion_changed(self):
        self.prepare()
        self.execute()
        claim, = self.claims()
        with self.wrapper(self.image_id, self.task_id) as action:
            claim.undo.apply(action)
        self.assert_as_staged('importing')

    def test_other_images(self):
        """They are not claimed, but others' are looked after."""
        self.prepare(disk_format='qcow2', container_format='bare')
        self.assertEqual([], self.tickets())
        self.start.assert_called_once_with()

    def test_what_is_known_only_later(self):
        """A download from another Glance brings the formats."""
        for formats, count in ((('qcow2', 'bare'), 0), (('vhd', 'ovf'), 1)):
            self.prepare(method='glance-download', disk_format='raw',
                         container_format='bare')
            self.assertEqual(1, len(self.tickets()))
            with self.wrapper(self.image_id, self.task_id) as action:
                action.set_image_attribute(disk_format=formats[0],
                                           container_format=formats[1])
            self.execute()
            self.assertEqual(count, len(self.tickets()))
            self.keeper.release(self.context.request_id)

    def test_ticket_cannot_be_written(self):
        """The flow is there all the same, and it says what is wrong."""
        self.scratch.joinpath('lock').touch()
        self.prepare()
        error = self.assertRaises(task.ConversionFailed, self.execute)
        self.assertIn('cannot be used', str(error))

    def test_ticket_cannot_be_written_any_more(self):
        self.prepare()
        with mock.patch.object(self.keeper, 'record', autospec=True,
                               side_effect=OSError(28, 'No space')):
            error = self.assertRaises(task.ConversionFailed, self.execute)
        self.assertIn('ticket of the import cannot be written: No space',
                      str(error))
        self.assert_as_staged('importing')

    def test_flow_never_fails(self):
        self.image_id = self.new_image()
        arguments = self.flow_arguments(self.image_id, 'task')
        arguments['image_repo'] = mock.Mock(get=mock.Mock(
            side_effect=RuntimeError('the database does not answer')))
        self.assertEqual(1, len(task.get_flow(**arguments)))


class Shutdown(TaskCase):

    def test_glance_ends(self):
        """The import stays claimed until its process has ended."""
        self.prepare()
        with mock.patch.object(task.shutdown, 'has_begun', autospec=True,
                               return_value=True):
            error = self.assertRaises(task.ConversionFailed, self.execute)
        self.assertEqual(recovery.MESSAGE, str(error))
        self.assertEqual(recovery.MESSAGE,
                         self.task_repo.get(self.task_id).message)
        self.assertEqual(1, len(self.tickets()))


class Revert(TaskCase):
    """What is left of an import that fails."""

    def test_refused(self):
        self.prepare(b'no archive')
        self.task.revert(self.execute_in_vain())
        self.assert_as_staged('queued')
        self.assertEqual([], self.staged())
        self.assertEqual(
            'fast', self.image().extra_properties['os_glance_failed_import'])

    def test_later_task_fails(self):
        """Then the record is given back, and nobody else cleans up."""
        self.prepare()
        self.task.revert(self.execute())
        self.assert_as_staged('queued')
        self.assertEqual([], self.staged())
        self.assertNotIn('os_glance_failed_import',
                         dict(self.image().extra_properties))

    def test_download_cleans_up_itself(self):
        self.prepare(method='web-download')
        self.task.revert(self.execute())
        self.assert_as_staged('importing')
        self.assertEqual([self.image_id], self.staged())

    def test_image_that_is_not_ours(self):
        """Whatever fails later, it is Glance's business."""
        for formats in (('qcow2', 'bare'), ('vhd', 'bare')):
            self.prepare(b'QFI\xfb', disk_format=formats[0],
                         container_format=formats[1])
            before = self.image()
            self.task.revert(self.execute())
            image = self.image()
            self.assertEqual(
                ('importing', *formats, dict(before.extra_properties)),
                (image.status, image.disk_format, image.container_format,
                 dict(image.extra_properties)))
            self.assertEqual(b'QFI\xfb', self.staged_path.read_bytes())

    def test_deleted(self):
        self.prepare(b'no archive')
        error = self.execute_in_vain()
        self.delete(self.image_id)
        self.task.revert(error)
        self.assertEqual([], self.staged())

    def test_another_task_imports_the_image(self):
        self.prepare(b'no archive')
        error = self.execute_in_vain()
        self.wrapper(self.image_id, self.task_id).drop_lock_for_task()
        other = self.new_import(self.image_id)
        self.task.revert(error)
        image = self.image()
        self.assertEqual(
            ('importing', other),
            (image.status, image.extra_properties['os_glance_import_task']))
        self.assertEqual([self.image_id], self.staged())
