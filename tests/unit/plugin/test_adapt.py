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
"""The second task, after the first, with a stand-in for the tools."""

import hashlib
import shutil
import sys
import unittest
from unittest import mock

from testbed.guests import stand_in
from testbed.images import archive
from testbed.images import vhd
from tests.unit.plugin import base

if base.HAS_GLANCE:
    from taskflow.types import failure

    from glance_xs_convert import exceptions
    from glance_xs_convert.guest import commit
    from glance_xs_convert import options
    from glance_xs_convert.plugin import adapt
    from glance_xs_convert.plugin import keeping
    from glance_xs_convert.plugin import reasons
    from glance_xs_convert.plugin import task
    from glance_xs_convert.recovery import claims
    from glance_xs_convert.recovery import tickets
    from glance_xs_convert import text


def archive_of(data):
    """A chain of one whose disk has these bytes."""
    return archive.tgz(archive.chain_members(
        [vhd.Layer(len(data), written=[(0, data)])]))


@unittest.skipUnless(shutil.which('qemu-img') and shutil.which('qemu-io'),
                     'qemu-utils is not installed')
class AdaptCase(base.GlanceCase):
    """Runs both tasks for an image that is importing."""

    def setUp(self):
        super().setUp()
        self.conf.config(group='wsgi', python_interpreter=sys.executable)
        tools = self.scratch / 'tools'
        tools.mkdir()
        tool, inspector = stand_in.install(tools)
        self.scratches = self.scratch / 's'
        self.scratches.mkdir()
        self.configure(tool=tool, inspector=inspector,
                       scratch_path=str(self.scratches))

    def configure(self, **wanted):
        self.conf.config(group=options.ADAPT_GROUP, **wanted)

    def prepare(self, method='glance-direct', raw=False, properties=None,
                **instructions):
        """An image with data in staging, and both tasks for it."""
        self.data = stand_in.disk(**instructions)
        self.image_id = self.new_image(
            extra_properties=properties or {},
            **({'disk_format': 'raw', 'container_format': 'bare'} if raw
               else {}))
        self.task_id = self.new_import(self.image_id, method)
        self.begin(self.image_id, self.task_id)
        self.path = self.stage(
            self.image_id, self.data if raw else archive_of(self.data))
        arguments = self.flow_arguments(self.image_id, self.task_id, method)
        self.convert, = (node for node, _ in
                         task.get_flow(**arguments).iter_nodes())
        self.task, = (node for node, _ in
                      adapt.get_flow(**arguments).iter_nodes())

    def execute(self):
        uri = f'file://{self.path}'
        self.convert.execute(uri)
        return self.task.execute(uri)

    def run_asked(self, **arguments):
        self.prepare(properties={'xs_adapt': 'true',
                                 **arguments.pop('properties', {})},
                     **arguments)
        return self.execute()

    def properties(self):
        return dict(self.image_repo.get(self.image_id).extra_properties)

    def message(self):
        return self.task_repo.get(self.task_id).message

    def assert_untouched(self):
        self.assertEqual(self.data, self.path.read_bytes())
        self.assert_clean()

    def assert_clean(self):
        """Nothing but the disk is left."""
        self.assertEqual([self.image_id], self.staged())
        self.assertEqual([], list(self.scratches.iterdir()))


class Adapt(AdaptCase):

    def test_adapted(self):
        uri = self.run_asked(packages=['qemu-guest-agent'], properties={
            'hypervisor_type': 'xen', 'vm_mode': 'xen', 'hw_disk_bus': 'xen',
            'hw_vif_model': 'netfront', 'os_type': 'mine', 'other': 'stays'})
        self.assertEqual(f'file://{self.path}', uri)
        self.assertEqual(stand_in.adapted(self.data), self.path.read_bytes())
        self.assert_clean()
        found = {name: value for name, value in self.properties().items()
                 if not name.startswith('os_glance_')}
        self.assertEqual({
            'xs_adapt': 'true', 'other': 'stays', 'os_type': 'mine',
            'os_distro': 'debian', 'os_version': '12.5',
            'hw_disk_bus': 'virtio', 'hw_vif_model': 'virtio',
            'hw_firmware_type': 'bios', 'hw_qemu_guest_agent': 'yes',
            'xs_convert_adapted_by': stand_in.VERSION,
            'xs_convert_disk_sha512': hashlib.sha512(self.data).hexdigest(),
        }, {name: value for name, value in found.items()
            if not name.startswith(('xs_convert_archive', 'xs_convert_layers',
                                    'xs_convert_source'))})
        self.assertEqual(
            'Adapted the guest: Debian GNU/Linux 12 (bookworm) 12.5, virtio '
            'disk and network', self.message())

    def test_owner_has_the_last_word(self):
        for when, wish, expected in (
                ('asked', {}, False), ('asked', {'xs_adapt': 'True'}, True),
                ('asked', {'xs_adapt': 'no'}, False),
                ('asked', {'xs_adapt': '²'}, False),
                ('always', {}, True), ('always', {'xs_adapt': 'false'}, False),
                ('always', {'xs_adapt': 'true'}, True)):
            self.configure(when=when)
            self.prepare(raw=True, properties=wish)
            image = self.image_repo.get(self.image_id)
            self.assertEqual(expected, adapt.is_wanted(image, True),
                             (when, wish))
            self.assertFalse(adapt.is_wanted(image, False))

    def test_what_another_plugin_has_converted_to_qcow2(self):
        self.prepare(properties={'xs_adapt': 'true'})
        image = self.image_repo.get(self.image_id)
        for formats in (('qcow2', 'bare'), ('vhd', 'ovf')):
            image.disk_format, image.container_format = formats
            self.assertFalse(adapt.is_wanted(image, True), formats)

    def test_not_asked(self):
        self.prepare()
        self.execute()
        self.assert_untouched()
        self.assertNotIn('xs_convert_adapted_by', self.properties())

    def test_properties_do_not_tell_what_was_converted(self):
        """Everybody can set them; a raw image is not ours."""
        self.run_asked(raw=True, properties={
            'xs_convert_source_format': 'vhd/ovf'})
        self.assert_untouched()

    def test_raw_image(self):
        self.configure(raw_images=True)
        self.run_asked(raw=True)
        self.assertEqual(stand_in.adapted(self.data), self.path.read_bytes())
        self.assert_clean()
        self.assertEqual(1, len(self.tickets_of_imports()))

    def test_signed_raw_image(self):
        self.configure(raw_images=True)
        self.prepare(raw=True, properties={'xs_adapt': 'true',
                                           'img_signature': 'x'})
        error = self.assertRaises(reasons.ImportFailed, self.execute)
        self.assertEqual('SignedImage', text.tag_of(str(error)))

    def tickets_of_imports(self):
        box = tickets.Box(keeping.tickets(), claims.SUFFIX)
        return list(box.names())

    def test_kept_as_it_is(self):
        self.run_asked(
            status=1, words=[], errors=[
                'virt-v2v-in-place: error: filesystem was mounted read-only'],
            properties={'hypervisor_type': 'xen'})
        self.assert_untouched()
        found = self.properties()
        self.assertEqual('UncleanGuest', text.tag_of(
            found['xs_convert_not_adapted']))
        self.assertLessEqual(len(found['xs_convert_not_adapted']), 255)
        self.assertEqual(('ide', 'e1000'), (found['hw_disk_bus'],
                                            found['hw_vif_model']))
        self.assertNotIn('hypervisor_type', found)
        self.assertNotIn('xs_convert_adapted_by', found)
        self.assertTrue(self.message().startswith(
            'The guest was not adapted: the guest is hibernated'))
        self.assertEqual('UncleanGuest', text.tag_of(self.message()))

    def test_kept_because_of_the_host(self):
        """Nothing is known of the guest, so nothing is changed."""
        self.configure(tool='no-such-tool')
        self.run_asked(properties={'hypervisor_type': 'xen'})
        self.assert_untouched()
        found = self.properties()
        self.assertEqual('ToolMissing', text.tag_of(
            found['xs_convert_not_adapted']))
        self.assertEqual('xen', found['hypervisor_type'])
        self.assertNotIn('hw_disk_bus', found)

    def test_refused(self):
        self.configure(on_failure='refuse')
        self.prepare(properties={'xs_adapt': 'true'}, systems=[])
        error = self.assertRaises(reasons.ImportFailed, self.execute)
        self.assertTrue(str(error).startswith('The guest cannot be adapted: '))
        self.assertEqual('NoOperatingSystem', text.tag_of(str(error)))

    def test_disk_for_data(self):
        """Who adapts everything does not mean those without a system."""
        self.configure(when='always', on_failure='refuse')
        self.prepare(systems=[])
        self.execute()
        self.assert_untouched()
        self.assertNotIn('xs_convert_not_adapted', self.properties())
        self.assertIn('holds no operating system', self.message())

    def test_half_a_commit_is_never_kept(self):
        self.prepare(properties={'xs_adapt': 'true'})
        broken = mock.Mock(side_effect=exceptions.HalfCommitted('half'))
        with mock.patch.object(commit, 'commit', broken):
            error = self.assertRaises(reasons.ImportFailed, self.execute)
        self.assertEqual('HalfCommitted', text.tag_of(str(error)))
        self.assert_clean()

    def test_wrong_setting(self):
        self.configure(libguestfs={'PATH': '/tmp'})
        self.prepare(properties={'xs_adapt': 'true'})
        error = self.assertRaises(reasons.ImportFailed, self.execute)
        self.assertIn('the option libguestfs', str(error))

    def test_progress(self):
        told = []
        self.prepare(properties={'xs_adapt': 'true'}, sleep=2)
        with mock.patch.object(self.task.messages, 'tell', told.append):
            self.execute()
        self.assertTrue(any(
            message.startswith('Adapting the guest: starting, ')
            for message in told), told)


class Revert(AdaptCase):
    """After a failure, the image is as it was."""

    def fail_and_revert(self, **properties):
        try:
            self.execute()
        except Exception:
            failed = failure.Failure()
        self.task.revert(failed)
        self.convert.revert(f'file://{self.path}',
                            flow_failures={'adapt': failed})

    def assert_set_back(self, status, wish):
        image = self.image_repo.get(self.image_id)
        self.assertEqual((status, 'vhd', 'ovf', None),
                         (image.status, image.disk_format,
                          image.container_format, image.size))
        self.assertEqual(wish, {
            name: value for name, value in self.properties().items()
            if not name.startswith('os_glance_')})

    def test_refused(self):
        self.configure(on_failure='refuse')
        self.prepare(properties={'xs_adapt': 'true'}, systems=[])
        self.fail_and_revert()
        self.assert_set_back('queued', {'xs_adapt': 'true'})
        self.assertEqual([], self.staged())
        self.assertEqual('fast', self.properties()['os_glance_failed_import'])

    def test_refused_after_web_download(self):
        """Its own task does the rest."""
        self.configure(on_failure='refuse')
        self.prepare('web-download', properties={'xs_adapt': 'true'},
                     systems=[])
        self.fail_and_revert()
        self.assert_set_back('importing', {'xs_adapt': 'true'})

    def test_refused_after_glance_download(self):
        self.configure(on_failure='refuse')
        self.prepare('glance-download', properties={'xs_adapt': 'true'},
                     systems=[])
        self.fail_and_revert()
        self.assert_set_back('queued', {'xs_adapt': 'true'})
        self.assertEqual('NoOperatingSystem', text.tag_of(self.message()))
        self.assertNotIn('os_glance_import_task', self.properties())

    def test_a_later_task_fails(self):
        wish = {'xs_adapt': 'true', 'hw_disk_bus': 'xen', 'vm_mode': 'xen'}
        self.prepare(properties=wish)
        self.execute()
        self.task.revert(f'file://{self.path}', flow_failures={})
        self.convert.revert(f'file://{self.path}', flow_failures={})
        self.assert_set_back('queued', wish)
        self.assertEqual([], self.staged())

    def test_raw_image(self):
        self.configure(raw_images=True, on_failure='refuse')
        self.prepare(raw=True, properties={'xs_adapt': 'true'}, systems=[])
        try:
            self.execute()
        except reasons.ImportFailed:
            self.task.revert(failure.Failure())
        image = self.image_repo.get(self.image_id)
        self.assertEqual(('queued', 'raw', 'bare'),
                         (image.status, image.disk_format,
                          image.container_format))
        self.assertEqual([], self.staged())

    def test_ticket_undoes_both(self):
        wish = {'xs_adapt': 'true', 'hw_disk_bus': 'xen'}
        self.prepare(properties=wish)
        written = []
        with mock.patch.object(self.keeper, 'record',
                               lambda request, undo: written.append(undo)):
            self.execute()
        with self.wrapper(self.image_id, self.task_id) as action:
            written[-1].apply(action)
        self.assert_set_back('importing', wish)
