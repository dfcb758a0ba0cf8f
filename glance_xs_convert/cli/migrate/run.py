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

"""``glance-xs-convert migrate run``."""

import argparse
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import itertools
import signal
import time
from typing import TextIO

from glance_xs_convert.cli import common
from glance_xs_convert.cli.migrate import command
from glance_xs_convert.cli.migrate import progress
from glance_xs_convert.cli import text_file
from glance_xs_convert import exceptions
from glance_xs_convert.migrate import choices
from glance_xs_convert.migrate import cloud as cloud_
from glance_xs_convert.migrate import errors
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import methods
from glance_xs_convert.migrate import migration
from glance_xs_convert.migrate import preflight
from glance_xs_convert.migrate import references
from glance_xs_convert.migrate import report
from glance_xs_convert.migrate import runner
from glance_xs_convert import text


class Run(command.ImagesCommand):
    """Convert the XenServer images that a cloud has stored.

    For each image, the command creates a new one and imports the data of the
    old one into it; the import converts the data. Each of the two images has a
    property with the ID of the other. The state is kept in Glance, so you can
    interrupt the command and run it again, and several people can run it at
    once. The exit status is 1 if an image failed or was not completed.

    After Ctrl-C, the command completes the images that it has begun, and
    begins no others. After a second Ctrl-C, it abandons them, and the next run
    continues them.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument(
            '--jobs', metavar='N', type=common.positive, default=choices.JOBS,
            help='the number of images to migrate at a time (default: '
                 f'{choices.JOBS})')
        parser.add_argument(
            '--limit', metavar='N', type=common.positive,
            help='migrate at most this number of images')
        parser.add_argument(
            '--old', choices=choices.OLD,
            help='what to do with an old image when the new one is complete: '
                 'keep it unchanged; hide it from lists, so that names refer '
                 'to new images while IDs still work, which is the default; '
                 'deactivate it, so that its data cannot be used either; or '
                 'delete it after --verify has confirmed the disk. If given, '
                 'the option also applies to images of earlier runs, and to '
                 'shared images whose members have not yet accepted the new '
                 'ones')
        parser.add_argument(
            '--method', choices=choices.METHODS, default=choices.AUTO,
            help='how to import the archives: with glance-download, the '
                 "cloud's hosts download them from their own region; with "
                 'glance-direct, this computer passes them on (default: '
                 f'{choices.AUTO}, which prefers glance-download, and uses '
                 'glance-direct if the first image shows that the hosts '
                 'cannot download from their region)')
        parser.add_argument(
            '--download-interface', metavar='INTERFACE',
            help='the interface of the image endpoint from which the hosts '
                 'download (default: the one that this command uses)')
        command.add_import_options(parser)
        parser.add_argument(
            '--adapt', action='store_true',
            help='ask the cloud to adapt the guests to KVM, which its plugin '
                 'xs_adapt does; --verify compares the disks before that')
        parser.add_argument(
            '--verify', action='store_true',
            help='also convert each archive on this computer, and compare '
                 "the disk's checksum with Glance's; each job needs space "
                 'for the data of a disk in $TMPDIR')
        parser.add_argument(
            '--retry', action='store_true',
            help='try refused archives again')
        parser.add_argument(
            '--drop-signature', action='store_true',
            help='also migrate signed images, without their signatures')
        parser.add_argument(
            '--mapping', metavar='FILE',
            help='write a CSV file with the old and new IDs, and the servers '
                 'and volumes that refer to old ones')
        parser.add_argument(
            '--force', action='store_true',
            help='overwrite the CSV file if it exists')
        parser.add_argument(
            '--dry-run', action='store_true',
            help='only show which images would be migrated, and which old '
                 'ones would be deleted')
        parser.add_argument(
            '--yes', action='store_true', help='do not ask before deleting')
        parser.add_argument(
            '--quiet', action='store_true',
            help='show neither the progress nor a summary')

    def take_action(self, parsed_args: argparse.Namespace) -> common.Listing:
        start = time.monotonic()
        self._quiet = (parsed_args.quiet
                       or not self.app.options.verbose_level)
        cloud = self.connect(parsed_args)
        preflight.check_stores(cloud, parsed_args.stores)
        settings = _settings(cloud, parsed_args)
        found = command.inventory_of(cloud, parsed_args)
        taken = list(itertools.islice(
            runner.to_do(found.rows(), settings), parsed_args.limit))
        if parsed_args.dry_run:
            self.say_findings(cloud, found.rows(), parsed_args.method)
            return command.table(self._foresee(cloud, settings, taken))
        self._check_agreement(settings, parsed_args.yes, taken)
        with text_file.new(parsed_args.mapping,
                           parsed_args.force) as mapping:
            if not (parsed_args.images or parsed_args.project
                    or parsed_args.name or parsed_args.properties):
                _delete_orphans(cloud, found.orphans())
            outcomes = self._run(cloud, settings, parsed_args.jobs, taken)
            rows = _updated(found.rows(), outcomes)
            self._finish(cloud, mapping, outcomes, rows,
                         time.monotonic() - start)
        return command.table(rows)

    def _foresee(self, cloud: cloud_.Cloud, settings: migration.Settings,
                 taken: Sequence[inventory.Row]) -> list[inventory.Row]:
        """Return the images with what a run would do beside migrating them."""
        rows = inventory.with_members(cloud, taken)
        if settings.old != choices.DELETE:
            return rows
        deleted = [row for row in rows if not row.is_protected]
        self.say(f'{text.count(len(deleted), "old image")} would be deleted '
                 'after verification')
        return [dataclasses.replace(row, reason='; '.join(
            filter(None, (row.reason, _foreseen(row))))) for row in rows]

    def _check_agreement(self, settings: migration.Settings, yes: bool,
                         taken: Sequence[inventory.Row]) -> None:
        question = (f'Delete {text.count(len(taken), "old image")} after '
                    'verification?')
        if settings.old == choices.DELETE and taken and not (
                command.has_consent(question, yes)):
            raise exceptions.XsConvertError(
                'nothing was done: deleting needs your consent, or --yes')

    def _run(self, cloud: cloud_.Cloud, settings: migration.Settings,
             jobs: int, taken: Sequence[inventory.Row],
             ) -> list[runner.Outcome]:
        size = sum(row.size or 0 for row in taken)
        with progress.shown(self.app.stderr, self._quiet, len(taken),
                            size) as watch:
            running = runner.Runner(cloud, settings, jobs, watch)
            with _signals(running.interrupt, self._say_interrupted,
                          watch.interrupted):
                outcomes = running.run(taken)
        if running.problem:
            self.say(f'No further images were begun: {running.problem}')
        if running.interrupted or len(outcomes) < len(taken):
            self.status = 1
        return outcomes

    def _say_interrupted(self, first: bool) -> None:
        self.say('Interrupted: completing the images that have begun. '
                 'Interrupt again to abandon them until the next run.'
                 if first else 'Abandoned the images that have begun.')

    def _finish(self, cloud: cloud_.Cloud, mapping: TextIO | None,
                outcomes: Sequence[runner.Outcome],
                rows: Sequence[inventory.Row], seconds: float) -> None:
        if any(row.state == inventory.FAILED for row in rows):
            self.status = 1
        made = [outcome for outcome in outcomes
                if outcome.row.state == inventory.DONE]
        pairs = report.pairs(rows)
        users = references.Users(
            cloud, {row.id: row.project for row in rows
                    if row.id in dict(pairs)} if made or mapping else {})
        if mapping:
            report.write_mapping(mapping, pairs, users)
        if not self._quiet:
            used = {old_id: users.of(old_id) for old_id, _ in pairs
                    if users.of(old_id)}
            for line in _summary(made, rows, seconds, used, users.unseen):
                self.say(line)


def _delete_orphans(cloud: cloud_.Cloud, ids: Iterable[str]) -> None:
    """Delete incomplete new images; one that cannot be deleted stays."""
    for new_id in ids:
        with contextlib.suppress(errors.Unreachable, errors.Conflict,
                                 errors.NotAllowed):
            cloud.images.delete(new_id)


def _foreseen(row: inventory.Row) -> str:
    """Return what would become of an old image that is to be deleted."""
    if row.is_protected:
        return 'the old image is protected, so it would be hidden'
    return 'the old image would be deleted'


def _settings(cloud: cloud_.Cloud, parsed_args: argparse.Namespace,
              ) -> migration.Settings:
    common.keep_silent()
    return migration.Settings(
        methods=methods.choose(cloud, parsed_args.method,
                               parsed_args.download_interface),
        old=parsed_args.old, stores=parsed_args.stores,
        verify=parsed_args.verify, sandbox=parsed_args.sandbox,
        retry=parsed_args.retry, drop_signature=parsed_args.drop_signature,
        deadline=parsed_args.deadline, adapt=parsed_args.adapt)


def _updated(rows: Iterable[inventory.Row],
             outcomes: Iterable[runner.Outcome]) -> list[inventory.Row]:
    """Return all images as they are now; most have not changed."""
    now = {(outcome.row.id, outcome.row.project): outcome.row
           for outcome in outcomes}
    return [now.get((row.id, row.project), row) for row in rows]


def _summary(made: Sequence[runner.Outcome], rows: Sequence[inventory.Row],
             seconds: float, used: Mapping[str, Sequence[str]],
             unseen: Iterable[str]) -> Iterator[str]:
    """Yield the lines of the summary."""
    archives = sum(outcome.row.size or 0 for outcome in made)
    disks = sum(outcome.disk for outcome in made)
    yield (f'{text.count(len(made), "image")} migrated in '
           f'{text.count(round(seconds), "second")}: '
           f'{text.size(archives)} of archives, {text.size(disks)} of disks')
    yield 'Now ' + ', '.join(
        f'{count} {state}' for state, count in inventory.counts(rows).items())
    for row in rows:
        if row.state == inventory.FAILED:
            yield f'Failed: {row.id} ({row.name}): {row.reason}'
    for outcome in made:
        for note in outcome.notes:
            yield f'Note on {outcome.row.id} ({outcome.row.name}): {note}'
    for old_id, users in used.items():
        yield f'Still used: {old_id} by {", ".join(users)}'
    for sentence in unseen:
        yield f'Cannot see what uses old images: {sentence}'


@contextlib.contextmanager
def _signals(interrupt: Callable[[], bool], say: Callable[[bool], None],
             interrupted: Callable[[], None]) -> Iterator[None]:
    """Let signals interrupt the migration instead of this process."""
    def handle(number: int, frame: object) -> None:
        first = interrupt()
        interrupted()
        say(first)

    before = {number: signal.signal(number, handle)
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
