"""What `security/roles.yaml` says: who may do what, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator

from opsbook.book.fields import Name, Or, OrEmpty, Part, expected
from opsbook.book.problems import nearest

Role = Literal["viewer", "responder", "operator", "approver", "admin", "auditor", "sender"]
ROLES: tuple[Role, ...] = ("viewer", "responder", "operator", "approver", "admin", "auditor", "sender")


class Grant(Part):
    """A role, everywhere or in some environments."""

    role: Role = Field(description="What the person may do.", examples=["operator"])
    environments: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Where. Left out: everywhere.", examples=[["staging"]]
    )

    def holds_in(self, environment: str) -> bool:
        """Whether the role is granted in `environment`."""
        return self.environments is None or environment in self.environments


def _grant(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """A bare role is granted everywhere."""
    if isinstance(value, str):
        role = next((role for role in ROLES if role == value), None)
        if role is None:
            expected(f"one of {', '.join(ROLES)}", nearest(value, ROLES))
        return Grant(role=role)
    if not isinstance(value, dict):
        expected("a role, or a mapping with role and environments")
    return handler(value)


GrantSpec = Annotated[Grant, WrapValidator(_grant), Or({"type": "string", "enum": list(ROLES)})]


class RolesFile(Part):
    """`security/roles.yaml`."""

    roles: Annotated[Mapping[Name, tuple[GrantSpec, ...]], OrEmpty] = Field(
        default={},
        description="Roles by contact; a team's are those of all its members.",
        examples=[{"alice": ["approver"], "ben": [{"role": "operator", "environments": ["staging"]}]}],
    )
