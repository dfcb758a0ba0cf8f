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

"""The migration of one image, from the first request to the last.

It claims an ID for the new image, imports the archive into it, and replaces
the old image. Every step can be repeated, and begins by checking the state of
the images. So it does not matter whether another command has migrated the
image before, was killed, or is migrating it now.
"""

import dataclasses
from typing import Any

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import attempts
from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import claiming
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import images
from glance_xs_convert.migrate import importing
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import names
from glance_xs_convert.migrate import pairs
from glance_xs_convert.migrate import record
from glance_xs_convert.migrate import replacing
from glance_xs_convert.migrate import selection
from glance_xs_convert.migrate import verify
from glance_xs_convert import terms
from glance_xs_convert.worker import protocol


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to migrate images.

    :ivar methods: import method
    :ivar old: what happens to old images, one of ``choices.OLD``; None for the
               default, which is to hide them when their members can use the
               new ones
    :ivar stores: names of the stores for new images
    :ivar verify: whether to compare the checksums of the disks
    :ivar sandbox: confinement of the verifying converter, one of
                   ``protocol.SANDBOXES``
    :ivar retry: whether to try refused archives again
    :ivar drop_signature: whether to migrate signed images without a signature
    :ivar deadline: longest time without progress of an import, in seconds
    :ivar adapt: whether to ask the cloud to adapt the guests to KVM
    """

    methods: methods.Methods
    old: str | None = None
    stores: tuple[str, ...] = ()
    verify: bool = False
    sandbox: str = protocol.BEST_EFFORT
    retry: bool = False
    drop_signature: bool = False
    deadline: float = choices.DEADLINE
    adapt: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The result of a migrated image.

    :ivar new_id: ID of the new image
    :ivar size: size of the disk, in bytes
    :ivar notes: notes for the operator
    """

    new_id: str
    size: int
    notes: tuple[str, ...] = ()


class Migration:
    """Migrates one image.

    :param cloud: the cloud
    :param settings: how to migrate
    :param old_id: ID of the old image
    :param new_id: ID of the new image, if it is known to exist
    :param on_progress: called with the progress
    """

    def __init__(self, cloud: cloud_.Cloud, settings: Settings, old_id: str,
                 new_id: str | None, on_progress: importing.OnProgress,
                 ) -> None:
        self._cloud = cloud
        self._settings = settings
        self._old_id = old_id
        self._known_new_id = new_id
        self._on_progress = on_progress
        self._method = settings.methods.current
        self._attempts = attempts.Attempts(
            cloud, settings.deadline, on_progress)
        self._notes: list[str] = []
        self._replacement = replacing.Replacement(
            cloud, settings.old, self._notes.append)

    def run(self) -> Result:
        """Migrate the image.

        :raises Skipped: there is nothing to migrate
        :raises Failed: the migration failed; the new image records the reason
        :raises NotConverted: the plugin is off
        :raises MigrationError: the cloud failed
        """
        return self._attempts.run(self._attempt)

    def retire(self) -> Result:
        """Apply the settings to an old image that has been replaced.

        :raises Skipped: the two images do not belong together any more
        """
        old = self._old()
        new_id = pairs.replacement(old)
        new = self._cloud.images.get(new_id) if new_id else None
        if new is None or not pairs.is_complete(old, new):
            raise errors.Skipped('its new image is gone')
        if self._cloud.is_admin and old['visibility'] == record.SHARED:
            replacing.answer_for(
                self._cloud, self._cloud.images.members(old['id']), new['id'])
        return self._complete(old, new)

    def _attempt(self) -> Result:
        old = self._old()
        claim = self._claim(old, self._method.uploads)
        if annotations.of(claim.new).source == old['id']:
            return self._complete(old, claim.new)
        return self._complete(old, self._import(old, claim))

    def _old(self) -> images.Image:
        old = self._cloud.images.get(self._old_id)
        if old is None:
            raise errors.Skipped('it has been deleted')
        return old

    def _claim(self, old: images.Image, uploads: bool) -> claiming.Claim:
        """Claim the new image, unless an earlier attempt forbids it."""
        self._on_progress('preparing', None)
        found = claiming.find(self._cloud, old, self._known_new_id)
        if found is None:
            reason = selection.obstacle(old, self._settings.drop_signature)
            if reason:
                raise errors.Skipped(reason)
            found = claiming.claim_next(
                self._cloud, old, self._first(old),
                self._known_new_id, uploads=uploads)
        self._known_new_id = found.new_id
        known = annotations.of(found.new)
        if known.source:
            return found
        if known.refused and not self._settings.retry:
            raise errors.Refused(known.refused)
        is_active = found.new['status'] == 'active'
        if (known.refused if is_active else known.failed):
            # Nothing of it can be used again: the import did not succeed, or
            # the disk is wrong.
            claiming.discard(self._cloud, found.new)
            return self._claim(old, uploads)
        if known.failed or known.refused:
            return claiming.reclaim(self._cloud, found.new,
                                    uploads and not is_active)
        return found

    def _first(self, old: images.Image) -> dict[str, Any]:
        """Return the initial attributes of a new image."""
        is_foreign = old['owner'] != self._cloud.project_id
        wish = {terms.ADAPT: 'true'} if self._settings.adapt else {}
        return {**record.initial_attributes(old, is_foreign), **wish}

    def _import(self, old: images.Image, claim: claiming.Claim,
                ) -> images.Image:
        """Import the archive, and return the new image."""
        method = self._method
        source = methods.StoredImage(self._cloud, old['id'], old['size'])
        try:
            ending = importing.Import(
                self._cloud, method, self._settings.stores,
                self._settings.deadline, self._on_progress, source,
                claim).run()
            if not ending.is_active:
                self._method = self._settings.methods.after_failure(
                    method, ending.kind)
                self._attempts.give_up_or_repeat(ending, method)
        except errors.Failed as error:
            self._remember(claim.new_id, error)
            raise
        self._settings.methods.report_success(method)
        attempts.check_converted(self._cloud, ending.new,
                                 ending.size or ending.new['virtual_size'])
        return ending.new

    def _remember(self, new_id: str, error: errors.Failed) -> None:
        """Record in Glance why an attempt failed."""
        name = (names.REFUSED if isinstance(error, errors.Refused)
                else names.FAILED)
        now = self._cloud.images.get(new_id)
        if now is not None and annotations.of(now).migrating:
            self._cloud.images.patch(new_id, record.changes(
                now, {name: str(error)[:annotations.LONGEST_REASON]}))

    def _complete(self, old: images.Image, new: images.Image) -> Result:
        """Verify, publish and replace."""
        facts = self._verify(old, new)
        if annotations.of(new).source != old['id']:
            self._on_progress('publishing', None)
            old, new = self._replacement.publish(self._old_id, new)
        if facts:
            new = self._cloud.images.patch(
                new['id'], record.changes(new, facts))
        self._note_adapting(new)
        self._replacement.replace(old, new)
        return Result(new['id'], new['size'], tuple(self._notes))

    def _note_adapting(self, new: images.Image) -> None:
        """Tell the operator if the guest was not adapted as it should be."""
        notes = annotations.of(new)
        if self._settings.adapt and not notes.adapted_by:
            self._notes.append(notes.adapting or (
                'not adapted: xs_adapt is not among the image_import_plugins '
                'of the cloud'))

    def _verify(self, old: images.Image, new: images.Image,
                ) -> dict[str, str]:
        """Compare the checksums of the disks, if that is to be done.

        :returns: the property that records the result
        :raises Refused: the disk is wrong
        :raises Failed: this computer cannot verify it
        """
        expected = replacing.sum_of(new)
        wanted = self._settings.verify or self._settings.old == choices.DELETE
        if not wanted or annotations.of(new).verified == expected:
            return {}

        def tell(fraction: float | None) -> None:
            self._on_progress('verifying', fraction)
            self._cloud.clock.pause(0)

        tell(None)
        try:
            verify.check_sum(self._cloud, old, expected, tell,
                             self._settings.sandbox, self._settings.deadline)
        except errors.Failed as error:
            self._remember(new['id'], error)
            raise
        return {names.VERIFIED: expected}
