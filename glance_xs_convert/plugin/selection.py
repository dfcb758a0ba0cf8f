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

"""Selecting the images that the plugin converts, by declared format."""

from oslo_config import cfg

from glance_xs_convert import options

CONF = cfg.CONF
CONF.register_opts(options.OPTS, group=options.GROUP)


def is_selected(disk_format: str | None, container_format: str | None,
                ) -> bool:
    """Whether the plugin converts images of these formats."""
    containers = ['ovf']
    if CONF[options.GROUP].convert_bare_vhd:
        containers.append('bare')
    return disk_format == 'vhd' and container_format in containers
