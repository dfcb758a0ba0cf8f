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

"""Reports on a migration, for programs and for people."""

from collections.abc import Iterable
from collections.abc import Sequence
import csv
import dataclasses
import html
from typing import TextIO

from glance_xs_convert.migrate import candidates
from glance_xs_convert.migrate import references
from glance_xs_convert import text


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A migrated image in the report.

    :ivar old_id: ID of the old image
    :ivar archive: size of the archive in bytes, or None
    :ivar disk: size of the disk in bytes, or None
    :ivar seconds: time from the new image's creation to its completion
    :ivar sum: checksum that Glance recorded, with its algorithm
    :ivar verified_sum: checksum of the client's own conversion, or empty
    """

    old_id: str
    new_id: str
    name: str
    project: str
    archive: int | None
    disk: int | None
    seconds: int | None
    migrated_at: str
    old_image: str
    sum: str
    verified_sum: str


FIELDS = tuple(field.name for field in dataclasses.fields(Line))


def lines(rows: Iterable[candidates.Row]) -> list[Line]:
    """Return the lines for the images that are done."""
    return [_line(row, row.new) for row in rows
            if row.state == candidates.DONE and row.new is not None]


def _line(row: candidates.Row, new: candidates.NewImage) -> Line:
    return Line(
        old_id=row.id, new_id=row.new_id or '', name=row.name,
        project=row.project or '', archive=row.size, disk=new.size,
        seconds=int(new.seconds) if new.seconds.isdigit() else None,
        migrated_at=new.migrated_at,
        old_image='deleted' if row.old_is_gone else row.retired or 'kept',
        sum=f'{new.hash_algo}:{new.hash_value}', verified_sum=new.verified)


def write_mapping(target: TextIO, pairs: Iterable[tuple[str, str]],
                  users: references.Users) -> None:
    """Write a CSV table of old IDs, new IDs, and users of the old ones."""
    writer = csv.writer(target)
    writer.writerow(('old_id', 'new_id', 'used_by'))
    for old_id, new_id in pairs:
        writer.writerow((old_id, new_id, ' '.join(
            user.replace(' ', ':') for user in users.of(old_id))))


_STYLE = '''
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;
       max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; }
dl { display: flex; flex-wrap: wrap; gap: 1rem 3rem; }
dt { opacity: .7; }
dd { margin: 0; font-size: 1.4rem; font-weight: 600; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .4rem .6rem; text-align: left; vertical-align: top;
         border-bottom: 1px solid #8884; }
code { font-size: .8rem; opacity: .8; }
.bar { height: .6rem; border-radius: .2rem; min-width: 1px; }
.archive { background: #8aa4c8; }
.disk { background: #2f6fb7; }
.time { background: #d08a2e; }
.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
'''


def write_html(target: TextIO, made: Sequence[Line], left: int, when: str,
               ) -> None:
    """Write a self-contained HTML page.

    :param made: the images that are done
    :param left: how many others there are
    :param when: the date of the report
    """
    largest = max((line.disk or 0 for line in made), default=0)
    longest = max((line.seconds or 0 for line in made), default=0)
    rows = ''.join(_html_row(line, largest, longest) for line in sorted(
        made, key=lambda line: -(line.disk or 0)))
    verified = sum(1 for line in made if line.verified_sum)
    facts = {
        'Images converted': str(len(made)),
        'Not yet converted': str(left),
        'Archives': text.size(sum(line.archive or 0 for line in made)),
        'Disks': text.size(sum(line.disk or 0 for line in made)),
        'Checked by a second conversion': str(verified),
    }
    numbers = ''.join(f'<div><dt>{name}</dt><dd>{value}</dd></div>'
                      for name, value in facts.items())
    target.write(f'''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Migration of XenServer images</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Migration of XenServer images</h1>
<p>{html.escape(when)}</p>
<dl>{numbers}</dl>
<table>
<thead><tr><th>Image</th><th>Archive and disk</th><th>Time</th>
<th>Old image</th><th>Sum</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
</body>
</html>
''')


def _html_row(line: Line, largest: int, longest: int) -> str:
    shown = html.escape(text.printable(line.name) or line.new_id)
    sizes = ''.join(
        f'<div class="number">{text.size(size or 0)}</div>'
        + _bar(kind, size or 0, largest)
        for kind, size in (('archive', line.archive), ('disk', line.disk)))
    checked = ('equal to that of a second conversion' if line.verified_sum
               else 'not compared')
    return (
        f'<tr><td>{shown}<br><code>{html.escape(line.old_id)}<br>'
        f'{html.escape(line.new_id)}</code></td>'
        f'<td>{sizes}</td>'
        f'<td><div class="number">{_duration(line.seconds)}</div>'
        f'{_bar("time", line.seconds or 0, longest)}</td>'
        f'<td>{html.escape(line.old_image)}</td>'
        f'<td>{checked}<br><code>{html.escape(line.sum[:24])}…</code></td>'
        '</tr>\n')


def _bar(kind: str, value: int, most: int) -> str:
    width = 100 * value / most if most else 0
    return f'<div class="bar {kind}" style="width:{width:.1f}%"></div>'


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return 'unknown'
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours} h {minutes} min'
    return f'{minutes} min {rest} s' if minutes else f'{rest} s'
