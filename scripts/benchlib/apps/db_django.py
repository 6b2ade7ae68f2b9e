"""The fortunes example for Django with its ORM and psycopg: db_django:app."""

import html
import os
import random
from urllib.parse import urlsplit

import django
from db_common import PAGE, ROW, WORLDS, burn, count
from django.conf import settings
from django.http import HttpResponse, JsonResponse

url = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[], SECRET_KEY="bench", USE_TZ=True, INSTALLED_APPS=[],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username, "HOST": url.hostname,
        "PORT": url.port, "CONN_MAX_AGE": None,
    }},
)  # fmt: skip
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import models, transaction  # noqa: E402
from django.urls import path  # noqa: E402


class World(models.Model):
    id = models.IntegerField(primary_key=True)
    randomnumber = models.IntegerField()

    class Meta:
        app_label, db_table = "bench", "world"


class Fortune(models.Model):
    id = models.IntegerField(primary_key=True)
    message = models.CharField(max_length=2048)

    class Meta:
        app_label, db_table = "bench", "fortune"


def ids(request):
    return random.sample(range(1, WORLDS + 1), count(request.GET.get("n", "1")))


def one(i):
    w = World.objects.get(id=i)
    return {"id": w.id, "randomnumber": w.randomnumber}


def root(request):
    return JsonResponse({})


def json(request):
    return JsonResponse({"message": "Hello, World!"})


def slow(request):
    burn()
    return json(request)


def db(request):
    return JsonResponse(one(random.randint(1, WORLDS)))


def queries(request):
    return JsonResponse([one(i) for i in ids(request)], safe=False)


def updates(request):
    with transaction.atomic():
        worlds = [World.objects.get(id=i) for i in sorted(ids(request))]
        for w in worlds:
            w.randomnumber = random.randint(1, WORLDS)
        World.objects.bulk_update(worlds, ["randomnumber"])
    return JsonResponse([{"id": w.id, "randomnumber": w.randomnumber} for w in worlds], safe=False)


def fortunes(request):
    rows = [(f.id, f.message) for f in Fortune.objects.all()]
    rows.append((0, "Additional fortune added at request time."))
    rows.sort(key=lambda row: row[1])
    return HttpResponse(PAGE.format("".join(ROW.format(i, html.escape(message)) for i, message in rows)))


views = {"": root, "json": json, "slow": slow, "db": db, "queries": queries, "updates": updates, "fortunes": fortunes}
urlpatterns = [path(name, view) for name, view in views.items()]
app = get_wsgi_application()
