"""A real site's plan, adopted by the senior officer of tests/core/founding.py: without one no order is filed."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from mediation.administration import client
from mediation.core.authority import jws
from mediation.core.interface.control import Results
from mediation.core.interface.policies import AdoptPlan, PlanView, ShowPlan
from mediation.core.records import plan
from mediation.runtime import config
from tests.core import founding

CONTACT = '\n[contact]\ntelephone = "+12125550123"\n'


def adopt(folder: Path, retention_days: int = 0, modifications: tuple[str, ...] = ()) -> str:
    """Adopts what is drawn up from the settings; the plan's exact text, which carrier tokens name by its hash."""
    path = folder / config.FILE
    if "[contact]" not in path.read_text():
        path.write_text(path.read_text() + CONTACT)
    site = config.load(folder)
    drawn = client.one(site, ShowPlan(draft=True, retention_days=retention_days, modifications=modifications))
    assert isinstance(drawn, PlanView)
    adoption = plan.Adoption(
        type="adoption", version=drawn.version, plan_sha256=plan.digest(drawn.plan),
        appendix_sha256=plan.digest(drawn.appendix), previous_sha256=drawn.previous_sha256, issued_s=int(time.time()),
        nonce="0f" * 16,
    )  # fmt: skip
    senior = founding.EXECUTIVES[0]
    approval = jws.sign_octets(
        msgspec.json.encode(adoption), plan.ADOPTION_TYP, f"{senior}-1", founding.seed(senior)
    )  # fmt: skip
    answer = client.one(site, AdoptPlan(plan=drawn.plan, appendix=drawn.appendix, approvals=(approval,)))
    assert isinstance(answer, Results) and answer.results[0].check == "", answer
    return drawn.plan
