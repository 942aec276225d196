"""Slips in the rules of the one configuration in force."""

from tests.mutants.slip import Slip, Table

RELOAD, ORDERS = "tests/lua/test_reload.py", "tests/shared_state/test_in_force.py"

IN_FORCE: Table = {
    "lua/include/configuration/in_force.lua": (
        Slip(
            "return tonumber(version) == reload.version and fingerprint or nil",
            "return fingerprint",
            RELOAD,
            "a reload by an earlier release is taken back",
        ),
        Slip(
            "own.fingerprint, known.version == 0 and now + FIRST_MS or nil)",
            "own.fingerprint)",
            RELOAD,
            "whoever starts first after a flush puts its own file in force",
        ),
        Slip(
            "and now < (reload.first_until_ms or 0) then",
            "and reload.first_until_ms then",
            RELOAD,
            "a replica that slept through a flush takes back a file that all have agreed on since",
        ),
        Slip(
            "elseif written > version then",
            "elseif false then",
            RELOAD,
            "policies that an earlier release wrote by its clock stay",
        ),
    ),
    "lua/include/configuration/inherit.lua": (
        Slip(
            "now < reload.orphaned_ms + ORPHANED_MS",
            "false",
            RELOAD,
            "replicas that only the store has lost sight of lose their configuration",
        ),
        Slip(
            "own.since > newest.since",
            "own.since < newest.since",
            RELOAD,
            "the oldest of two waiting files takes over",
        ),
        Slip(
            "is_leaving and 1 or now)",
            "now)",
            RELOAD,
            "the end of an upgrade waits for a replica that has said goodbye",
        ),
    ),
    "lua/include/configuration/consent.lua": (
        Slip(
            "if answer and answer ~= 'ready' then",
            "if false then",
            RELOAD,
            "a file that one replica cannot read is in force for all",
        ),
        Slip(
            "if now <= reload.until_ms then return nil end",
            "if true then return nil end",
            RELOAD,
            "a replica that does not answer blocks every reload",
        ),
    ),
    "lua/reload.lua": (
        Slip(
            "if own.registered_ms == 0 then own.registered_ms = now end",
            "own.registered_ms = now",
            RELOAD,
            "whichever replica looked last counts as the newest",
        ),
        Slip(
            "if what == 'publish' and tonumber(ARGV[14]) == reload.version then",
            "if what == 'publish' then",
            RELOAD,
            "a late replica publishes the configuration of before as the one in force",
        ),
    ),
    "shared_state/in_force.py": (
        Slip(
            "version = seen.version if found.fingerprint == seen.fingerprint else 0",
            "version = seen.version",
            ORDERS,
            "what a replica did not understand of another release's configuration is written over",
        ),
        Slip(
            "if wanted.version == seen.version and not seen.is_published:",
            "if False:",
            ORDERS,
            "a replica with another file cannot know what is in force",
        ),
    ),
}
