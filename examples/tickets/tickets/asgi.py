"""The application in FastAPI, with async SQLAlchemy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from tenantry.session.sqlalchemy import protect
from tenantry.web import Gate
from tenantry.web.asgi import TenantMiddleware
from tenantry.web.fastapi import CurrentTenant, CurrentUser
from tickets.models import Ticket


async def open_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(request.app.state.engine) as session:
        yield session
        await session.commit()


SessionOfRequest = Annotated[AsyncSession, Depends(open_session)]
tickets = APIRouter()


@tickets.get("/health")
async def health() -> str:
    return "ok"


@tickets.get("/tickets")
async def titles(session: SessionOfRequest, tenant: CurrentTenant) -> dict[str, Any]:
    found = await session.scalars(select(Ticket.title).order_by(Ticket.title))
    return {"tenant": str(tenant), "titles": found.all()}


@tickets.post("/tickets")
async def add(session: SessionOfRequest, user: CurrentUser, title: Annotated[str, Body(embed=True)]) -> UUID:
    ticket = Ticket(title=title, author=user)
    session.add(ticket)
    await session.flush()
    return ticket.id


@tickets.get("/tickets/{key}")
async def one(session: SessionOfRequest, key: UUID) -> str:
    ticket = await session.get(Ticket, key)
    if ticket is None:
        raise HTTPException(404)
    return ticket.title


@tickets.get("/tickets.txt")
async def lines(session: SessionOfRequest) -> StreamingResponse:
    async def rows() -> AsyncIterator[str]:
        async for title in await session.stream_scalars(select(Ticket.title).order_by(Ticket.title)):
            yield f"{title}\n"

    return StreamingResponse(rows(), media_type="text/plain")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await app.state.engine.dispose()


def create_app(database_url: str, gate: Gate) -> FastAPI:
    app = FastAPI(lifespan=lifespan)
    app.state.engine = protect(create_async_engine(database_url, pool_size=4))
    app.include_router(tickets)
    app.add_middleware(TenantMiddleware, gate=gate)
    return app
