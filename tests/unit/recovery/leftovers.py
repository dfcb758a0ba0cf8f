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

"""Imports that their process left behind."""

from tests.unit import cases
from tests.unit.plugin import base

if base.HAS_GLANCE:
    from glance_xs_convert.plugin import image_record
    from glance_xs_convert.plugin import keeping
    from glance_xs_convert.recovery import claims
    from glance_xs_convert.recovery import interrupted
    from glance_xs_convert.recovery import remedies
    from glance_xs_convert.recovery import tickets

DATA = b'some data of an image' * 1000


class RecoveryCase(base.GlanceCase):
    """Has an import that its process left behind."""

    def leave(self, method='web-download', stores=('fast',),
              status='importing', request_id='req-1', **attributes):
        """Begin an import, and leave a ticket without a holder."""
        self.stores = stores
        self.image_id = self.new_image(**attributes)
        self.task_id = self.new_import(
            self.image_id, method, stores, request_id)
        if status == 'importing':
            self.begin(self.image_id, self.task_id, stores)
        elif status == 'uploading':
            image = self.image()
            image.status = 'uploading'
            image.extra_properties['os_glance_stage_host'] = 'http://here'
            self.image_repo.save(image)
        self.path = self.stage(self.image_id, DATA)
        self.staging.joinpath(f'{self.image_id}.{self.task_id}.raw').touch()
        self.draw(task_id=self.task_id, stores=list(stores))

    def draw(self, **fields):
        """Draw a ticket for the image."""
        self.claim = claims.Claim(
            image_id=self.image_id, staged=str(self.staging / self.image_id),
            **fields)
        box = tickets.Box(keeping.tickets(), claims.SUFFIX)
        self.ticket = box.draw(self.claim.text())
        self.addCleanup(self.ticket.drop)

    def convert(self):
        """Let the record be that of a raw disk."""
        outcome = cases.converted(virtual_size=len(DATA))
        with self.wrapper(self.image_id, self.task_id) as action:
            change = image_record.conversion(
                action, outcome, remove=['vm_mode'],
                writable=image_record.PROVENANCE)
            self.ticket.add(claims.undo_addition(change.inverse(action)))
            change.apply(action)

    def copy(self, store, last=False):
        """Copy the data to a store, as Glance does."""
        with self.wrapper(self.image_id, self.task_id) as action:
            action.set_image_data(f'file://{self.path}', self.task_id,
                                  backend=store, set_active=last)
            action.remove_importing_stores([store])

    def cut_copy(self, store):
        """What is left when the process is killed while it copies."""
        self.store_path(store).joinpath(self.image_id).write_bytes(DATA[:99])

    def recover(self, **options):
        """Recover what was left.

        :returns: what was reported
        """
        self.ticket.drop()
        found = []
        recovery = interrupted.Recovery(keeping.tickets)
        self.assertTrue(recovery.recover(
            report=lambda name, each: found.append(each.result), **options))
        return found

    def image(self):
        return self.image_repo.get(self.image_id)

    def task(self):
        return self.task_repo.get(self.task_id)

    def stored(self):
        return [store for store in self.STORES
                if any(self.store_path(store).iterdir())]

    def assert_set_back(self, **properties):
        """The image is as it was before, and nothing of it is left."""
        image = self.image()
        found = dict(image.extra_properties)
        self.assertEqual(
            ('queued', 'vhd', 'ovf', None, None, None, []),
            (image.status, image.disk_format, image.container_format,
             image.size, image.virtual_size, image.checksum,
             list(image.locations)))
        self.assertEqual(
            {'os_glance_failed_import': ','.join(sorted(self.stores)),
             'os_glance_importing_to_stores': '', **properties}, found)
        self.assertEqual(('failure', remedies.MESSAGE),
                         (self.task().status, self.task().message))
        self.assertEqual(([], [], []),
                         (self.staged(), self.stored(), self.tickets()))
        # Another import gets the image's lock.
        self.new_import(self.image_id)
