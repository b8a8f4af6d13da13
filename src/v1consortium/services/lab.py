"""The port to the laboratory: drug-test orders and the sites where specimens are collected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol


class TestReason(StrEnum):
    """Why a person is tested; ``PERIODIC`` and ``OTHER`` are never federal (DOT) reasons."""

    __test__ = False

    PRE_EMPLOYMENT = "pre_employment"
    RANDOM = "random"
    REASONABLE_SUSPICION = "reasonable_suspicion"
    POST_ACCIDENT = "post_accident"
    RETURN_TO_DUTY = "return_to_duty"
    FOLLOW_UP = "follow_up"
    PERIODIC = "periodic"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOrderRequest:
    """One drug test to order. A person's data is kept out of ``repr``.

    ``client_reference_id`` is ours, the same over all tries, at most 36 characters.
    ``testing_authority`` is required for a DOT test and refused for any other.
    ``expires_at`` is an aware instant; it is sent in ``time_zone`` (IANA name, US zones only).
    ``lab_account`` overrides the adapter's account. ``primary_id_type`` is the laboratory's code.
    """

    client_reference_id: str
    first_name: str = field(repr=False)
    last_name: str = field(repr=False)
    middle_name: str = field(default="", repr=False)
    primary_id: str = field(repr=False)
    primary_id_type: str = ""
    birth_date: date | None = field(default=None, repr=False)
    primary_phone: str = field(repr=False)
    secondary_phone: str = field(default="", repr=False)
    email: str | None = field(default=None, repr=False)
    zip_code: str = field(default="", repr=False)
    reason: TestReason
    dot: bool
    testing_authority: str | None = None
    site_code: str
    unit_codes: Sequence[str]
    observed: bool = False
    split_specimen: bool | None = None
    rush: bool = False
    expires_at: datetime | None = None
    time_zone: str = "America/New_York"
    comments: str = field(default="", repr=False)
    lab_account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOrder:
    """An order the laboratory has accepted; the ids are the laboratory's.

    ``display_url`` leads to the donor's authorisation form: it is as good as a secret.
    """

    quest_order_id: str
    reference_test_id: str
    client_reference_id: str
    display_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOrderDetails:
    """What the laboratory knows about an order; ``status`` is its own word."""

    quest_order_id: str
    reference_test_id: str
    client_reference_id: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSite:
    """A place where specimens are collected, read leniently: unknown is None or empty."""

    site_code: str
    name: str
    address1: str
    city: str
    state: str
    zip_code: str
    phone: str
    time_zone: str
    latitude: float | None
    longitude: float | None
    hours: str
    drug_hours: str
    active: bool
    open_to_public: bool
    open_24_7: bool
    open_weekend: bool
    dot_urine: bool
    non_dot_urine: bool
    observed: bool
    hair: bool
    oral_fluid: bool
    breath_alcohol: bool
    electronic_ccf: bool
    site_type: int | None


class DrugTestLab(Protocol):
    """Orders drug tests. Every method raises :class:`.errors.ProviderError`.

    The laboratory knows no idempotency key and cannot look up an order by our reference: after an
    AmbiguousError of :meth:`submit` the order is unconfirmed, and must not be sent again blindly.
    """

    async def submit(self, request: LabOrderRequest) -> LabOrder:
        """Order the test. A request that breaks a field's limits is a PermanentError, unsent."""

    async def cancel(self, *, quest_order_id: str, reference_test_id: str) -> None:
        """Cancel the order; PermanentError where the laboratory refuses."""

    async def details(
        self, *, quest_order_id: str, reference_test_id: str
    ) -> LabOrderDetails | None:
        """The order, or None where the laboratory does not know the ids."""

    async def collection_sites(self) -> Sequence[CollectionSite]:
        """All sites. A long download (minutes): for a periodic job, never for an order's job."""
