"""Which question an instance is asked, and what its record says when there is nobody to ask."""

from __future__ import annotations

from dataclasses import replace

from opsbook.errors import OpsbookError
from opsbook.world.hosts import processes
from opsbook.world.hosts.users import other_user
from opsbook.world.runtimes.process_environment import environment, filled_command
from opsbook.world.runtimes.process_probe import probe_alive, probe_command, probe_http, probe_tcp
from opsbook.world.runtimes.process_records import Record
from opsbook.world.runtimes.process_start import Starter
from opsbook.world.words import Address, Probe, Secrets


def probe(record: Record, host: str, starter: Starter, secrets: Secrets) -> Probe:
    """Ask the instance of `record` by its own health check; one that does not run is not healthy."""
    if record.process is None or not processes.runs(record.process):
        why = f": {record.last_exit}" if record.last_exit else ""
        return Probe(False, f"{record.state.value}{why}", 0.0)
    check = record.workload.health
    if check.kind == "command":
        found = _command(record, starter)
    elif check.kind == "alive" or record.port is None:
        found = probe_alive(processes.seconds_run(record.process), check)
    elif check.kind == "http":
        found = probe_http(Address(host, record.port), check)
    else:
        found = probe_tcp(Address(host, record.port), check)
    return replace(found, detail=secrets.mask(found.detail))


def _command(record: Record, starter: Starter) -> Probe:
    work = record.workload
    try:
        user = other_user(work.user)
        surroundings = starter.surroundings(record, user)
        env = environment(
            work,
            instance=record.id,
            token=starter.token,
            port=record.port,
            surroundings=surroundings,
            secrets=starter.secrets,
            user=user,
        )
        command = filled_command(work.health.command, record.port)
    except OpsbookError as error:
        return Probe(False, error.message, 0.0)
    return probe_command(command, work.health, folder=surroundings.work, env=env, user=user)
