"""A page to begin with."""

from __future__ import annotations

import json

_PAGE = """\
---
title: {title}
{owner}severity: SEV3
{alerts}reviewed: {today}
review_every: 90d
params:
  folder: {{type: string, default: /tmp, description: "Where to look"}}
---
What it means, and what users notice.

## Diagnose
```bash diagnose
df -h "$FOLDER"
```

## Steps
### 1. Leave a mark
What the step does, and why it is safe. Everything below is an example: replace it.

```bash run id=mark risk=write timeout=1m idempotent
touch "$FOLDER/opsbook-was-here"
```
#### Verify
```bash check for=mark retry=3x2s
test -e "$FOLDER/opsbook-was-here"
```
#### Roll back
```bash rollback for=mark idempotent
rm -f "$FOLDER/opsbook-was-here"
```

## Escalate
Who, and when.
"""


def template(title: str, owner: str, alert: str, today: str) -> str:
    """The text of a new page; it passes the check, and runs.

    Args:
        owner: a contact, or empty. alert: that leads here, or empty. today: an ISO date.
    """
    return _PAGE.format(
        title=json.dumps(title, ensure_ascii=False),
        owner=f"owner: {owner}\n" if owner else "",
        alerts=f"alerts: [{json.dumps(alert, ensure_ascii=False)}]\n" if alert else "",
        today=today,
    )
