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

"""A report on a migration as a web page, for people."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import html
from typing import TextIO

from glance_xs_convert.migrate import annotations
from glance_xs_convert.migrate import inventory
from glance_xs_convert.migrate import report
from glance_xs_convert import text

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
h2 { font-size: 1.2rem; margin-top: 2rem; }
code { font-size: .8rem; opacity: .8; overflow-wrap: anywhere; }
.bar { height: .6rem; border-radius: .2rem; min-width: 1px; }
.archive { background: #8aa4c8; }
.disk { background: #2f6fb7; }
.time { background: #d08a2e; }
.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
'''


def write(target: TextIO, rows: Sequence[inventory.Row], cloud: str,
          when: str) -> None:
    """Write a self-contained HTML page.

    :param rows: all selected images
    :param cloud: name of the cloud
    :param when: date of the report
    """
    made = report.lines(rows)
    left = [row for row in rows if row.state != inventory.DONE]
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
<p>{_shown(cloud)}, {_shown(when)}</p>
{_facts({
    'Images converted': str(len(made)),
    'Not yet converted': str(len(left)),
    'Archives': text.size(sum(line.archive or 0 for line in made)),
    'Disks': text.size(sum(line.disk or 0 for line in made)),
    'Checked by a second conversion': str(sum(
        1 for line in made if line.verified_sum)),
})}
{_made_table(made)}{_left_table(left)}</body>
</html>
''')


def _facts(facts: Mapping[str, str]) -> str:
    numbers = ''.join(f'<div><dt>{name}</dt><dd>{value}</dd></div>'
                      for name, value in facts.items())
    return f'<dl>{numbers}</dl>'


def _made_table(made: Sequence[report.Line]) -> str:
    if not made:
        return ''
    largest = max(line.disk or 0 for line in made)
    longest = max(line.seconds or 0 for line in made)
    return _table('Converted', (
        'Image', 'Project', 'Archive and disk', 'Time', 'Old image',
        'Checksum'), (
            _made_row(line, largest, longest) for line in sorted(
                made, key=lambda line: -(line.disk or 0))))


def _left_table(left: Sequence[inventory.Row]) -> str:
    if not left:
        return ''
    return _table('Not converted', (
        'Image', 'Project', 'Archive', 'State', 'Reason'), (
            (_image(row.name, row.id), _code(row.project or ''),
             _number('unknown' if row.size is None else text.size(row.size)),
             _shown(row.state), _shown(row.reason)) for row in left))


def _table(title: str, head: Iterable[str], rows: Iterable[Iterable[str]],
           ) -> str:
    """Return a table with a title.

    :param rows: cells as HTML
    """
    heads = ''.join(f'<th>{name}</th>' for name in head)
    body = ''.join(
        f'<tr>{"".join(f"<td>{cell}</td>" for cell in row)}</tr>\n'
        for row in rows)
    return (f'<h2>{title}</h2>\n<table>\n<thead><tr>{heads}</tr></thead>\n'
            f'<tbody>\n{body}</tbody>\n</table>\n')


def _made_row(line: report.Line, largest: int, longest: int,
              ) -> tuple[str, ...]:
    sizes = ''.join(
        _number(text.size(size or 0)) + _bar(kind, size or 0, largest)
        for kind, size in (('archive', line.archive), ('disk', line.disk)))
    seconds = ('unknown' if line.seconds is None
               else text.duration(line.seconds))
    checked = ('equal to that of a second conversion' if line.verified_sum
               else 'not compared')
    return (_image(line.name, line.old_id, line.new_id),
            _code(line.project), sizes,
            _number(seconds) + _bar('time', line.seconds or 0, longest),
            _shown(line.old_image), f'{checked}<br>{_code(line.sum)}'
            + (f'<br>{_shown(line.guest)}' if line.guest else ''))


def _image(name: str, *ids: str) -> str:
    return '<br>'.join((_shown(name) or 'without a name',
                        *(_code(image_id) for image_id in ids)))


def _shown(value: str) -> str:
    return html.escape(text.printable(value, annotations.LONGEST_REASON))


def _code(value: str) -> str:
    return f'<code>{_shown(value)}</code>'


def _number(shown: str) -> str:
    return f'<div class="number">{shown}</div>'


def _bar(kind: str, value: int, most: int) -> str:
    width = 100 * value / most if most else 0
    return f'<div class="bar {kind}" style="width:{width:.1f}%"></div>'
