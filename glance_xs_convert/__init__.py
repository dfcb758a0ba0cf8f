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

"""XenServer images for every cloud.

A XenServer image is a tar archive with a chain of VHD files. This package
converts it to a single raw disk: in Glance, as an image-import plugin; on the
command line, as ``glance-xs-convert``; and in Python:

>>> import glance_xs_convert
>>> result = glance_xs_convert.convert('snapshot.tgz', 'snapshot.raw')
>>> result.virtual_size
67108864

The names below are the public API, each of which is loaded when it is first
used. Everything else may change without notice.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glance_xs_convert.api import check as check
    from glance_xs_convert.api import convert as convert
    from glance_xs_convert.api import inspect as inspect
    from glance_xs_convert.conversion_progress import Progress as Progress
    from glance_xs_convert import exceptions as exceptions
    from glance_xs_convert.exceptions import XsConvertError as XsConvertError
    from glance_xs_convert.image_limits import Limits as Limits
    from glance_xs_convert.results import CheckResult as CheckResult
    from glance_xs_convert.results import ConversionResult as ConversionResult
    from glance_xs_convert.results import Inspection as Inspection

__all__ = [
    'CheckResult',
    'ConversionResult',
    'Inspection',
    'Limits',
    'Progress',
    'XsConvertError',
    'check',
    'convert',
    'exceptions',
    'inspect',
]

#: The modules that these names come from; the one that loads most is last.
_HOMES = ('exceptions', 'image_limits', 'conversion_progress', 'results',
          'api')


def __getattr__(name: str) -> object:
    """Load a public name when it is first used.

    The process that reads images and the one that starts it load different
    halves of the package, so importing the package itself loads neither.
    """
    if name in __all__:
        for home in _HOMES:
            module = importlib.import_module(f'{__name__}.{home}')
            if name == home:
                return module
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return [*globals(), *__all__]
