"""The application in Flask, with sync SQLAlchemy."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from flask import Flask, Response, abort, jsonify, request
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session

from tenantry import current_tenant, current_user
from tenantry.session.sqlalchemy import protect
from tenantry.web import Gate
from tenantry.web.wsgi import TenantMiddleware
from tickets.models import Ticket


def create_app(database_url: str, gate: Gate) -> tuple[Flask, Engine]:
    engine = protect(create_engine(database_url, pool_size=4))
    app = Flask(__name__)
    app.wsgi_app = TenantMiddleware(app.wsgi_app, gate)  # type: ignore[method-assign] - as Flask's documentation has it

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.get("/tickets")
    def titles() -> dict[str, Any]:
        with Session(engine) as session:
            found = session.scalars(select(Ticket.title).order_by(Ticket.title))
            return {"tenant": str(current_tenant()), "titles": list(found)}

    @app.post("/tickets")
    def add() -> Response:
        with Session(engine) as session:
            ticket = Ticket(title=request.get_json()["title"], author=current_user())
            session.add(ticket)
            session.commit()
            return jsonify(str(ticket.id))

    @app.get("/tickets/<uuid:key>")
    def one(key: UUID) -> Response:
        with Session(engine) as session:
            ticket = session.get(Ticket, key)
            return abort(404) if ticket is None else jsonify(ticket.title)

    @app.get("/tickets.txt")
    def lines() -> Response:
        def rows() -> Iterator[str]:
            with Session(engine) as session:
                query = select(Ticket.title).order_by(Ticket.title).execution_options(yield_per=10)
                for title in session.scalars(query):
                    yield f"{title}\n"

        return Response(rows(), mimetype="text/plain")

    return app, engine
