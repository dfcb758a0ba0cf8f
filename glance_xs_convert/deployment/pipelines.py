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

"""The pipelines before Glance's API, in ``glance-api-paste.ini``.

Glance does not start if a pipeline names something that the file does not
have. Source: ``pipeline_factory`` in Glance's ``api/__init__.py``, and
``loadwsgi.py`` of PasteDeploy.
"""

import configparser
import dataclasses

from glance_xs_convert import text

#: What the entry point of this package's filter ends with, and how its factory
#: begins.
_UPLOAD_FILTER = ('#xs_convert_upload',
                  'glance_xs_convert.plugin.upload_filter:')
_FACTORIES = ('use', 'paste.filter_factory', 'paste.filter_app_factory')
#: PasteDeploy finds names of these forms outside the file.
_ELSEWHERE = ('egg:', 'config:', 'call:')


class Unreadable(Exception):
    """The file cannot be read or parsed; the text says why."""


@dataclasses.dataclass(frozen=True)
class Filter:
    """A filter in a pipeline.

    :ivar name: its name in the pipeline
    :ivar factory: name of its entry point or factory; None if the file has no
                   section for the filter
    """

    name: str
    factory: str | None

    @property
    def is_ours(self) -> bool:
        """Whether it is the upload filter of this package."""
        factory = self.factory or ''
        return (factory.endswith(_UPLOAD_FILTER[0])
                or factory.startswith(_UPLOAD_FILTER[1]))


@dataclasses.dataclass(frozen=True)
class Pipelines:
    """What a file says about filters.

    :ivar path: path of the file
    :ivar flavors: the filters of each pipeline, in their order, by its flavor
    :ivar flavor: the flavor that Glance uses
    """

    path: str
    flavors: dict[str, list[Filter]]
    flavor: str

    @property
    def used(self) -> list[Filter] | None:
        """The filters before the API; None if there is no such pipeline."""
        return self.flavors.get(self.flavor)

    def with_upload_filter(self) -> list[str]:
        """Return the flavors with the filter of this package."""
        return [flavor for flavor, filters in self.flavors.items()
                if any(one.is_ours for one in filters)]


def read(path: str, flavor: str | None) -> Pipelines:
    """Read a file with pipelines.

    :param flavor: Glance's option ``[paste_deploy] flavor``
    :raises Unreadable: the file cannot be read or parsed
    """
    paste = configparser.RawConfigParser(delimiters=('=', ':'))
    paste.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        with open(path, encoding='utf-8') as file:
            paste.read_file(file)
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise Unreadable(text.one_line(error)) from error
    flavors = _of_older_files(paste)
    if paste.has_section('composite:api'):
        flavors = {
            name: _filters(paste, value)
            for name, value in paste.items('composite:api')
            if not name.startswith('paste.') and name != 'use'
            and name not in paste.defaults()}
    return Pipelines(path, flavors, flavor or 'default')


def _of_older_files(paste: configparser.RawConfigParser,
                    ) -> dict[str, list[Filter]]:
    """Return the pipelines of a file that has a section for each."""
    found = {}
    for section in paste.sections():
        kind, _, name = section.partition(':')
        if kind == 'pipeline' and name.startswith('glance-api'):
            flavor = name.removeprefix('glance-api').removeprefix('-')
            found[flavor or 'default'] = _filters(
                paste, paste.get(section, 'pipeline', fallback=''))
    return found


def _filters(paste: configparser.RawConfigParser, pipeline: str,
             ) -> list[Filter]:
    """Return the filters of a pipeline, whose last name is the application."""
    return [Filter(name, _factory(paste, name))
            for name in pipeline.split()[:-1]]


def _factory(paste: configparser.RawConfigParser, name: str) -> str | None:
    if name.startswith(_ELSEWHERE):
        return name
    section = f'filter:{name}'
    if not paste.has_section(section):
        return None
    for option in _FACTORIES:
        if paste.has_option(section, option):
            return paste.get(section, option)
    return ''
