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
"""What Glance's policies let a user do."""

from typing import Any

from glance.api.v2 import policy
from glance.common import exception as glance_exception
from glance import gateway
import webob.exc  # type: ignore[import-untyped]


def refusal_of_upload(context: Any, image_id: str) -> Any:
    """Return Glance's answer if a user may not upload data; else None.

    The user needs the rights for what was requested, and for what happens
    instead: an upload, and an import.

    :param context: Glance's context of the request
    """
    try:
        if context.read_only:
            raise webob.exc.HTTPForbidden
        image = gateway.Gateway().get_repo(context).get(image_id)
        rights = policy.ImageAPIPolicy(context, image)
        rights.upload_image()
        rights.modify_image()
    except glance_exception.NotFound as error:
        return webob.exc.HTTPNotFound(explanation=error.msg)
    except glance_exception.Forbidden as error:
        return webob.exc.HTTPForbidden(explanation=error.msg)
    except webob.exc.HTTPClientError as refusal:
        return refusal
    return None
