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

"""Finding what refers to this package before it is removed.

Glance does not start if its pipeline names a filter whose package is gone. The
results are in the order in which an operator takes things away.
"""

from oslo_upgradecheck import upgradecheck

from glance_xs_convert.deployment import configuration
from glance_xs_convert.deployment import tickets
from glance_xs_convert import options
from glance_xs_convert import text

Code = upgradecheck.Code
Result = upgradecheck.Result
Deployment = configuration.Deployment


def find_all(deployment: Deployment) -> list[tuple[str, Result]]:
    """Say what still refers to the package or depends on it.

    :returns: names and results: a failure if Glance or its images would
              suffer from the removal, a warning if only a trace would stay
    """
    results = []
    for name, find in _PLACES:
        try:
            result = find(deployment)
        except configuration.BadSetting as error:
            result = Result(Code.WARNING, str(error))
        results.append((name, result))
    return results


def _find_in_pipelines(deployment: Deployment) -> Result:
    found = deployment.pipelines()
    flavors = found.with_upload_filter()
    if found.flavor in flavors:
        return Result(
            Code.FAILURE,
            'without this package, Glance would not start: take the filter '
            f'xs_convert_upload out of the pipeline {found.flavor} in '
            f'{found.path}, and restart Glance')
    if flavors:
        return Result(
            Code.WARNING,
            f'{found.path} still has the filter xs_convert_upload in '
            f'pipelines that Glance does not use: {", ".join(flavors)}')
    return Result(Code.SUCCESS, f'no pipeline in {found.path} has the filter '
                                'xs_convert_upload')


def _find_in_plugins(deployment: Deployment) -> Result:
    names = [name for name in deployment.plugins()
             if name in options.PLUGINS]
    if names:
        harm = ('store XenServer images unconverted'
                if options.PLUGIN in names else 'not adapt guests')
        return Result(
            Code.FAILURE,
            f'without this package, Glance would {harm}: take '
            f'{" and ".join(names)} out of image_import_plugins, and restart '
            'Glance')
    return Result(Code.SUCCESS, 'image_import_plugins does not name this '
                                'package')


def _find_tickets(deployment: Deployment) -> Result:
    try:
        held, left = tickets.count(deployment.tickets())
    except OSError as error:
        return Result(Code.WARNING, f'the tickets in {deployment.tickets()} '
                                    f'cannot be read: {error.strerror}')
    if held:
        return Result(
            Code.FAILURE,
            f'{text.count(held, "import")} of this host '
            f'{"is" if held == 1 else "are"} running: wait for '
            f'{"it" if held == 1 else "them"} to end')
    if left:
        return Result(
            Code.FAILURE,
            f'{text.count(left, "import")} of this host '
            f'{"was" if left == 1 else "were"} interrupted: run '
            '"glance-xs-convert recover"')
    return Result(Code.SUCCESS, 'no import on this host depends on it')


def _find_options(deployment: Deployment) -> Result:
    known = dict(options.list_opts())
    sections = [f'[{name}]' for name in deployment.sections() if name in known]
    if sections:
        return Result(Code.WARNING,
                      f'the configuration still has {" and ".join(sections)}, '
                      'which nothing will read')
    return Result(Code.SUCCESS, 'the configuration has no section for it')


_PLACES = [
    ('Upload filter', _find_in_pipelines),
    ('Import plugins', _find_in_plugins),
    ('Imports', _find_tickets),
    ('Options', _find_options),
]
