"""All slips, by source file."""

from tests.mutants.slip import Table
from tests.mutants.table_dialects import DIALECTS
from tests.mutants.table_gateway import GATEWAY
from tests.mutants.table_in_force import IN_FORCE
from tests.mutants.table_judgement import JUDGEMENTS
from tests.mutants.table_lua import LUA
from tests.mutants.table_requests import REQUESTS
from tests.mutants.table_shared_state import SHARED_STATE
from tests.mutants.table_tls import OVER_TLS

TABLE: Table = {**LUA, **SHARED_STATE, **GATEWAY, **JUDGEMENTS, **IN_FORCE, **REQUESTS, **DIALECTS, **OVER_TLS}
