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

"""``glance-xs-convert migrate``."""

import argparse
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import datetime
import itertools
import signal
import sys
import time
from typing import Any
from typing import TextIO
from typing import TYPE_CHECKING

from cliff import columns
from cliff import lister

from glance_xs_convert.cli import common
from glance_xs_convert.cli import migrate_common
from glance_xs_convert.cli import migrate_progress
from glance_xs_convert import exceptions
from glance_xs_convert import text

if TYPE_CHECKING:
    from glance_xs_convert.migrate import candidates
    from glance_xs_convert.migrate import cloud as cloud_
    from glance_xs_convert.migrate import migration
    from glance_xs_convert.migrate import runner as runner_

    _TextColumn = columns.FormattableColumn[str]
else:
    _TextColumn = columns.FormattableColumn

#: How many characters of a sum are shown to people.
_SHOWN_SUM = 16

_Table = tuple[Sequence[str], Iterable[Sequence[Any]]]

_METHODS = ('auto', 'glance-download', 'glance-direct')
_OLD = ('keep', 'hide', 'deactivate', 'delete')
_DEADLINE = 3600
#: What becomes of new images that nobody knows to be unused.
_KEEP, _DELETE = 'keep', 'delete'


class List(migrate_common.CloudCommand, lister.Lister):
    """List the XenServer images of a cloud, and the state of each.

    The command changes nothing. It first shows whether the cloud can convert
    images, as far as its API tells. The exit status is 1 if the cloud cannot,
    or if the migration of an image has failed.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        migrate_common.add_selection(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        from glance_xs_convert.migrate import candidates

        cloud = self.connect(parsed_args)
        rows = _rows(cloud, migrate_common.selection(parsed_args, cloud))
        able = _say_findings(self, cloud, rows, _METHODS[0])
        if not able or any(row.state == candidates.FAILED for row in rows):
            self.status = 1
        return migrate_common.table(rows)


class Run(migrate_common.CloudCommand, lister.Lister):
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

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        migrate_common.add_selection(parser)
        parser.add_argument(
            '--jobs', metavar='N', type=migrate_common.positive, default=4,
            help='the number of images to migrate at a time (default: '
                 '%(default)s)')
        parser.add_argument(
            '--limit', metavar='N', type=migrate_common.positive,
            help='migrate at most this number of images')
        parser.add_argument(
            '--old', choices=_OLD,
            help='what to do with an old image when the new one is complete: '
                 'keep it unchanged; hide it from lists, so that names refer '
                 'to new images while IDs still work, which is the default; '
                 'deactivate it, so that its data cannot be used either; or '
                 'delete it after --verify has confirmed the disk. If given, '
                 'the option also applies to images of earlier runs')
        parser.add_argument(
            '--method', choices=_METHODS, default=_METHODS[0],
            help='how to import the archives: with glance-download, the '
                 "cloud's hosts download them from their own region; with "
                 'glance-direct, this computer passes them on (default: '
                 '%(default)s, which prefers glance-download)')
        parser.add_argument(
            '--download-interface', metavar='INTERFACE',
            help='the interface of the image endpoint from which the hosts '
                 'download (default: the one that this command uses)')
        parser.add_argument(
            '--stores', metavar='STORE[,STORE]', type=_names, default=(),
            help='the stores for new images (default: the default store)')
        parser.add_argument(
            '--verify', action='store_true',
            help='also convert each archive on this computer, and compare '
                 "the disk's checksum with Glance's; each job needs space "
                 'for the data of a disk in $TMPDIR')
        common.add_sandbox(parser)
        parser.add_argument(
            '--retry', action='store_true',
            help='try refused archives again')
        parser.add_argument(
            '--drop-signature', action='store_true',
            help='also migrate signed images, without their signatures')
        parser.add_argument(
            '--deadline', metavar='SECONDS', type=migrate_common.positive,
            default=_DEADLINE,
            help='the time without progress after which to give up an '
                 'import and begin it again (default: %(default)s)')
        parser.add_argument(
            '--mapping', metavar='FILE',
            help='write a CSV file with the old and new IDs, and the servers '
                 'and volumes that refer to old ones')
        parser.add_argument(
            '--dry-run', action='store_true',
            help='only show which images would be migrated')
        parser.add_argument(
            '--yes', action='store_true', help='do not ask before deleting')
        parser.add_argument(
            '--quiet', action='store_true',
            help='show neither the progress nor a summary')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        from glance_xs_convert.migrate import preflight
        from glance_xs_convert.migrate import runner

        start = time.monotonic()
        self._quiet = (parsed_args.quiet
                       or not self.app.options.verbose_level)
        cloud = self.connect(parsed_args)
        preflight.check_stores(cloud, parsed_args.stores)
        selection = migrate_common.selection(parsed_args, cloud)
        settings = _settings(cloud, parsed_args)
        rows, orphans = _taken_in(cloud, selection)
        taken = list(itertools.islice(runner.to_do(
            rows, settings, parsed_args.old is not None), parsed_args.limit))
        if parsed_args.dry_run:
            _say_findings(self, cloud, rows, parsed_args.method)
            return migrate_common.table(taken)
        self._check_agreement(parsed_args, taken)
        _remove_orphans(cloud, selection, orphans)
        outcomes = self._run(cloud, settings, parsed_args.jobs, taken)
        # The other images have not changed.
        now = {row.id: row for row in rows}
        now |= {outcome.row.id: outcome.row for outcome in outcomes}
        self._finish(cloud, parsed_args, outcomes, list(now.values()),
                     time.monotonic() - start)
        return migrate_common.table(list(now.values()))

    def _check_agreement(self, parsed_args: argparse.Namespace,
                         taken: 'Sequence[candidates.Row]') -> None:
        question = (f'Delete {len(taken)} old images once their new ones are '
                    'verified?')
        if parsed_args.old == 'delete' and taken and not (
                migrate_common.agreed(question, parsed_args.yes)):
            raise exceptions.XsConvertError(
                'nothing was done: deleting needs your consent, or --yes')

    def _run(self, cloud: 'cloud_.Cloud', settings: 'migration.Settings',
             jobs: int, taken: 'Sequence[candidates.Row]',
             ) -> 'list[runner_.Outcome]':
        from glance_xs_convert.migrate import runner

        size = sum(row.size or 0 for row in taken)
        with migrate_progress.shown(self.app.stderr, self._quiet, len(taken),
                                    size) as watch:
            running = runner.Runner(cloud, settings, jobs, watch)
            with _signals(running.interrupt, self._say_interrupted):
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

    def _finish(self, cloud: 'cloud_.Cloud', parsed_args: argparse.Namespace,
                outcomes: 'Sequence[runner_.Outcome]',
                rows: 'Sequence[candidates.Row]', seconds: float) -> None:
        from glance_xs_convert.migrate import candidates
        from glance_xs_convert.migrate import references
        from glance_xs_convert.migrate import report

        if any(row.state == candidates.FAILED for row in rows):
            self.status = 1
        made = [outcome for outcome in outcomes
                if outcome.row.state == candidates.DONE]
        pairs = [(row.id, row.new_id) for row in rows
                 if row.state == candidates.DONE and row.new_id]
        asked = pairs if made or parsed_args.mapping else []
        users = references.Users(cloud, [old_id for old_id, _ in asked])
        if parsed_args.mapping:
            with _written(parsed_args.mapping) as target:
                report.write_mapping(target, pairs, users)
        if not self._quiet:
            used = {old_id: users.of(old_id) for old_id, _ in pairs
                    if users.of(old_id)}
            for line in _summary(made, rows, seconds, used, users.unseen):
                self.say(line)


class Undo(migrate_common.CloudCommand, lister.Lister):
    """Restore old images, and delete the new ones.

    If something uses a new image, the command only hides it. If the command
    cannot see what uses the new images, it undoes nothing unless you choose
    with --if-unknown. After undo, you can migrate the images again. The exit
    status is 1 if the migration of an image could not be undone.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        migrate_common.add_selection(parser)
        parser.add_argument(
            '--yes', action='store_true',
            help='do not ask when no IMAGE is given')
        parser.add_argument(
            '--if-unknown', choices=(_KEEP, _DELETE),
            help='what to do with the new images if Nova or Cinder does not '
                 'answer, so that the command cannot see whether they are '
                 'used: keep and hide them, or delete them (default: undo '
                 'nothing)')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        from glance_xs_convert.migrate import references

        cloud = self.connect(parsed_args)
        rows = [row for row in _rows(
            cloud, migrate_common.selection(parsed_args, cloud))
            if row.new_id]
        if rows and not parsed_args.images and not migrate_common.agreed(
                f'Undo the migration of {len(rows)} images?',
                parsed_args.yes):
            raise exceptions.XsConvertError(
                'nothing was done: undoing all needs your consent, or --yes')
        users = references.Users(
            cloud, [row.new_id for row in rows if row.new_id], True)
        if users.unseen and parsed_args.if_unknown is None:
            raise exceptions.XsConvertError(
                'nothing was undone: the command cannot see what uses the new '
                f'images ({"; ".join(users.unseen)}); try again, or choose '
                'with --if-unknown')
        blindly = parsed_args.if_unknown == _DELETE
        return ('id', 'name', 'new_id', 'undone', 'reason'), [
            self._undo(cloud, row, users, blindly) for row in rows]

    def _undo(self, cloud: 'cloud_.Cloud', row: 'candidates.Row',
              users: Any, blindly: bool) -> tuple[Any, ...]:
        from glance_xs_convert.migrate import errors
        from glance_xs_convert.migrate import undo

        undone, reason = True, ''
        try:
            result = undo.undo(cloud, row, users, blindly)
            if result.kept:
                reason = ('the new image was hidden, not deleted: '
                          f'{result.kept}')
        except errors.MigrationError as error:
            undone, reason = False, str(error)
            self.status = 1
        return row.id, text.printable(row.name), row.new_id, undone, reason


class Report(migrate_common.CloudCommand, lister.Lister):
    """Report the migrated images: IDs, sizes, times and checksums.

    The command takes all of this from Glance, so it covers all runs from all
    computers.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        migrate_common.add_selection(parser)
        parser.add_argument(
            '--html', metavar='FILE',
            help='write a self-contained HTML page')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        from glance_xs_convert.migrate import report

        cloud = self.connect(parsed_args)
        rows = _rows(cloud, migrate_common.selection(parsed_args, cloud))
        made = report.lines(rows)
        if parsed_args.html:
            now = datetime.datetime.now().astimezone()
            with _written(parsed_args.html) as target:
                report.write_html(target, made, len(rows) - len(made),
                                  now.strftime('%Y-%m-%d %H:%M %Z'))
        return report.FIELDS, [
            tuple(_shown(name, getattr(line, name))
                  for name in report.FIELDS) for line in made]


class _Sum(_TextColumn):
    """An algorithm and a sum, of which people see the beginning."""

    def human_readable(self) -> str:
        return self._value[:_SHOWN_SUM] + '…' if self._value else ''


def _shown(name: str, value: Any) -> Any:
    if name.endswith('sum'):
        return _Sum(value)
    if name in ('archive', 'disk') and value is not None:
        return common.Size(value)
    return text.printable(value) if name == 'name' else value


def _rows(cloud: 'cloud_.Cloud', selection: 'candidates.Selection',
          ) -> 'list[candidates.Row]':
    return _taken_in(cloud, selection)[0]


def _taken_in(cloud: 'cloud_.Cloud', selection: 'candidates.Selection',
              ) -> 'tuple[list[candidates.Row], list[tuple[str, str]]]':
    """The images that are asked for, and new ones without an old one.

    :raises WrongArguments: an image that was asked for is missing
    """
    from glance_xs_convert.migrate import candidates

    inventory = candidates.Inventory(cloud, selection)
    candidates.check_selection(inventory)
    return list(inventory.rows()), list(inventory.orphans())


def _remove_orphans(cloud: 'cloud_.Cloud', selection: 'candidates.Selection',
                    orphans: Iterable[tuple[str, str]]) -> None:
    """Delete what is left of images that were deleted meanwhile."""
    from glance_xs_convert.migrate import candidates

    if selection == candidates.Selection(
            bare=selection.bare, drop_signature=selection.drop_signature):
        for new_id, old_id in orphans:
            if cloud.image(old_id) is None:
                cloud.delete(new_id)


def _settings(cloud: 'cloud_.Cloud', parsed_args: argparse.Namespace,
              ) -> 'migration.Settings':
    from glance_xs_convert.migrate import methods
    from glance_xs_convert.migrate import migration

    common.keep_silent()
    return migration.Settings(
        method=methods.choose(cloud, parsed_args.method,
                              parsed_args.download_interface),
        old=parsed_args.old or migration.HIDE, stores=parsed_args.stores,
        verify=parsed_args.verify, sandbox=parsed_args.sandbox,
        retry=parsed_args.retry,
        drop_signature=parsed_args.drop_signature,
        deadline=parsed_args.deadline)


def _say_findings(command: migrate_common.CloudCommand,
                  cloud: 'cloud_.Cloud', rows: 'Sequence[candidates.Row]',
                  method: str) -> bool:
    """Show whether the cloud can migrate images.

    :returns: False if there is an obstacle
    """
    from glance_xs_convert.migrate import preflight

    findings = preflight.look(cloud, rows, method)
    for finding in findings:
        command.say(f'{"ok" if finding.ok else "OBSTACLE"}: '
                    f'{finding.sentence}')
    return all(finding.ok for finding in findings)


def _summary(made: 'Sequence[runner_.Outcome]',
             rows: 'Sequence[candidates.Row]', seconds: float,
             used: dict[str, list[str]], unseen: Iterable[str],
             ) -> Iterator[str]:
    """Yield the lines of the summary."""
    from glance_xs_convert.migrate import candidates

    counts = {state: sum(row.state == state for row in rows)
              for state in candidates.STATES}
    archives = sum(outcome.row.size or 0 for outcome in made)
    disks = sum(outcome.disk for outcome in made)
    yield (f'{text.count(len(made), "image")} migrated in '
           f'{text.count(round(seconds), "second")}: '
           f'{text.size(archives)} of archives, {text.size(disks)} of disks')
    yield 'Now ' + ', '.join(
        f'{count} {state}' for state, count in counts.items() if count)
    for row in rows:
        if row.state == candidates.FAILED:
            yield f'Failed: {row.id} ({row.name}): {row.reason}'
    for outcome in made:
        for note in outcome.notes:
            yield f'Note on {outcome.row.id} ({outcome.row.name}): {note}'
    for old_id, users in used.items():
        yield f'Still used: {old_id} by {", ".join(users)}'
    for sentence in unseen:
        yield f'Cannot see what uses old images: {sentence}'


def _names(argument: str) -> tuple[str, ...]:
    return tuple(name for name in argument.split(',') if name)


@contextlib.contextmanager
def _written(path: str) -> Iterator[TextIO]:
    """Open a file for writing, or standard output for ``-``."""
    if path == '-':
        yield sys.stdout
        return
    try:
        with open(path, 'w', encoding='utf-8', newline='') as target:
            yield target
    except OSError as error:
        raise exceptions.UnwritableTarget(
            f'{path} cannot be written: {error.strerror}') from error


@contextlib.contextmanager
def _signals(interrupt: Callable[[], bool], say: Callable[[bool], None],
             ) -> Iterator[None]:
    """Let signals interrupt the migration instead of this process."""
    def handle(number: int, frame: object) -> None:
        say(interrupt())

    before = {number: signal.signal(number, handle)
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
