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

import functools
import os
import sys
from unittest import mock

from testbed.images import archive
from testbed.images import chains
from testbed.images import model
from testbed.images import vhd
from testbed.images import xva
from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance.common import exception
    import glance_store
    from oslo_db import exception as db_exception
    from taskflow.types import failure

    from glance_xs_convert.plugin import keeping
    from glance_xs_convert.plugin import reasons
    from glance_xs_convert.plugin import staged_task
    from glance_xs_convert.plugin import task
    from glance_xs_convert.recovery import claims
    from glance_xs_convert.recovery import remedies
    from glance_xs_convert import text

LAYERS = [vhd.Layer(4 * vhd.MIB, written=[(3, os.urandom(5120))])]


@functools.cache
def small_archive():
    return archive.tgz(archive.chain_members(LAYERS))


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
            data = small_archive()
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

    def assert_fails(self, kind, *words):
        """The task fails, and gives a reason of this kind."""
        message = str(self.assertRaises(reasons.ImportFailed, self.execute))
        self.assertEqual(kind, text.tag_of(message))
        self.assertTrue(message.startswith(
            'The XenServer image cannot be converted: '), message)
        for word in words:
            self.assertIn(word, message)

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


class TestMetrics(TaskCase):

    def setUp(self):
        super().setUp()
        self.path = self.scratch / 'xs_convert.prom'
        self.conf.config(group='xs_convert', metrics_file=str(self.path))

    def values(self):
        lines = [line.rpartition(' ')
                 for line in self.path.read_text().splitlines()
                 if not line.startswith('#')]
        return {name: float(value) for name, _, value in lines}

    def test_conversion(self):
        self.prepare()
        size = os.path.getsize(self.staged_path)
        self.execute()
        values = self.values()
        self.assertEqual(
            [1, size, 4 * vhd.MIB],
            [values[f'xs_convert_{name}_total']
             for name in ('conversions', 'archive_bytes', 'disk_bytes')])
        self.assertGreater(values['xs_convert_working_seconds_total'], 0)

    def test_failures(self):
        self.prepare(b'nothing of the kind')
        self.execute_in_vain()
        values = self.values()
        self.assertEqual(0, values['xs_convert_conversions_total'])
        self.assertEqual(
            1, values['xs_convert_failures_total{kind="NotAnArchive"}'])

    def test_failures_of_glance(self):
        self.prepare()
        with mock.patch.object(self.task, '_replace', autospec=True,
                               side_effect=MemoryError):
            self.execute_in_vain()
        self.assertEqual(1, self.values()[
            'xs_convert_failures_total{kind="ServiceFailed"}'])


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
            'Converted the XenServer image: 1 layer, 4 MiB (4194304 bytes)',
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
            'Converted the XenServer image: 1 layer, 3 MiB (3145728 bytes). '
            'Warning: the guest was paravirtualized. To boot under KVM, it '
            'needs its own boot loader and a kernel that supports KVM',
            self.task_repo.get(self.task_id).message)

    def test_disk_that_nobody_has_chosen(self):
        disks = [xva.random_disk(number, vhd.MIB, ref=f'Ref:{number}',
                                 userdevice=str(number)) for number in '12']
        self.prepare(xva.Export(disks).tar())
        error = self.assertRaises(reasons.ImportFailed, self.execute)
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
        error = self.assertRaises(reasons.ImportFailed, self.execute)
        self.assertIn('the image is signed', str(error))

    def test_deleted(self):
        self.prepare()
        self.delete(self.image_id)
        self.assert_fails('ImportAborted', 'was deleted')
        self.assertEqual([], self.staged())


class Reasons(TaskCase):
    """Whatever goes wrong, the uploader is told why, and the log how."""

    def test_refused(self):
        self.prepare(b'no archive')
        self.assert_fails('NotAnArchive')

    def test_error_of_our_own(self):
        """Its text is for the log alone."""
        self.prepare()
        secret = RuntimeError('/etc/glance/secret')
        with (mock.patch.object(task.parent, 'convert_file', autospec=True,
                                side_effect=secret),
              mock.patch.object(staged_task.LOG, 'exception',
                                autospec=True) as log):
            error = self.execute_in_vain()
        log.assert_called_once()
        self.assertNotIn('secret', str(error.exception))
        self.assertEqual('ServiceFailed', text.tag_of(str(error.exception)))
        self.task.revert(error)
        self.assert_as_staged('queued')
        self.assertEqual([], self.staged())

    def test_database_fails_at_once(self):
        """Then nothing is known of the image, but it is not left behind."""
        self.prepare()
        with mock.patch.object(
                self.task.of.image_repo, 'get', autospec=True,
                side_effect=db_exception.DBConnectionError('mysql://root@x')):
            error = self.execute_in_vain()
        self.assertNotIn('mysql', str(error.exception))
        self.assertIn('database', str(error.exception))
        self.task.revert(error)
        self.assert_as_staged('queued')
        self.assertEqual([], self.staged())

    def test_glance_refuses_the_record(self):
        """For example the size, which Glance compares when it saves."""
        self.prepare()
        with mock.patch.object(
                self.image_repo, 'save', autospec=True,
                side_effect=exception.ImageSizeLimitExceeded):
            self.assert_fails('DiskTooLarge', 'image_size_cap')

    def test_no_memory(self):
        self.prepare()
        with mock.patch.object(task.parent, 'convert_file', autospec=True,
                               side_effect=MemoryError):
            self.assert_fails('ServiceFailed', 'memory')

    def test_import_that_is_not_wanted_any_more(self):
        self.prepare()
        self.wrapper(self.image_id, self.task_id).drop_lock_for_task()
        self.assert_fails('ImportAborted')

    def test_later_task_fails(self):
        """Glance would say no more than "Internal Error"."""
        self.prepare()
        result = self.execute()
        try:
            raise glance_store.StorageFull('/srv/store')
        except glance_store.StorageFull:
            failures = {'import to store': failure.Failure()}
        self.task.revert(result, flow_failures=failures)
        ended = self.task_repo.get(self.task_id)
        self.assertEqual(
            ('failure', 'The XenServer image was converted, but it was not '
             'stored: the store has no space left for the disk. '
             '[OutOfSpace]'), (ended.status, ended.message))

    def test_that_cannot_be_told(self):
        """The image is released all the same."""
        self.prepare()
        result = self.execute()
        with mock.patch.object(self.task_repo, 'save', autospec=True,
                               side_effect=RuntimeError):
            self.task.revert(result, flow_failures={
                'later': mock.Mock(exception=None)})
        self.assert_as_staged('queued')

    def test_other_images_do_not_suffer(self):
        self.prepare(b'QFI\xfb', disk_format='qcow2',
                     container_format='bare')
        with mock.patch.object(self.keeper, 'release', autospec=True,
                               side_effect=OSError):
            self.execute()


class Early(TaskCase):
    """What Glance would refuse later is refused before the conversion."""

    def assert_refused(self, kind, *words):
        """Nothing was written."""
        converted = mock.patch.object(
            task.parent, 'convert_file', autospec=True,
            side_effect=AssertionError('it is converted'))
        with converted:
            self.assert_fails(kind, *words)
        self.assertEqual([self.image_id], self.staged())

    def assert_too_large(self, kind, *words):
        """The converter has refused it, and has written nothing."""
        self.assert_fails(kind, 'the disk has 4 MiB (4194304 bytes)', *words)
        self.assertEqual([self.image_id], self.staged())

    def test_cap(self):
        self.conf.config(image_size_cap=4 * vhd.MIB - 1)
        self.prepare()
        self.assert_too_large(
            'DiskTooLarge',
            'more than image_size_cap, which is 4.0 MiB (4194303 bytes)')

    def test_quota(self):
        self.conf.config(user_storage_quota='3MB')
        self.prepare()
        self.assert_too_large('QuotaExceeded', 'user_storage_quota')

    def test_exactly_so_large(self):
        self.conf.config(image_size_cap=4 * vhd.MIB,
                         user_storage_quota='4MB')
        self.prepare()
        self.execute()

    def test_disk_of_an_export(self):
        self.conf.config(image_size_cap=vhd.MIB)
        disks = [xva.random_disk('small', vhd.MIB, ref='Ref:1',
                                 userdevice='0', device='xvda'),
                 xva.random_disk('large', 2 * vhd.MIB, ref='Ref:2',
                                 userdevice='1', device='xvdb')]
        self.prepare(xva.Export(disks).tar(),
                     extra_properties={'xs_convert_disk': 'xvdb'})
        self.assert_fails('DiskTooLarge', 'the disk has 2 MiB')

    def test_leaf_that_comes_late(self):
        self.conf.config(image_size_cap=vhd.MIB)
        layers = chains.linked([
            vhd.Layer(4 * vhd.MIB, written=[(3, os.urandom(512))]),
            vhd.Layer(4 * vhd.MIB, written=[(5, os.urandom(512))])])
        self.prepare(archive.tgz(
            archive.chain_members(layers, order=(1, 0))))
        self.assert_too_large('DiskTooLarge', './0.vhd')

    def test_base_may_be_larger(self):
        self.conf.config(image_size_cap=vhd.MIB)
        layers = chains.linked([
            vhd.Layer(vhd.MIB, written=[(3, os.urandom(512))]),
            vhd.Layer(4 * vhd.MIB, written=[(5, os.urandom(512))])])
        for order in ((1, 0), (0, 1)):
            self.prepare(archive.tgz(
                archive.chain_members(layers, order=order)))
            self.execute()
            self.assertIsNone(model.difference(self.staged_path, layers))

    def test_properties(self):
        self.prepare(extra_properties={
            f'name_{number}': 'x' for number in range(128)})
        self.assert_refused('QuotaExceeded', 'has 128 properties')

    def test_reserved_store(self):
        self.prepare()
        self.task.of.stores.append('os_glance_staging_store')
        self.assert_refused('NotPermitted', 'os_glance_staging_store')

    def test_no_room(self):
        self.prepare()
        with mock.patch.object(os, 'statvfs', autospec=True,
                               return_value=mock.Mock(
                                   f_bavail=0, f_bfree=0, f_blocks=9)):
            self.assert_refused('OutOfSpace', 'staging area')

    def test_no_data(self):
        self.prepare()
        os.unlink(self.staged_path)
        self.assert_fails('UnreadableSource', 'No such file')

    def test_protected_properties(self):
        """The image is converted, and nothing is recorded."""
        self.prepare()
        with mock.patch.object(
                task.admission, 'writable', autospec=True,
                side_effect=lambda of, names: {
                    name for name in names if name.startswith('hw_')}):
            self.execute()
        self.assertEqual('raw', self.image().disk_format)
        self.assertEqual([], [name for name in dict(
            self.image().extra_properties) if name.startswith('xs_')])

    def test_part_of_them_is_protected(self):
        self.prepare()
        with mock.patch.object(
                task.admission, 'writable', autospec=True,
                side_effect=lambda of, names: set(names) - {
                    'xs_convert_layers'}):
            self.execute()
        self.assertEqual([], [name for name in dict(
            self.image().extra_properties) if name.startswith('xs_')])


class Cost(TaskCase):
    """What a conversion may cost follows what came."""

    def request(self, size):
        """What the converter is asked for, for an archive of this size."""
        self.prepare(b'')
        os.truncate(self.staged_path, size)
        with mock.patch.object(task.parent, 'convert_file', autospec=True,
                               side_effect=MemoryError) as converted:
            self.assert_fails('ServiceFailed')
        return converted.call_args[0][2]

    def test_small(self):
        request = self.request(77_000)
        self.assertLessEqual(request.max_cpu_time, 25)
        self.assertLessEqual(request.max_time, 900)

    def test_large(self):
        request = self.request(40 << 30)
        self.assertEqual((4 * 3600, 24 * 3600),
                         (request.max_cpu_time, request.max_time))

    def test_no_limit(self):
        self.conf.config(group='xs_convert', max_cpu_time=0, max_time=0)
        request = self.request(77_000)
        self.assertEqual((0, 0), (request.max_cpu_time, request.max_time))


class Claim(TaskCase):
    """What is known of an import whose process is killed."""

    def claims(self):
        """What is on the tickets."""
        return [claims.parsed(
            self.scratch.joinpath(keeping.tickets(), name).read_text())
            for name in self.tickets()]

    def test_from_the_beginning(self):
        self.prepare()
        claim, = self.claims()
        self.assertEqual(
            (self.image_id, self.task_id, str(self.staged_path), ['fast'],
             None),
            (claim.image_id, claim.task_id, claim.staged, claim.stores,
             claim.undo))
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
            self.keeper.give_up(self.task_id)

    def test_ticket_cannot_be_written(self):
        """The flow is there all the same, and it says what is wrong."""
        self.scratch.joinpath('lock').touch()
        self.prepare()
        error = self.assertRaises(reasons.ImportFailed, self.execute)
        self.assertIn('cannot be used', str(error))

    def test_ticket_cannot_be_written_any_more(self):
        self.prepare()
        with mock.patch.object(self.keeper, 'record', autospec=True,
                               side_effect=OSError(28, 'No space')):
            error = self.assertRaises(reasons.ImportFailed, self.execute)
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
        # It takes so long that there is progress to tell.
        self.prepare(archive.tgz(archive.chain_members(
            [vhd.Layer(vhd.GIB, disk_type=vhd.FIXED)])))
        with mock.patch.object(staged_task.shutdown, 'has_begun',
                               autospec=True, return_value=True):
            error = self.assertRaises(reasons.ImportFailed, self.execute)
        self.assertEqual(remedies.MESSAGE, str(error))
        self.assertEqual(remedies.MESSAGE,
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

    def test_active_by_now(self):
        """Its formats are those of its data, and cannot be changed."""
        for method in ('glance-direct', 'web-download'):
            self.prepare(method=method)
            self.execute()
            with self.wrapper(self.image_id, self.task_id) as action:
                action.set_image_data(f'file://{self.staged_path}',
                                      self.task_id, backend='fast',
                                      set_active=True)
            self.task.revert(None)
            image = self.image()
            self.assertEqual(('active', 'raw', 'bare'),
                             (image.status, image.disk_format,
                              image.container_format))

    def test_whatever_fails(self):
        """Glance would stop reverting, and the image would stay locked."""
        for name, error in (('__enter__', RuntimeError('no database')),
                            ('__exit__', exception.Forbidden())):
            self.prepare(b'no archive')
            failed = self.execute_in_vain()
            with mock.patch.object(type(self.task.of.action_wrapper), name,
                                   autospec=True, side_effect=error):
                self.task.revert(failed)
            self.task.revert(failed)
            self.assert_as_staged('queued')

    def test_staging_cannot_be_cleaned(self):
        self.prepare(b'no archive')
        failed = self.execute_in_vain()
        with mock.patch.object(task.staging, 'remove', autospec=True,
                               side_effect=OSError(30, 'Read-only')):
            self.task.revert(failed)
        self.assert_as_staged('queued')
