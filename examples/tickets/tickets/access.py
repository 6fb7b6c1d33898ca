"""Who is asking, and what they are to the customer whose host they ask: the gate of both applications."""

from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import Engine, and_, select

from tenantry.web import Claims, FromHost, Gate, Request, Standing
from tickets.models import Customer, Member

COOKIE = "__Host-session"
EIGHT_HOURS = 8 * 3600


class Access:
    """The signed cookies and the register. *register* is an engine whose role reads the register alone."""

    def __init__(self, register: Engine, *, secret: str) -> None:
        self.register = register
        self.cookies = URLSafeTimedSerializer(secret, salt="session")

    def cookie(self, user: str) -> str:
        """What a login would set once it knows who *user* is."""
        return str(self.cookies.dumps({"user": user}))

    def authenticate(self, request: Request) -> Claims | None:
        cookie = request.cookie(COOKIE)
        if cookie is None:
            return None
        try:
            return Claims(self.cookies.loads(cookie, max_age=EIGHT_HOURS)["user"])
        except BadSignature:  # also one that is too old
            return None

    def lookup(self, user: str, name: str) -> Standing | None:
        is_member = and_(Member.tenant_id == Customer.id, Member.user_id == user)
        query = (
            select(Customer.id, Customer.state, Member.user_id)
            .outerjoin_from(Customer, Member, is_member)
            .where(Customer.name == name)
        )
        with self.register.connect() as conn:
            found = conn.execute(query).one_or_none()
        return None if found is None else Standing(found.id, member=found.user_id is not None, state=found.state)

    def gate(self, suffix: str, *, cache_seconds: float = 2) -> Gate:
        return Gate(
            tenant_from=FromHost(suffix),
            authenticate=self.authenticate,
            lookup=self.lookup,
            public=("/health",),
            cache_seconds=cache_seconds,
        )
