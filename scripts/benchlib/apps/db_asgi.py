"""The fortunes example for Starlette and FastAPI with asyncpg: db_asgi:starlette, db_asgi:fastapi."""

import contextlib
import html
import os
import random

import asyncpg
from db_common import FORTUNE_SQL, ONE, PAGE, ROW, SIZE, UPDATE, WORLDS, burn, count

pool = None


@contextlib.asynccontextmanager
async def lifespan(app):
    global pool  # noqa: PLW0603
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=SIZE, max_size=SIZE)
    yield
    await pool.close()


def ids(query):
    return random.sample(range(1, WORLDS + 1), count(query.get("n", "1")))


async def single():
    async with pool.acquire() as connection:
        row = await connection.fetchrow(ONE, random.randint(1, WORLDS))
    return dict(row)


async def queries(query):
    async with pool.acquire() as connection:
        statement = await connection.prepare(ONE)
        return [dict(await statement.fetchrow(i)) for i in ids(query)]


async def updates(query):
    async with pool.acquire() as connection, connection.transaction():
        statement = await connection.prepare(ONE)
        worlds = [dict(await statement.fetchrow(i)) for i in sorted(ids(query))]
        for world in worlds:
            world["randomnumber"] = random.randint(1, WORLDS)
        await connection.executemany(UPDATE, [(w["randomnumber"], w["id"]) for w in worlds])
    return worlds


async def fortunes():
    async with pool.acquire() as connection:
        rows = [tuple(row) for row in await connection.fetch(FORTUNE_SQL)]
    rows.append((0, "Additional fortune added at request time."))
    rows.sort(key=lambda row: row[1])
    return PAGE.format("".join(ROW.format(i, html.escape(message)) for i, message in rows))


def make_starlette():
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route

    async def root(request):
        return JSONResponse({})

    async def json(request):
        return JSONResponse({"message": "Hello, World!"})

    async def slow(request):
        burn()
        return JSONResponse({"message": "Hello, World!"})

    async def db(request):
        return JSONResponse(await single())

    async def many(request):
        return JSONResponse(await queries(request.query_params))

    async def update(request):
        return JSONResponse(await updates(request.query_params))

    async def page(request):
        return HTMLResponse(await fortunes())

    routes = {
        "/": root,
        "/json": json,
        "/slow": slow,
        "/db": db,
        "/queries": many,
        "/updates": update,
        "/fortunes": page,
    }
    return Starlette(routes=[Route(path, function) for path, function in routes.items()], lifespan=lifespan)


def make_fastapi():
    from fastapi import FastAPI, Request
    from fastapi.responses import HTMLResponse

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def root():
        return {}

    @app.get("/json")
    async def json():
        return {"message": "Hello, World!"}

    @app.get("/slow")
    async def slow():
        burn()
        return {"message": "Hello, World!"}

    @app.get("/db")
    async def db():
        return await single()

    @app.get("/queries")
    async def many(request: Request):
        return await queries(request.query_params)

    @app.get("/updates")
    async def update(request: Request):
        return await updates(request.query_params)

    @app.get("/fortunes", response_class=HTMLResponse)
    async def page():
        return HTMLResponse(await fortunes())

    return app


def __getattr__(name):
    if name == "starlette":
        return make_starlette()
    if name == "fastapi":
        return make_fastapi()
    raise AttributeError(name)
