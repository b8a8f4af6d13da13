"""A client's settings: River's defaults, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta

import pytest

from riverengine import FOREVER, Config, ConfigError, QueueConfig

MS = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def test_the_defaults_are_river_s() -> None:
    config = Config()
    assert config.max_attempts == 25
    assert (config.fetch_cooldown, config.fetch_poll_interval) == (100 * MS, 1000 * MS)
    assert (config.job_timeout, config.job_stuck_threshold) == (MINUTE, MINUTE / 6)
    assert config.effective_rescue_after == HOUR
    assert config.cancelled_job_retention_period == 24 * HOUR
    assert config.completed_job_retention_period == 24 * HOUR
    assert config.discarded_job_retention_period == 7 * 24 * HOUR
    assert (config.job_cleaner_timeout, config.reindexer_timeout) == (MINUTE / 2, MINUTE)
    assert (config.id, config.schema, config.soft_stop_timeout) == (None, None, None)
    assert not config.fetch_only_known_kinds
    assert not config.leader_election_disabled
    assert not config.poll_only
    assert not config.skip_unknown_job_check


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 32_768}, "max_attempts"),
        ({"fetch_cooldown": MS / 2}, "fetch_cooldown"),
        ({"fetch_poll_interval": MS / 2}, "fetch_poll_interval"),
        ({"fetch_poll_interval": 50 * MS}, "fetch_poll_interval"),
        ({"id": ""}, "id"),
        ({"id": "é" * 51}, "id"),
        ({"job_timeout": 2 * FOREVER}, "job_timeout"),
        ({"job_stuck_threshold": -MS}, "job_stuck_threshold"),
        ({"rescue_stuck_jobs_after": -MS}, "rescue_stuck_jobs_after"),
        ({"rescue_stuck_jobs_after": MINUTE, "job_timeout": HOUR}, "rescue_stuck_jobs_after"),
        ({"soft_stop_timeout": -MS}, "soft_stop_timeout"),
        ({"hard_stop_timeout": -MS}, "hard_stop_timeout"),
        ({"cancelled_job_retention_period": -HOUR}, "cancelled_job_retention_period"),
        ({"completed_job_retention_period": -HOUR}, "completed_job_retention_period"),
        ({"discarded_job_retention_period": -HOUR}, "discarded_job_retention_period"),
        ({"schema": "x" * 47}, "schema"),
        ({"schema": "1st"}, "schema"),
        ({"schema": "a b"}, "schema"),
        ({"schema": 'a"b'}, "schema"),
        ({"schema": ""}, "schema"),
        ({"queues": {"Upper": QueueConfig(max_workers=1)}}, "queues"),
        ({"queues": {"": QueueConfig(max_workers=1)}}, "queues"),
        ({"queues": {"q": QueueConfig(max_workers=0)}}, "queues['q'].max_workers"),
        ({"queues": {"q": QueueConfig(max_workers=10_001)}}, "queues['q'].max_workers"),
        (
            {"queues": {"q": QueueConfig(max_workers=1, fetch_cooldown=MS / 2)}},
            "queues['q'].fetch_cooldown",
        ),
        (
            {"queues": {"q": QueueConfig(max_workers=1, fetch_cooldown=2 * MINUTE)}},
            "queues['q'].fetch_poll_interval",
        ),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(
    settings: Mapping[str, object], named: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        Config(**settings)  # type: ignore[arg-type]
    assert refused.value.setting == named


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"job_timeout": 60}, "job_timeout: must be timedelta, not int: timedelta(seconds=...)"),
        ({"job_timeout": None}, "job_timeout: must be timedelta, not NoneType"),
        ({"soft_stop_timeout": 5.0}, "soft_stop_timeout: must be timedelta, not float"),
        ({"max_attempts": "3"}, "max_attempts: must be int, not str"),
        ({"poll_only": "no"}, "poll_only: must be bool, not str"),
        ({"schema": b"jobs"}, "schema: must be str, not bytes"),
        ({"queues": ["default"]}, "queues: must map names to QueueConfig"),
        ({"queues": {"q": 5}}, "queues['q']: must be a QueueConfig(max_workers=...)"),
        (
            {"queues": {"q": QueueConfig(max_workers="5")}},  # type: ignore[arg-type]
            "queues['q'].max_workers: must be int, not str",
        ),
        (
            {"queues": {"q": QueueConfig(max_workers=5, fetch_poll_interval=1)}},  # type: ignore[arg-type]
            "queues['q'].fetch_poll_interval: must be timedelta, not int",
        ),
        ({"hooks": object()}, "hooks: must be a list"),
        ({"error_handler": print}, "error_handler: must have a method handle_error(); ErrorHan"),
        ({"retry_policy": print}, "retry_policy: must have a method next_retry()"),
        ({"reindexer_schedule": "@daily"}, "reindexer_schedule: must have a method next()"),
        ({"reindexer_index_names": "river_job_kind"}, "reindexer_index_names: must be a list"),
        ({"job_stuck_handler": 5}, "job_stuck_handler: must be a function"),
    ],
)
def test_a_setting_of_another_type_is_refused_by_name(
    settings: Mapping[str, object], told: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        Config(**settings)  # type: ignore[arg-type]
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize("settings", [Config, QueueConfig])
def test_every_setting_is_explained(settings: type[Config | QueueConfig]) -> None:
    text = str(settings.__doc__)
    assert [
        each.name for each in fields(settings) if not re.search(rf"\b{each.name}\b[,:]", text)
    ] == []


@pytest.mark.parametrize(
    "settings",
    [
        {"id": "x" * 100},
        {"job_timeout": FOREVER},
        {"completed_job_retention_period": FOREVER},
        {"schema": "x" * 46},
        {"schema": "_Mixed_1"},
        {"queues": {"tenant|emails-2": QueueConfig(max_workers=10_000)}},
        {"fetch_cooldown": MS, "fetch_poll_interval": MS},
    ],
)
def test_the_ends_of_the_ranges_are_accepted(settings: Mapping[str, object]) -> None:
    Config(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "after"),
    [
        ({}, HOUR),
        ({"job_timeout": 2 * HOUR}, 3 * HOUR),
        ({"job_timeout": FOREVER}, HOUR),
        ({"job_timeout": MINUTE / 2}, HOUR + MINUTE / 2),
        ({"rescue_stuck_jobs_after": 2 * MINUTE}, 2 * MINUTE),
    ],
)
def test_stuck_jobs_are_rescued_an_hour_after_their_timeout(
    settings: Mapping[str, timedelta], after: timedelta
) -> None:
    assert Config(**settings).effective_rescue_after == after  # type: ignore[arg-type]
