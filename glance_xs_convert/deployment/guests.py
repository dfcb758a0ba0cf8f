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
"""Checks that guests can be adapted."""

from oslo_upgradecheck import upgradecheck

from glance_xs_convert.deployment import checks
from glance_xs_convert.deployment import configuration
from glance_xs_convert.guest import readiness
from glance_xs_convert.guest import settings
from glance_xs_convert import options
from glance_xs_convert import text
from glance_xs_convert.worker import parent

Code = upgradecheck.Code
Result = upgradecheck.Result
Deployment = configuration.Deployment

_OFF = f'{options.ADAPT_PLUGIN} is not among the image_import_plugins'


def check_tool(deployment: Deployment) -> Result:
    """Check that the plugin is in its place and has its programs."""
    plugins = deployment.plugins()
    chosen = settings.of_options(deployment.adapt_options())
    if options.ADAPT_PLUGIN not in plugins:
        return Result(Code.SUCCESS, f'guests are stored as they are: {_OFF}')
    if options.PLUGIN not in plugins or (
            plugins.index(options.PLUGIN)
            > plugins.index(options.ADAPT_PLUGIN)):
        return Result(
            Code.FAILURE, f'{options.ADAPT_PLUGIN} must come after '
            f'{options.PLUGIN} in image_import_plugins: no guest is adapted')
    if checks.CONVERSION in plugins[:plugins.index(options.ADAPT_PLUGIN)]:
        return Result(
            Code.FAILURE, f'{options.ADAPT_PLUGIN} must come before '
            f'{checks.CONVERSION} in image_import_plugins: it adapts raw '
            'disks only')
    return Result(Code.SUCCESS,
                  f'{readiness.find_programs(chosen)} is installed')


def check_kvm(deployment: Deployment) -> Result:
    """Check that this user may use KVM."""
    reason = readiness.describe_kvm()
    if reason is None:
        return Result(Code.SUCCESS, 'this user may use KVM')
    return Result(Code.WARNING,
                  f'adapting a guest takes many minutes: {reason}')


def check_space(deployment: Deployment) -> Result:
    """Check that the appliance has room."""
    chosen = settings.of_options(deployment.adapt_options())
    try:
        path, free = readiness.free_space(chosen)
    except OSError as error:
        return Result(Code.FAILURE, f'{chosen.cache} cannot be examined: '
                                    f'{error.strerror}')
    return Result(
        Code.SUCCESS if free > readiness.APPLIANCE_SIZE else Code.WARNING,
        f'{path} has {text.size(free)} of free space; the appliance needs up '
        f'to {text.size(readiness.APPLIANCE_SIZE)}')


def try_guest(deployment: Deployment) -> Result:
    """Start an appliance."""
    chosen = settings.of_options(deployment.adapt_options())
    started = readiness.try_appliance(
        chosen, python=parent.interpreter(deployment.interpreter()))
    how = 'with KVM' if started.used_kvm else 'without KVM'
    return Result(
        Code.SUCCESS if started.used_kvm else Code.WARNING,
        f"libguestfs' virtual machine starts {how}, in "
        f'{started.seconds:.0f} seconds')


def choose(deployment: Deployment, with_appliance: bool,
           ) -> list[tuple[str, checks.Check]]:
    """Choose the checks, as far as guests are to be adapted here.

    :param with_appliance: whether to start one, even if the plugin is off
    :returns: the names of the checks and the checks
    """
    chosen: list[tuple[str, checks.Check]] = [('Adapting guests', check_tool)]
    if with_appliance or _is_on(deployment):
        chosen += [('KVM', check_kvm), ('Appliance: space', check_space)]
    if with_appliance:
        chosen.append(('Appliance starts', try_guest))
    return chosen


def _is_on(deployment: Deployment) -> bool:
    try:
        return options.ADAPT_PLUGIN in deployment.plugins()
    except configuration.BadSetting:
        return False
