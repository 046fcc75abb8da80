FROM python:3.13-slim AS build
RUN python -m venv /venv
COPY requirements/app.txt /
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /app.txt


FROM python:3.13-slim
# The public image has no bytecode for the standard library, and the application may not write any:
# without this, each start (and each health check) compiles what it imports anew.
RUN python -c "import compileall as c, sysconfig as s; c.compile_dir(s.get_path('stdlib'), quiet=2)"
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0

# The code belongs to root; `app` owns only data/, and a new volume mounted there takes that over.
WORKDIR /srv
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin app \
 && install -d -o app -g app -m 700 data
COPY --from=build /venv /venv

# What follows is all that a change of the code builds again.
COPY . .
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation -e . \
 && python -m compileall -q app alembic

# By number, so that Kubernetes can see that it is not root.
USER 10001
EXPOSE 8000
# As process 1, Python ignores SIGTERM until the server minds it, a second or two later. SIGINT it
# minds from the start; both end the server gracefully.
STOPSIGNAL SIGINT
CMD ["app", "serve"]
