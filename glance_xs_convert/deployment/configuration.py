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

"""Glance's configuration, read without Glance.

The options are copies of those in Glance's ``common/config.py``,
``common/wsgi.py``, ``async_/flows/api_image_import.py`` and
``async_/flows/_internal_plugins``, and in ``multi_backend.py`` of
glance_store. A bad value causes an error only when it is read.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import glob
import os
from typing import Any
import urllib.parse

from oslo_config import cfg
from oslo_config import types

from glance_xs_convert.deployment import pipelines
from glance_xs_convert import options
from glance_xs_convert import terms
from glance_xs_convert import text

_CONFIG_DIR = '/etc/glance'
_IMPORT_CONFIG = 'glance-image-import.conf'
_API_CONFIG = 'glance-api.conf'

_STAGING_STORE = 'os_glance_staging_store'

#: The options by group.
GLANCE_OPTS: dict[str | None, list[cfg.Opt]] = {
    None: [
        cfg.DictOpt('enabled_backends'),
        cfg.ListOpt('enabled_import_methods',
                    item_type=types.String(
                        choices=['glance-direct', 'web-download',
                                 'copy-image', 'glance-download'],
                        quotes=True),
                    bounds=True,
                    default=['glance-direct', 'web-download', 'copy-image']),
        cfg.StrOpt('node_staging_uri', default='file:///tmp/staging/'),
        cfg.StrOpt('public_endpoint'),
    ],
    'image_import_opts': [
        cfg.ListOpt('image_import_plugins',
                    item_type=types.String(quotes=True), bounds=True,
                    default=[]),
    ],
    'import_filtering_opts': [
        cfg.ListOpt('allowed_ports',
                    item_type=types.Integer(min=1, max=65535),
                    bounds=True, default=[80, 443]),
        cfg.ListOpt('disallowed_ports',
                    item_type=types.Integer(min=1, max=65535),
                    bounds=True, default=[]),
    ],
    _STAGING_STORE: [
        cfg.StrOpt('filesystem_store_datadir',
                   default=f'/var/lib/glance/{_STAGING_STORE}'),
    ],
    'paste_deploy': [cfg.StrOpt('flavor'), cfg.StrOpt('config_file')],
    'wsgi': [cfg.StrOpt('python_interpreter')],
}


class BadSetting(Exception):
    """A setting in Glance's configuration that cannot work."""


class Deployment:
    """Glance's configuration.

    :param files: files to read instead of those that Glance's WSGI application
                  reads
    :param directories: directories to read instead of those that it reads
    :param environment: environment of the process
    :raises BadSetting: the configuration cannot be read
    """

    def __init__(self, files: Iterable[str], directories: Iterable[str],
                 environment: Mapping[str, str]) -> None:
        self._conf = cfg.ConfigOpts()
        for group, opts in GLANCE_OPTS.items():
            self._conf.register_opts(opts, group=group)
        self._conf.register_opts(options.OPTS, group=options.GROUP)
        self._conf.register_opts(options.ADAPT_OPTS,
                                 group=options.ADAPT_GROUP)
        files, directories = list(files), list(directories)
        arguments = [*(f'--config-file={path}' for path in files),
                     *(f'--config-dir={path}' for path in directories)]
        try:
            self._conf(arguments, project='glance', prog='glance-api',
                       default_config_files=default_files(environment))
        except cfg.Error as error:
            raise BadSetting(text.one_line(error)) from error
        except OSError as error:
            raise BadSetting(
                f'{text.printable(str(error.filename))} cannot be read: '
                f'{error.strerror}; Glance does not start') from error
        except UnicodeDecodeError as error:
            raise BadSetting(
                f'{_not_in_utf8(files, directories, environment)} is not in '
                'UTF-8; Glance does not start') from error

    def sources(self) -> list[str]:
        """Return the files and directories that were read."""
        return [*self._conf.config_file, *self._conf.config_dir]

    def plugins(self) -> list[str]:
        """Return the import plugins in the order in which Glance runs them.

        :raises BadSetting: for example, the list has no brackets
        """
        return self._list('image_import_plugins', 'image_import_opts')

    def import_methods(self) -> list[str]:
        """Return the import methods that Glance offers.

        :raises BadSetting: for example, the list has no brackets
        """
        return self._list('enabled_import_methods')

    def endpoint(self) -> str | None:
        """Return the URL that Glance gives for itself, if it is set."""
        return self._get('public_endpoint') or None

    def refuses_port(self, port: int) -> bool:
        """Whether Glance's filter for imports refuses a port.

        :raises BadSetting: for example, a list of ports has no brackets
        """
        allowed = self._list('allowed_ports', 'import_filtering_opts')
        if allowed:
            return port not in allowed
        return port in self._list('disallowed_ports',
                                  'import_filtering_opts')

    def staging(self) -> str:
        """Return the directory of the staging area.

        :raises BadSetting: the configuration does not give one
        """
        if self._get('enabled_backends'):
            path = self._get('filesystem_store_datadir', _STAGING_STORE)
            if not path:
                raise BadSetting(f'[{_STAGING_STORE}] '
                                 'filesystem_store_datadir is not set')
            return str(path)
        uri = self._get('node_staging_uri')
        if not uri.startswith(terms.FILE_SCHEME):
            raise BadSetting(
                f'node_staging_uri is {uri}, not a {terms.FILE_SCHEME} URI')
        return str(uri.removeprefix(terms.FILE_SCHEME))

    def interpreter(self) -> str | None:
        """Return the Python interpreter for child processes, if it is set."""
        return self._get('python_interpreter', 'wsgi') or None

    def tickets(self) -> str:
        """Return the directory in which imports keep their tickets.

        :raises BadSetting: the configuration gives no staging area
        """
        return options.lock_path(self.options(), self.staging())

    def pipelines(self) -> pipelines.Pipelines:
        """Return the pipelines that Glance chooses from.

        Source: ``_get_paste_config_path`` in Glance's ``common/config.py``.

        :raises BadSetting: the file is missing or cannot be read
        """
        path = (self._get('config_file', 'paste_deploy')
                or self._conf.find_file(self._paste_name()))
        if not path or not os.path.isfile(path):
            raise BadSetting(f'{path or self._paste_name()} was not found')
        try:
            return pipelines.read(path, self._get('flavor', 'paste_deploy'))
        except pipelines.Unreadable as error:
            raise BadSetting(f'{path} cannot be read: {error}') from error

    def _paste_name(self) -> str:
        files: list[str] = self._conf.config_file or [_API_CONFIG]
        return os.path.basename(files[-1]).replace('.conf', '-paste.ini')

    def unknown_options(self, groups: Mapping[str, Iterable[cfg.Opt]],
                        ) -> list[tuple[str, str]]:
        """Return the options that the files set and nobody reads.

        :param groups: the options that are read, by group
        :returns: groups and names, which may be misspelt
        """
        known = {(group, name) for group, opts in groups.items()
                 for opt in opts for name in _names(opt)}
        return [(group, name)
                for group, values in self._parsed().items() if group in groups
                for name in values
                if (group, name.replace('-', '_')) not in known]

    def sections(self) -> list[str]:
        """Return the names of all sections in the files."""
        return list(self._parsed())

    def _parsed(self) -> dict[str, dict[str, list[str]]]:
        """Return the values in the files as they are written.

        The last value of an option is the one that counts.
        """
        found: dict[str, dict[str, list[str]]] = {}
        for path in self._files():
            cfg.ConfigParser(path, found).parse()
        return found

    def _files(self) -> list[str]:
        """Return all files that were read, in their order."""
        return [*self._conf.config_file,
                *(path for directory in self._conf.config_dir
                  for path in sorted(glob.glob(
                      os.path.join(directory, '*.conf'))))]

    def options(self) -> cfg.ConfigOpts.GroupAttr:
        """Return the options of this package.

        :raises BadSetting: one of them has a bad value
        """
        return self._group(options.OPTS, options.GROUP)

    def adapt_options(self) -> cfg.ConfigOpts.GroupAttr:
        """Return the options of the plugin that adapts guests.

        :raises BadSetting: one of them has a bad value
        """
        return self._group(options.ADAPT_OPTS, options.ADAPT_GROUP)

    def _group(self, opts: Iterable[cfg.Opt], name: str,
               ) -> cfg.ConfigOpts.GroupAttr:
        for option in opts:
            self._get(option.dest, name)
        group: cfg.ConfigOpts.GroupAttr = self._conf[name]
        return group

    def _list(self, name: str, group: str | None = None) -> list[Any]:
        """Return a list, which must have brackets in the file.

        :raises BadSetting: it has none, or a bad element
        """
        try:
            return list(self._get(name, group))
        except BadSetting:
            values = self._parsed().get(group or 'DEFAULT', {}).get(name, [])
            written = values[-1].strip() if values else '['
            if written.startswith('['):
                raise
            raise BadSetting(
                f'{name} is {written}, without the brackets that are part of '
                f'its value: write {name} = [{written}]') from None

    def _get(self, name: str, group: str | None = None) -> Any:
        try:
            return self._conf[group][name] if group else self._conf[name]
        except (cfg.Error, ValueError) as error:
            raise BadSetting(text.one_line(error)) from error


def _not_in_utf8(files: Iterable[str], directories: Iterable[str],
                 environment: Mapping[str, str]) -> str:
    """Return the file that cannot be decoded, and the number of its line."""
    for path in (*files, *default_files(environment),
                 *(name for directory in directories
                   for name in sorted(glob.glob(f'{directory}/*.conf')))):
        with contextlib.suppress(OSError), open(path, 'rb') as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return f'line {number} of {path}'
    return 'a configuration file'


def default_files(environment: Mapping[str, str]) -> list[str]:
    """Return the files that Glance's ``common/wsgi_app.py`` reads.

    :param environment: the environment of the process
    """
    directory = environment.get('OS_GLANCE_CONFIG_DIR', _CONFIG_DIR).strip()
    files = [os.path.join(directory, name)
             for name in (_IMPORT_CONFIG, _API_CONFIG)]
    return files if os.path.exists(files[0]) else files[1:]


def port_of(url: str | None) -> int | None:
    """Return the port in a URL; None if it does not name one."""
    try:
        return urllib.parse.urlsplit(url or '').port
    except ValueError:
        return None


def _names(option: cfg.Opt) -> Iterator[str]:
    """Yield the names by which a file can set an option."""
    yield option.dest
    yield from (old.name.replace('-', '_')
                for old in option.deprecated_opts if old.name)
