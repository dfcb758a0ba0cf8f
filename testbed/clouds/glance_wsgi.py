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


"""Glance's WSGI application, with SQLite transactions that queue.

oslo.db begins SQLite transactions deferred: if another transaction writes
meanwhile, one that reads and then writes fails at once with "database is
locked", and so does its import. Here each transaction takes the write lock
when it begins, and waits for it if necessary.
"""

import typing

from sqlalchemy import engine
from sqlalchemy import event


@event.listens_for(engine.Engine, 'before_cursor_execute', retval=True)
def _begin_immediate(connection: typing.Any, cursor: typing.Any,
                     statement: str, parameters: typing.Any,
                     context: typing.Any, executemany: bool
                     ) -> tuple[str, typing.Any]:
    if statement == 'BEGIN':
        statement = 'BEGIN IMMEDIATE'
    return statement, parameters


from glance.wsgi.api import application  # noqa: E402,F401
