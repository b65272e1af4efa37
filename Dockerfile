# One image for every role: broker, collector, worker, beat, web. What runs is `manage.py up --only ROLE`.
FROM python:3.11-slim-bookworm AS build

WORKDIR /src
RUN python -m venv /opt/venv
COPY pyproject.toml constraints.txt README.md ./
COPY broker ./broker
COPY dashboard ./dashboard
RUN /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt . \
    && /opt/venv/bin/pip uninstall --yes ottla

FROM python:3.11-slim-bookworm

RUN useradd --system --uid 10001 --home-dir /var/lib/ottla --create-home ottla
COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/ottla
COPY manage.py ./
COPY broker ./broker
COPY dashboard ./dashboard
COPY templates ./templates
COPY static ./static

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OTTLA_HOME=/var/lib/ottla \
    OTTLA_KAFKA=0.0.0.0:9092 \
    OTTLA_HTTP=0.0.0.0:8000
USER ottla
VOLUME /var/lib/ottla
EXPOSE 8000 9092 19092

# Without a role: the whole installation in one container.
CMD ["python", "manage.py", "up"]
