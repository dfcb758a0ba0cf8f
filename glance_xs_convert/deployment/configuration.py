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
``common/wsgi.py`` and ``async_/flows/api_image_import.py``, and in
``multi_backend.py`` of glance_store. A bad value causes an error only when it
is read.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import configparser
import os
from typing import Any

from oslo_config import cfg
from oslo_config import types

from glance_xs_convert.plugin import opts

_CONFIG_DIR = '/etc/glance'
_IMPORT_CONFIG = 'glance-image-import.conf'
_API_CONFIG = 'glance-api.conf'
_PASTE_CONFIG = 'glance-api-paste.ini'

_STAGING_STORE = 'os_glance_staging_store'
_FILE_SCHEME = 'file://'

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
    ],
    'image_import_opts': [
        cfg.ListOpt('image_import_plugins',
                    item_type=types.String(quotes=True), bounds=True,
                    default=[]),
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
        for group, options in GLANCE_OPTS.items():
            self._conf.register_opts(options, group=group)
        self._conf.register_opts(opts.OPTS, group=opts.GROUP)
        arguments = [*(f'--config-file={path}' for path in files),
                     *(f'--config-dir={path}' for path in directories)]
        try:
            self._conf(arguments, project='glance', prog='glance-api',
                       default_config_files=default_files(environment))
        except cfg.Error as error:
            raise BadSetting(_one_line(error)) from error

    def sources(self) -> list[str]:
        """Return the files and directories that were read."""
        return [*self._conf.config_file, *self._conf.config_dir]

    def plugins(self) -> list[str]:
        """Return the import plugins in the order in which Glance runs them.

        :raises BadSetting: for example, the list has no brackets
        """
        return list(self._get('image_import_plugins', 'image_import_opts'))

    def import_methods(self) -> list[str]:
        """Return the import methods that Glance offers.

        :raises BadSetting: for example, the list has no brackets
        """
        return list(self._get('enabled_import_methods'))

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
        if not uri.startswith(_FILE_SCHEME):
            raise BadSetting(
                f'node_staging_uri is {uri}, not a {_FILE_SCHEME} URI')
        return str(uri.removeprefix(_FILE_SCHEME))

    def interpreter(self) -> str | None:
        """Return the Python interpreter for child processes, if it is set."""
        return self._get('python_interpreter', 'wsgi') or None

    def filters(self) -> list[str] | None:
        """Return the filters before Glance's API, in their order.

        Each is the name of its entry point or factory. The result is None if
        there is no file with the pipelines.

        :raises BadSetting: the file cannot be read
        """
        path = (self._get('config_file', 'paste_deploy')
                or self._conf.find_file(_PASTE_CONFIG))
        if not path or not os.path.exists(path):
            return None
        paste = configparser.RawConfigParser(strict=False)
        try:
            with open(path, encoding='utf-8') as file:
                paste.read_file(file)
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            raise BadSetting(_one_line(error)) from error
        return [
            paste.get(f'filter:{name}', 'use', fallback='')
            or paste.get(f'filter:{name}', 'paste.filter_factory',
                         fallback='')
            for name in self._pipeline(paste).split()]

    def _pipeline(self, paste: configparser.RawConfigParser) -> str:
        """Return the pipeline, for which older files have a section each."""
        flavor = self._get('flavor', 'paste_deploy')
        section = 'pipeline:' + '-'.join(filter(None, ('glance-api', flavor)))
        if paste.has_section(section):
            return paste.get(section, 'pipeline', fallback='')
        return paste.get('composite:api', flavor or 'default', fallback='')

    def options(self) -> cfg.ConfigOpts.GroupAttr:
        """Return the options of this package.

        :raises BadSetting: one of them has a bad value
        """
        for option in opts.OPTS:
            self._get(option.dest, opts.GROUP)
        group: cfg.ConfigOpts.GroupAttr = self._conf[opts.GROUP]
        return group

    def _get(self, name: str, group: str | None = None) -> Any:
        try:
            return self._conf[group][name] if group else self._conf[name]
        except (cfg.Error, ValueError) as error:
            raise BadSetting(_one_line(error)) from error


def default_files(environment: Mapping[str, str]) -> list[str]:
    """Return the files that Glance's ``common/wsgi_app.py`` reads.

    :param environment: the environment of the process
    """
    directory = environment.get('OS_GLANCE_CONFIG_DIR', _CONFIG_DIR).strip()
    files = [os.path.join(directory, name)
             for name in (_IMPORT_CONFIG, _API_CONFIG)]
    return files if os.path.exists(files[0]) else files[1:]


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split())
